from odoo import fields, models


class ResConfigSettings(models.TransientModel):
    _inherit = "res.config.settings"

    billing_statement_frequency = fields.Selection(
        related="company_id.billing_statement_frequency", readonly=False
    )
    billing_statement_kind = fields.Selection(
        related="company_id.billing_statement_kind", readonly=False
    )
    billing_statement_template = fields.Selection(
        related="company_id.billing_statement_template", readonly=False
    )
    billing_statement_send = fields.Boolean(
        related="company_id.billing_statement_send", readonly=False
    )
    billing_statement_zero = fields.Boolean(
        related="company_id.billing_statement_zero", readonly=False
    )
    billing_statement_answer_days = fields.Integer(
        related="company_id.billing_statement_answer_days", readonly=False
    )
    billing_statement_reminder_days = fields.Integer(
        related="company_id.billing_statement_reminder_days", readonly=False
    )
    billing_statement_reminder_max = fields.Integer(
        related="company_id.billing_statement_reminder_max", readonly=False
    )
    billing_statement_user_id = fields.Many2one(
        related="company_id.billing_statement_user_id", readonly=False
    )
