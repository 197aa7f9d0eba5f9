from odoo import fields, models


class ResConfigSettings(models.TransientModel):
    _inherit = "res.config.settings"

    billing_dunning_policy_id = fields.Many2one(related="company_id.billing_dunning_policy_id", readonly=False)
    billing_collector_id = fields.Many2one(related="company_id.billing_collector_id", readonly=False)
    billing_interest_billing = fields.Selection(
        related="company_id.billing_interest_billing", readonly=False, required=True
    )
    billing_collection_approval_amount = fields.Monetary(
        related="company_id.billing_collection_approval_amount", readonly=False, currency_field="billing_currency_id"
    )
    billing_bad_debt_account_id = fields.Many2one(related="company_id.billing_bad_debt_account_id", readonly=False)
    billing_writeoff_journal_id = fields.Many2one(related="company_id.billing_writeoff_journal_id", readonly=False)
