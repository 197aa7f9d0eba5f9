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
