from odoo import fields, models


class ResCompany(models.Model):
    _inherit = "res.company"

    billing_dunning_policy_id = fields.Many2one(
        "billing.dunning.policy", string="Dunning Policy", check_company=True,
        help="For customers without one of their own.",
        groups="base.group_user",
    )
    billing_collector_id = fields.Many2one(
        "res.users",
        string="Collector",
        domain=[("share", "=", False)],
        help="For customers without one of their own; empty: the collector with the fewest open cases.",
        groups="base.group_user",
    )
    billing_dunning_date = fields.Date(string="Last Dunning Night", readonly=True, groups="base.group_user")
    billing_dunning_partner = fields.Integer(
        string="Dunning Done Up To", readonly=True, help="The customer that the job has reached in this night.",
        groups="base.group_user",
    )
