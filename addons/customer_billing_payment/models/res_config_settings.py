from odoo import fields, models


class ResConfigSettings(models.TransientModel):
    _inherit = "res.config.settings"

    billing_partial_payment = fields.Boolean(related="company_id.billing_partial_payment", readonly=False)
    billing_charge_days = fields.Integer(related="company_id.billing_charge_days", readonly=False)
    billing_charge_retry_days = fields.Char(related="company_id.billing_charge_retry_days", readonly=False)
    billing_charge_poll_days = fields.Integer(related="company_id.billing_charge_poll_days", readonly=False)
    billing_mandate_text = fields.Text(related="company_id.billing_mandate_text", readonly=False)
    billing_prepaid_account_id = fields.Many2one(related="company_id.billing_prepaid_account_id", readonly=False)
    billing_prepaid_journal_id = fields.Many2one(related="company_id.billing_prepaid_journal_id", readonly=False)
    billing_credit_auto = fields.Boolean(related="company_id.billing_credit_auto", readonly=False)
