from odoo import fields, models


class BillingCloseReason(models.Model):
    _name = "billing.close.reason"
    _description = "Close Reason"
    _order = "sequence, id"

    name = fields.Char(required=True, translate=True)
    sequence = fields.Integer(default=10)
    active = fields.Boolean(default=True)
    is_published = fields.Boolean(
        string="For Customers", default=True, help="Customers who cancel in the portal can choose it."
    )
    offer = fields.Text(
        string="Offer to Stay",
        translate=True,
        help="What a customer reads who wants to cancel for this reason, before it is confirmed.",
    )
    offer_product_id = fields.Many2one(
        "product.product",
        string="Discount Item",
        domain=[("sale_ok", "=", True)],
        ondelete="restrict",
        groups="base.group_user",
        help="The item of the discount that a customer gets who stays. Empty: no discount is offered.",
    )
    offer_percent = fields.Float(string="Discount %", digits="Discount", aggregator=None, groups="base.group_user")
    offer_periods = fields.Integer(string="Periods", default=3, aggregator=None, groups="base.group_user")

    _offer_range = models.Constraint(
        "CHECK (offer_product_id IS NULL OR (offer_percent > 0 AND offer_percent <= 100 AND offer_periods > 0))",
        "An offer to stay is above 0 and at most 100 %, for one period or more.",
    )
