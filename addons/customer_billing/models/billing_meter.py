from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import formatLang

from ..tools import money


class BillingMeter(models.Model):
    """What is counted for usage lines, and how the records of a period become a quantity."""

    _name = "billing.meter"
    _description = "Meter"
    _order = "name, id"
    _rec_names_search = ["code", "name"]

    name = fields.Char(required=True, translate=True)
    code = fields.Char(required=True, help="Names the meter in imports and in the API.")
    aggregation = fields.Selection(
        [
            ("sum", "Sum of the quantities"),
            ("max", "Largest quantity"),
            ("last", "Latest quantity"),
            ("unique", "Number of different keys"),
        ],
        default="sum",
        required=True,
        help="How the records of a period become the quantity that is charged.",
    )
    uom = fields.Char(string="Unit", translate=True, help="Shown behind quantities, e.g. kWh.")
    company_id = fields.Many2one("res.company", help="Empty: for all companies.")
    active = fields.Boolean(default=True)

    _code_unique = models.UniqueIndex(
        "(code, COALESCE(company_id, 0))", "A meter with this code already exists."
    )

    @api.depends("name", "code")
    def _compute_display_name(self):
        for meter in self:
            meter.display_name = f"[{meter.code}] {meter.name}" if meter.code else meter.name

    def write(self, vals):
        if "aggregation" in vals:
            self.filtered(lambda m: m.aggregation != vals["aggregation"])._check_not_in_use()
        return super().write(vals)

    def _check_not_in_use(self):
        """Raise when a contract that is not a draft is charged by one of these meters."""
        line = self.env["billing.contract.line"].sudo().search(
            [("meter_id", "in", self.ids), ("contract_id.state", "!=", "draft")], limit=1
        )  # sudo: contracts of other companies count too
        if line:
            raise UserError(
                self.env._(
                    "%(meter)s counts for contract %(contract)s: how it counts stays as it is. "
                    "Create another meter and amend the contract.",
                    meter=line.meter_id.display_name,
                    contract=line.contract_id.name,
                )
            )

    def _format_quantity(self, value):
        """``value`` with up to six decimals and the unit, in the language of the context."""
        number = float(value)
        digits = 0
        while digits < 6 and abs(round(number, digits) - number) > 1e-9:
            digits += 1
        text = formatLang(self.env, float(money.to_decimal(number)), digits=digits)
        return f"{text} {self.uom}" if self.uom else text
