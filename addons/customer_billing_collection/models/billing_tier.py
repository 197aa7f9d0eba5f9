from odoo import fields, models


class BillingTier(models.Model):
    _inherit = "billing.tier"

    dunning_policy_id = fields.Many2one(
        "billing.dunning.policy",
        string="Dunning Policy",
        company_dependent=True,
        check_company=True,
        help="How customers of this tier are asked to pay, unless the customer says otherwise. Empty: as their tags, "
        "their industry or the company say.",
    )
