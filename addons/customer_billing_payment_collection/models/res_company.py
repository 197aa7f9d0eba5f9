from odoo import fields, models


class ResCompany(models.Model):
    _inherit = "res.company"

    billing_transit_days = fields.Integer(
        string="Wait for Online Payments (Days)",
        default=14,
        help="An online payment that its provider does not confirm keeps its bills out of dunning for so many days "
        "after the last news. Direct debits may take 14 days. What the provider has confirmed, and automatic charges "
        "without an outcome, are waited for without limit.",
        groups="base.group_user",
    )

    _billing_transit_days_positive = models.Constraint(
        "CHECK (billing_transit_days >= 1)", "Online payments are waited for on 1 day at least."
    )
