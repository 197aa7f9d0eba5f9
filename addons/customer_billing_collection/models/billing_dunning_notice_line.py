from odoo import fields, models


class BillingDunningNoticeLine(models.Model):
    """An item that a notice listed, as it was then."""

    _name = "billing.dunning.notice.line"
    _description = "Item of a Dunning Notice"
    _order = "notice_id, date_maturity, id"

    notice_id = fields.Many2one("billing.dunning.notice", required=True, index=True, ondelete="cascade")
    company_id = fields.Many2one(related="notice_id.company_id", store=True, index=True)
    currency_id = fields.Many2one(related="notice_id.currency_id", store=True)
    # empty when the item is gone: whoever corrects a bill must not be stopped by a reminder
    move_line_id = fields.Many2one("account.move.line", string="Item", index="btree_not_null", ondelete="set null")
    move_id = fields.Many2one("account.move", string="Document", index="btree_not_null", ondelete="set null")
    number = fields.Char(help="Of the document, as it was then.")
    date_maturity = fields.Date(string="Due")
    amount = fields.Monetary(help="Demanded: what was open, less payments on their way. Credits are negative.")
    days_overdue = fields.Integer(help="Negative: not due yet.")
