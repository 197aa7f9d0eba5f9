from odoo import fields, models
from odoo.exceptions import UserError

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

    def write(self, vals):
        if AMOUNT_FIELDS.intersection(vals):
            self._check_billing_amounts(vals)
        return super().write(vals)

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
