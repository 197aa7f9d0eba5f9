import re

from odoo import api, fields, models

NOTED_DAYS = 7  # what failed is noted as long as this
RETRY_HOURS = 24
TEMPORARY = re.compile(r"\(4\d\d, b['\"]")  # how smtplib tells an answer that asks to come again later


class MailNotification(models.Model):
    _inherit = "mail.notification"

    @api.model
    def _get_billing_failures(self, model):
        """The mails about documents of ``model`` that failed for good, as superuser.

        A mail that has left to nobody, because the mail server could not be reached or asked to come again later, goes
        back into Odoo's queue, for a day.
        """
        now = fields.Datetime.now()
        failed_sudo = self.sudo().search(  # of all authors
            [
                ("notification_type", "=", "email"),
                ("notification_status", "in", ("bounce", "exception")),
                ("mail_message_id.model", "=", model),
                ("mail_message_id.date", ">=", fields.Datetime.subtract(now, days=NOTED_DAYS)),
            ]
        )
        since = fields.Datetime.subtract(now, hours=RETRY_HOURS)
        again_sudo = failed_sudo.filtered(
            lambda failed: failed.mail_message_id.date >= since and failed._is_billing_temporary()
        )
        mails_sudo = again_sudo.mail_mail_id.filtered(lambda mail: mail.state == "exception")
        if mails_sudo:
            mails_sudo.mark_outgoing()
        return failed_sudo - again_sudo

    def _is_billing_temporary(self):
        """Whether the mail of this failure can be sent again: nobody has got it."""
        self.ensure_one()
        mail = self.mail_mail_id
        refused = self.failure_type == "mail_smtp" or TEMPORARY.search(self.failure_reason or "")
        of_mail = mail.notification_ids.filtered(lambda other: other.mail_mail_id == mail)
        return bool(mail and refused and set(of_mail.mapped("notification_status")) == {"exception"})
