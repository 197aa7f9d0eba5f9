from odoo import models


class AccountMove(models.Model):
    _inherit = "account.move"

    def write(self, vals):
        result = super().write(vals)
        if vals.get("state") in ("draft", "cancel"):
            # account keeps the matches of a payment that is set to draft; they count no more
            lines = self.line_ids.filtered(lambda line: line.account_type == "asset_receivable")
            (lines.matched_debit_ids | lines.matched_credit_ids)._note_payments_gone()
        return result
