from odoo import api, fields, models
from odoo.exceptions import UserError


class AccountMove(models.Model):
    _name = "account.move"
    _inherit = ["account.move"]

    billing_no_interest = fields.Boolean(
        string="No Interest", help="No late interest is charged on what this invoice demands."
    )
    billing_interest_case_id = fields.Many2one(
        "billing.case", string="Interest of Case", readonly=True, copy=False, index="btree_not_null",
        ondelete="restrict", groups="base.group_user", help="This is a bill of late interest and fees.",
    )  # fmt: skip

    @property
    def _billing_protected(self):
        return super()._billing_protected | {"billing_interest_case_id"}

    def write(self, vals):
        """Entries of interest follow: those on these moves, and those on what these moves demand."""
        state = vals.get("state")
        if state in ("draft", "posted"):
            self._check_interest_not_cancelled()
        left = self.filtered(lambda move: state in ("draft", "cancel") and move.state == "posted")
        cancelled = self.filtered(lambda move: state == "cancel" and move.state != "cancel")
        result = super().write(vals)
        interest = self.env["billing.interest"]
        if left:
            interest._void_pending(left.line_ids.ids)
            left._follow_interest_credits()
        if cancelled:
            # sudo: whoever cancels
            interest.sudo().search([("invoice_line_id", "in", cancelled.invoice_line_ids.ids)])._release()
        if state or "billing_no_interest" in vals:
            interest._touch(self.line_ids.ids)
        return result

    def _post(self, soft=True):
        posted = super()._post(soft)
        posted._follow_interest_credits()
        return posted

    def _follow_interest_credits(self):
        """Of bills of interest that these credit notes are about."""
        # sudo: protected field, whoever posts
        bills_sudo = self.reversed_entry_id.sudo().filtered("billing_interest_case_id")
        if bills_sudo:
            self.env["billing.interest"]._follow_credit_notes(bills_sudo)

    def _check_interest_not_cancelled(self):
        void = self.filtered(lambda move: move.state == "cancel" and move.sudo().billing_interest_case_id)[:1]
        if void:
            raise UserError(
                self.env._(
                    "%s was a bill of late interest and cancelled: its interest is billed again, so it cannot come "
                    "back.",
                    void.display_name,
                )
            )

    def unlink(self):
        # sudo: protected fields, whoever deletes
        entries_sudo = self.env["billing.interest"].sudo().search([("invoice_line_id", "in", self.line_ids.ids)])
        result = super().unlink()
        entries_sudo._release()
        return result


class AccountMoveLine(models.Model):
    _name = "account.move.line"
    _inherit = ["account.move.line"]

    @api.ondelete(at_uninstall=False)
    def _unlink_except_interest_billed(self):
        """An item that interest was billed on stays: its bill of interest refers to it."""
        # sudo: whoever edits the invoice
        entries_sudo = self.env["billing.interest"].sudo().search(
            [("move_line_id", "in", self.ids), ("state", "in", ("billed", "waived"))], limit=1
        )
        if entries_sudo:
            raise UserError(
                self.env._(
                    "Late interest has been billed or waived on %s: leave its due dates as they are, or make a credit "
                    "note and a new invoice.",
                    entries_sudo.move_id.display_name,
                )
            )

    def write(self, vals):
        result = super().write(vals)
        if "date_maturity" in vals:
            self.env["billing.interest"]._touch(self.ids)
        return result

    def unlink(self):
        # sudo: protected fields, whoever deletes a line of a bill of interest
        entries_sudo = self.env["billing.interest"].sudo().search([("invoice_line_id", "in", self.ids)])
        result = super().unlink()
        entries_sudo._release()
        return result


class AccountPartialReconcile(models.Model):
    _name = "account.partial.reconcile"
    _inherit = ["account.partial.reconcile"]

    @api.model_create_multi
    def create(self, vals_list):
        partials = super().create(vals_list)
        self.env["billing.interest"]._touch(partials.debit_move_id.ids)
        return partials

    def unlink(self):
        lines = self.debit_move_id.ids
        result = super().unlink()
        self.env["billing.interest"]._touch(lines)
        return result
