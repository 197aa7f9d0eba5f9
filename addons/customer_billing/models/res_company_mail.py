from odoo import api, fields, models
from odoo.fields import Domain


class ResCompany(models.Model):
    """One limit for all mails of a company: here they are counted, and here is said when the next one may leave."""

    _name = "res.company"
    _inherit = "res.company"

    def _get_billing_mail_time(self):
        """When the next mail of this company may leave: now, or an hour after the one that made the limit full.

        Each message that was mailed counts, whatever it is about, also those that are held back for later.
        """
        self.ensure_one()
        now = fields.Datetime.now()
        limit = self.sudo().billing_mails_per_hour  # a setting, whoever sends
        if not limit:
            return now
        messages_sudo = self.env["mail.message"].sudo()  # of all authors
        held_sudo = self.env["mail.message.schedule"].sudo()._search([])
        mailed = (
            Domain("notification_ids.notification_type", "=", "email")
            | Domain("mail_ids", "!=", False)
            | Domain("id", "in", held_sudo.subselect("mail_message_id"))
        )
        of_hour = [("record_company_id", "=", self.id), ("date", ">", fields.Datetime.subtract(now, hours=1))]
        latest = messages_sudo.search(Domain(of_hour) & mailed, order="date desc, id desc", offset=limit - 1, limit=1)
        return fields.Datetime.add(latest.date, hours=1) if latest else now

    def _has_billing_mail_room(self):
        """Whether a mail of this company may leave now."""
        return self._get_billing_mail_time() <= fields.Datetime.now()

    def _get_billing_mail_delay(self):
        """What holds a mail, or a message, back until it may leave: values for it; none when it may leave now."""
        time = self._get_billing_mail_time()
        if time <= fields.Datetime.now():
            return {}
        for xmlid in ("mail.ir_cron_mail_scheduler_action", "mail.ir_cron_send_scheduled_message"):
            self.env.ref(xmlid).sudo()._trigger(time)  # the system's jobs
        return {"scheduled_date": time, "date": time}

    def _call_when_billing_mails_may_leave(self, cron_xmlid):
        """Let a job go on when the next mails of these companies may leave."""
        for company in self:
            self.env.ref(cron_xmlid).sudo()._trigger(company._get_billing_mail_time())  # the system's job

    @api.model
    def _get_full_mail_companies(self):
        """The companies of which no mail may leave now."""
        companies = self.sudo().search([("billing_mails_per_hour", ">", 0)])  # a setting
        return companies.filtered(lambda company: not company._has_billing_mail_room()).sudo(self.env.su)
