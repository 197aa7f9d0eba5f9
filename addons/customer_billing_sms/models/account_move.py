from odoo import api, fields, models

from odoo.addons.customer_billing.models.account_move import DeliveryError


class AccountMove(models.Model):
    _inherit = "account.move"

    def _deliver_sms(self):
        """Send a text with the bill's address, through Odoo's queue."""
        number = self.partner_id._get_billing_sms_number()
        if not number:
            raise DeliveryError(
                self.env._(
                    "No valid phone number: add one to %s, then send again; or print the bill and mark it "
                    "as delivered.",
                    self.partner_id.display_name,
                )
            )
        lang = self.partner_id.lang or self.env.lang
        template_sudo = self.env.ref("customer_billing_sms.sms_template_bill").sudo()  # part of the channel
        [text] = template_sudo._render_field("body", self.ids, set_lang=lang).values()
        self._message_sms(
            text, partner_ids=self.partner_id.ids, sms_pid_to_number={self.partner_id.id: number}, put_in_queue=True
        )
        return "sent"

    @api.model
    def _note_delivery_failures(self):
        """Messages that were refused later, too: the bill says so, and its officer gets a task."""
        super()._note_delivery_failures()
        since = fields.Datetime.subtract(fields.Datetime.now(), days=7)
        notifications_sudo = self.env["mail.notification"].sudo().search(  # of all authors
            [
                ("notification_type", "=", "sms"),
                ("notification_status", "in", ("bounce", "exception")),
                ("mail_message_id.model", "=", self._name),
                ("mail_message_id.date", ">=", since),
            ]
        )
        for notification in notifications_sudo:
            move = self.browse(notification.mail_message_id.res_id).exists()
            if move.billing_delivery_state != "sent" or move.billing_delivery_channel != "sms":
                continue
            if notification.mail_message_id.date < move.billing_delivery_date:
                continue
            error = self.env._(
                "The SMS to %(number)s failed: %(reason)s",
                number=notification.sms_number or "",
                reason=notification.failure_reason or notification.format_failure_reason(),
            )
            move.sudo().write({"billing_delivery_state": "failed", "billing_delivery_error": error})  # protected
            owner = move.billing_contract_ids.officer_id[:1] or move.billing_run_id.prepared_by_id
            owner = owner or move.invoice_user_id or self.env.user
            move.activity_schedule(
                "mail.mail_activity_data_todo",
                summary=owner.with_context(lang=owner.lang).env._("The bill did not reach the customer"),
                user_id=owner.id,
            )
