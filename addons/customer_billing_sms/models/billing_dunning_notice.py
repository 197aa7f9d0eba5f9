from odoo import api, fields, models
from odoo.exceptions import UserError


class BillingDunningNotice(models.Model):
    _inherit = "billing.dunning.notice"

    @api.model
    def _get_joint_channels(self):
        return super()._get_joint_channels() | {"sms"}

    def _send_sms(self):
        """Send the text of the step to the customer's phone, through Odoo's queue; without a number: a call."""
        contacts = (self.partner_id._get_dunning_contact() | self.partner_id).filtered("active")
        contact = next((contact for contact in contacts if contact._get_billing_sms_number()), None)
        if not contact:
            return self._send_call_instead("no_contact")
        number = contact._get_billing_sms_number()
        lang = contact.lang or self.env.lang
        # sudo: the text of a step is part of it
        template_sudo = self.step_id.sudo().sms_template_id or self.env.ref(
            "customer_billing_sms.sms_template_notice", raise_if_not_found=False
        )
        if not template_sudo:
            raise UserError(
                self.env._(
                    "The text of step “%s” was deleted: choose an SMS text for the step, then send again.",
                    self.step_id.name,
                )
            )
        template_sudo = template_sudo.sudo()
        texts = template_sudo._render_field("body", self._get_joint().ids, set_lang=lang)
        text = "\n".join(texts.values())
        message = self.case_id._message_sms(
            text, partner_ids=contact.ids, sms_pid_to_number={contact.id: number}, put_in_queue=True
        )
        return {"mail_message_id": message.id}

    @api.model
    def _note_delivery_failures(self):
        """Messages that were refused later, too: a call becomes due, with the reason."""
        super()._note_delivery_failures()
        since = fields.Datetime.subtract(fields.Datetime.now(), days=7)
        notifications_sudo = self.env["mail.notification"].sudo().search(  # of all authors
            [
                ("notification_type", "=", "sms"),
                ("notification_status", "in", ("bounce", "exception")),
                ("mail_message_id.model", "=", "billing.case"),
                ("mail_message_id.date", ">=", since),
            ]
        )
        failed = {notification.mail_message_id.id: notification for notification in notifications_sudo}
        for notice in self.search([("mail_message_id", "in", list(failed)), ("error", "=", False)]):
            notification = failed[notice.sudo().mail_message_id.id]
            error = self.env._(
                "The SMS to %(number)s failed: %(reason)s",
                number=notification.sms_number or "",
                reason=notification.failure_reason or notification.format_failure_reason(),
            )
            notice.sudo().error = error  # protected field; the step was carried out
            notice._schedule_call(self.env._("The SMS did not reach the customer"), error)
