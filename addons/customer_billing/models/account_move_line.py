from odoo import fields, models
from odoo.exceptions import UserError

from .account_move import check_company_once

AMOUNT_FIELDS = frozenset(
    (
        "price_unit", "quantity", "discount", "product_id", "balance", "amount_currency",
        "debit", "credit", "display_type", "move_id",
        "billing_period_start", "billing_period_end",
    )
)  # fmt: skip


class AccountMoveLine(models.Model):
    _inherit = "account.move.line"

    billing_charge_ids = fields.One2many(
        "billing.charge", "move_line_id", string="Charges", readonly=True
    )
    billing_period_start = fields.Date(string="Service From", readonly=True)
    billing_period_end = fields.Date(string="Service To", readonly=True)

    def _check_company(self, fnames=None):
        """A run checks the lines that it creates value by value, not line by line."""
        if fnames is None and self.env.context.get("billing_booking"):
            original = super()._check_company
            check_company_once(self, original.__func__)
        else:
            super()._check_company(fnames)

    def write(self, vals):
        if self._is_billing_noop(vals):
            return True
        if AMOUNT_FIELDS.intersection(vals):
            self._check_billing_amounts(vals)
        return super().write(vals)

    def _is_billing_noop(self, vals):
        """Whether a run writes on the lines of a new bill the customer that they have already.

        Core does so for each bill by itself and, to change nothing, compares all its lines.
        """
        return (
            vals.keys() == {"partner_id"}
            and self.env.context.get("billing_booking")
            and all(line.partner_id.id == vals["partner_id"] for line in self)
        )

    def _check_billing_amounts(self, vals):
        """Amounts of a billing line come from the ledger and are not edited by hand."""
        for line in self.sudo().filtered("billing_charge_ids"):  # engine-owned records
            if line.move_id.billing_correction and line.parent_state == "draft":
                continue  # the ledger follows when it is posted
            if any(
                name in vals
                and line._fields[name].convert_to_write(line[name], line) != vals[name]
                for name in AMOUNT_FIELDS
            ):
                raise UserError(
                    self.env._(
                        "“%s” comes from a contract: its amount cannot be edited here. Correct "
                        "the contract, or credit the bill.",
                        line.name,
                    )
                )

    def unlink(self):
        charges = self.sudo().billing_charge_ids  # engine-owned records
        result = super().unlink()
        if charges := charges.exists().filtered(lambda charge: charge.state == "billed"):
            charges._void()
        return result
