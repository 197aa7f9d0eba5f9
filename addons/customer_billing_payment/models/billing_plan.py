from odoo import fields, models


class BillingPlan(models.Model):
    _inherit = "billing.plan"

    invoice_policy = fields.Selection(
        selection_add=[("charge", "Post, send and charge the bills")], ondelete={"charge": "set send"}
    )
