from odoo import fields, models


class BillingDunningNoticeLine(models.Model):
    """An item that a notice listed, as it was then."""

    _name = "billing.dunning.notice.line"
    _description = "Item of a Dunning Notice"
    _order = "notice_id, date_maturity, id"

    notice_id = fields.Many2one("billing.dunning.notice", required=True, index=True, ondelete="cascade")
    company_id = fields.Many2one(related="notice_id.company_id", store=True, index=True)
    currency_id = fields.Many2one(related="notice_id.currency_id", store=True)
    move_line_id = fields.Many2one("account.move.line", required=True, index=True, ondelete="restrict")
    move_id = fields.Many2one(related="move_line_id.move_id", store=True, index=True)
    date_maturity = fields.Date(string="Due")
    amount = fields.Monetary(help="Demanded: what was open, less payments on their way. Credits are negative.")
    days_overdue = fields.Integer(help="Negative: not due yet.")
