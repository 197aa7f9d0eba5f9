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

    def _reverse_moves(self, default_values_list=None, cancel=False):
        """Write-offs follow, whichever way their entries are reversed."""
        # sudo: whoever reverses
        writeoffs_sudo = self.env["billing.writeoff"].sudo().search(
            [("move_id", "in", self.ids if cancel else ()), ("state", "=", "posted")]
        )
        moves = self.with_context(billing_writeoff_reversed=True) if writeoffs_sudo else self
        reversals = super(AccountMove, moves)._reverse_moves(default_values_list, cancel)
        for writeoff_sudo in writeoffs_sudo:
            reversal = reversals.filtered(lambda move, own=writeoff_sudo: move.reversed_entry_id == own.move_id)
            reason = self.env.context.get("billing_writeoff_reason")
            writeoff_sudo._note_reversed(
                reversal, reason or self.env._("%s reversed its entry.", self.env.user.name)
            )
        return reversals.with_env(self.env)

    def _collect_tax_cash_basis_values(self):
        """What was written off is not paid: the last payment makes no more tax due than its own share."""
        values = super()._collect_tax_cash_basis_values()
        if values and values["is_fully_paid"]:
            items = self.line_ids.filtered(lambda line: line.account_type == "asset_receivable")
            if self.env["billing.writeoff"]._get_of_matches(items.matched_credit_ids):
                values["is_fully_paid"] = False
        return values

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
