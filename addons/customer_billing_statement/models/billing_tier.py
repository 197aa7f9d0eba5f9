from odoo import fields, models

from .res_company import FREQUENCIES


class BillingTier(models.Model):
    _inherit = "billing.tier"

    statement_frequency = fields.Selection(
        FREQUENCIES,
        string="Statements",
        tracking=True,
        help="How often customers of this tier get statements, unless the customer says otherwise. "
        "Empty: as set for the company.",
    )
