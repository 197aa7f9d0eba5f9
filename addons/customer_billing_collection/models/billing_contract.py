from odoo import fields, models


class BillingContract(models.Model):
    _inherit = "billing.contract"

    hold_allowed = fields.Boolean(
        string="May Be Held", default=True, groups="base.group_user",
        help="A service hold of collections may pause it, where the dunning policy allows holds.",
    )  # fmt: skip
