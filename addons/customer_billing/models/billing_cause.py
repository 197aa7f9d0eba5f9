from odoo import fields, models


class BillingCause(models.Model):
    """Why something went wrong, for the report of exceptions by cause."""

    _name = "billing.cause"
    _description = "Root Cause"
    _order = "sequence, id"

    name = fields.Char(required=True, translate=True)
    sequence = fields.Integer(default=10)
    active = fields.Boolean(default=True)
