from odoo import Command, models


class MailTemplate(models.Model):
    _inherit = "mail.template"

    def _send_billing(self, record, company, partners=None, force_send=False, **options):
        """Mail this template about one record: one mail for each language of its recipients, kept as the trail of what
        was sent.

        :param company: whose limit of mails per hour counts; what is above it leaves later
        :param partners: who gets it, default the template's own recipients
        :param bool force_send: send now, the caller has asked the limit
        :param options: of ``send_mail``
        :return: the mails, as superuser
        """
        self.ensure_one()
        mails_sudo = self.env["mail.mail"].sudo()  # the system's queue
        if partners is None:
            [ids] = self._render_field("partner_to", record.ids).values()
            partners = self.env["res.partner"].browse(self._parse_partner_to(ids or ""))
        default = self._render_lang(record.ids)[record.id]
        for lang, contacts in (partners._group_by_billing_lang(default) or {default: partners}).items():
            values = {"record_company_id": company.id, "auto_delete": False}
            if partners:
                values |= {"recipient_ids": [Command.set(contacts.ids)], "email_to": False}
            if not force_send:
                values |= company._get_billing_mail_delay()
            template = self.with_context(billing_mail_lang=lang)
            mails_sudo += mails_sudo.browse(template.send_mail(record.id, email_values=values, **options))
        if force_send:
            mails_sudo.send()
        return mails_sudo

    def _render_lang(self, res_ids, engine="inline_template"):
        if lang := self.env.context.get("billing_mail_lang"):
            return dict.fromkeys(res_ids, lang)
        return super()._render_lang(res_ids, engine=engine)
