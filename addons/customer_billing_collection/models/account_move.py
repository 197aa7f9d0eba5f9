from odoo import models
from odoo.exceptions import UserError


class AccountMove(models.Model):
    _inherit = "account.move"

    def write(self, vals):
        if vals.get("state") in ("draft", "cancel"):
            self._check_no_writeoff()
        result = super().write(vals)
        if vals.get("state") in ("draft", "cancel"):
            # account keeps the matches of a payment that is set to draft; they count no more
            lines = self.line_ids.filtered(lambda line: line.account_type == "asset_receivable")
            (lines.matched_debit_ids | lines.matched_credit_ids)._note_payments_gone()
        return result

    def _check_no_writeoff(self):
        """:raises UserError: an entry is that of a write-off, which says that it is posted"""
        # sudo: whoever resets the entry
        writeoff_sudo = self.env["billing.writeoff"].sudo().search(
            [("move_id", "in", self.ids), ("state", "=", "posted")], limit=1
        )
        if writeoff_sudo:
            raise UserError(
                self.env._(
                    "This is the entry of %s: open the write-off and press “Money Came After All” to take it back.",
                    writeoff_sudo.name,
                )
            )
