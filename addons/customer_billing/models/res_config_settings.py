from odoo import fields, models


class ResConfigSettings(models.TransientModel):
    _inherit = "res.config.settings"

    billing_currency_id = fields.Many2one(related="company_id.currency_id", string="Bill Currency")
    billing_approval = fields.Boolean(related="company_id.billing_approval", readonly=False)
    billing_approval_amount = fields.Monetary(
        related="company_id.billing_approval_amount",
        readonly=False,
        currency_field="billing_currency_id",
    )
    billing_credit_mode = fields.Selection(
        related="company_id.billing_credit_mode", readonly=False, required=True
    )
    billing_layout = fields.Selection(related="company_id.billing_layout", readonly=False, required=True)
    billing_mails_per_hour = fields.Integer(
        related="company_id.billing_mails_per_hour", readonly=False
    )
    billing_profile_months = fields.Integer(
        related="company_id.billing_profile_months", readonly=False
    )
    billing_profile_reminder_days = fields.Integer(
        related="company_id.billing_profile_reminder_days", readonly=False
    )
    billing_ageing_bounds = fields.Char(related="company_id.billing_ageing_bounds", readonly=False)
    billing_ageing_basis = fields.Selection(related="company_id.billing_ageing_basis", readonly=False)
    billing_price_notice_days = fields.Integer(
        related="company_id.billing_price_notice_days", readonly=False
    )
    billing_tier_mode = fields.Selection(
        related="company_id.billing_tier_mode", readonly=False, required=True
    )
