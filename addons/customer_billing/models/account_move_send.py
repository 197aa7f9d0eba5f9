from odoo import api, models


class AccountMoveSend(models.AbstractModel):
    _inherit = "account.move.send"

    @api.model
    def _get_default_mail_partner_ids(self, move, mail_template, mail_lang):
        """Invoices go to the contacts who get bills, unless the template names others."""
        recipients = self.env["res.partner"]
        if move.partner_id and mail_template.use_default_to and move.is_sale_document():
            recipients = move.partner_id._get_billing_recipients("billing").with_company(move.company_id)
        return recipients or super()._get_default_mail_partner_ids(move, mail_template, mail_lang)

    @api.model
    def _send_mails(self, moves_data):
        """Bills of contracts are mailed to each recipient in the own language, as a message for each language."""
        others = {}
        for move, data in moves_data.items():
            parts = self._split_by_billing_lang(move, data) if move.billing_contract_ids else []
            for part in parts:
                super()._send_mails({move: part})
            if not parts:
                others[move] = data
        super()._send_mails(others)

    @api.model
    def _split_by_billing_lang(self, move, data):
        """The data of a mail for each language of its recipients; none where one mail serves all: they read one
        language, or a person wrote the text. The PDF is the bill as it was issued, the same for all."""
        template, lang = data["mail_template"], data["mail_lang"]
        partners = self.env["res.partner"].browse([int(partner) for partner in data["mail_partner_ids"]])
        groups = partners._group_by_billing_lang(lang)
        texts = (data["mail_subject"], data["mail_body"])
        if set(groups) <= {lang} or texts != self._get_billing_texts(move, template, lang):
            return []
        parts = []
        for code, contacts in groups.items():
            subject, body = self._get_billing_texts(move, template, code)
            texts = {"mail_lang": code, "mail_subject": subject, "mail_body": body}
            parts.append({**data, **texts, "mail_partner_ids": contacts.ids})
        return parts

    @api.model
    def _get_billing_texts(self, move, template, lang):
        """Subject and body of a template in a language."""
        return (
            self._get_default_mail_subject(move, template, lang),
            self._get_default_mail_body(move, template, lang),
        )
