from odoo import api, fields, models


class BillingPriceBracket(models.Model):
    _name = "billing.price.bracket"
    _description = "Price Bracket"
    _order = "price_id, is_unbounded, up_to, id"

    price_id = fields.Many2one("billing.price", required=True, index=True, ondelete="cascade")
    currency_id = fields.Many2one(related="price_id.currency_id")
    up_to = fields.Float(
        digits="Product Unit", aggregator=None, help="Last quantity of the bracket; 0: no upper bound."
    )
    is_unbounded = fields.Boolean(compute="_compute_is_unbounded", store=True)
    unit_amount = fields.Float(min_display_digits="Product Price", aggregator=None)
    flat_amount = fields.Monetary(aggregator=None)

    _up_to_positive = models.Constraint(
        "CHECK (up_to >= 0)", "The upper bound of a bracket cannot be negative."
    )

    @api.depends("up_to")
    def _compute_is_unbounded(self):
        for bracket in self:
            bracket.is_unbounded = not bracket.up_to

    @api.model_create_multi
    def create(self, vals_list):
        self.env["billing.price"].browse(
            vals["price_id"] for vals in vals_list if vals.get("price_id")
        )._check_not_in_use()
        return super().create(vals_list)

    def write(self, vals):
        (self.price_id | self.price_id.browse(vals.get("price_id")))._check_not_in_use()
        return super().write(vals)

    @api.ondelete(at_uninstall=False)
    def _unlink_except_in_use(self):
        self.price_id._check_not_in_use()
