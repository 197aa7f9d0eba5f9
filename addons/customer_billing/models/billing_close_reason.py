from odoo import fields, models


class BillingCloseReason(models.Model):
    _name = "billing.close.reason"
    _description = "Close Reason"
    _order = "sequence, id"

    name = fields.Char(required=True, translate=True)
    sequence = fields.Integer(default=10)
    active = fields.Boolean(default=True)
