from odoo import fields, models


class BillingContractPause(models.Model):
    _inherit = "billing.contract.pause"

    case_id = fields.Many2one(
        "billing.case", string="Collection Case", index="btree_not_null", ondelete="restrict", readonly=True,
        groups="base.group_user", help="The case whose service hold this is; it ends with that hold.",
    )  # fmt: skip
