from odoo import fields, models


class ResConfigSettings(models.TransientModel):
    _inherit = "res.config.settings"

    billing_transit_days = fields.Integer(related="company_id.billing_transit_days", readonly=False)
