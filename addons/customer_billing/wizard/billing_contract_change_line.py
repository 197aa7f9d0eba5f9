from odoo import api, fields, models

COMPARED_FIELDS = ("product_id", "name", "quantity", "price_unit", "discount")


class BillingContractChangeLine(models.TransientModel):
    """One line of a contract as it will be: changed, ended or new."""

    _name = "billing.contract.change.line"
    _description = "Changed Contract Line"

    change_id = fields.Many2one("billing.contract.change", required=True, ondelete="cascade")
    line_id = fields.Many2one("billing.contract.line", string="Line")
    product_id = fields.Many2one(
        "product.product", string="Charge Item", required=True, domain=[("sale_ok", "=", True)]
    )
    name = fields.Char(
        string="Description", compute="_compute_name", store=True, readonly=False, precompute=True, required=True
    )
    charge_type = fields.Selection(
        selection=lambda self: self.env["billing.contract.line"]._fields[
            "charge_type"
        ]._description_selection(self.env),
        string="Charge Type",
        default="recurring",
        required=True,
    )
    meter_id = fields.Many2one("billing.meter")
    quantity = fields.Float(default=1.0, required=True, digits="Product Unit")
    price_unit = fields.Float(
        string="Unit Price",
        compute="_compute_price_unit",
        store=True,
        readonly=False,
        precompute=True,
        min_display_digits="Product Price",
    )
    discount = fields.Float(
        string="Disc.%",
        compute="_compute_discount",
        store=True,
        readonly=False,
        precompute=True,
        digits="Discount",
    )
    date_start = fields.Date(related="line_id.date_start", string="Start")
    pricing_model = fields.Selection(related="line_id.pricing_model")
    end = fields.Boolean(help="The line ends the day before the change.")

    @api.depends("product_id")
    def _compute_name(self):
        for row in self:
            if row.product_id != row.line_id.product_id:
                row.name = row.product_id.name

    @api.depends("product_id")
    def _compute_price_unit(self):
        for row in self:
            if row.product_id != row.line_id.product_id:
                contract = row.change_id.contract_ids[:1]
                line = self.env["billing.contract.line"].new(
                    {
                        "contract_id": contract.id or contract._origin.id,
                        "product_id": row.product_id.id,
                        "date_start": row.change_id.date,
                    }
                )
                price = line._find_price(row.change_id.date)
                row.price_unit = price.unit_amount if price else line._get_list_price()

    @api.depends("product_id")
    def _compute_discount(self):
        """A new line starts with the discount of the customer's tier."""
        for row in self.filtered(lambda row: not row.line_id):
            contract = row.change_id.contract_ids[:1]
            row.discount = contract._get_tier().discount if contract else 0.0

    def _prepare_amendment(self):
        """This row as a change for ``billing.contract.action_amend``; None when it is none."""
        self.ensure_one()
        line = self.line_id
        if self.end:
            return {"line_id": line.id, "end": True} if line else None
        values = {
            name: self[name].id if name == "product_id" else self[name]
            for name in COMPARED_FIELDS
            if not line or self[name] != line[name]
        }
        if not line:
            return {
                **values,
                "charge_type": self.charge_type,
                "meter_id": self.charge_type == "usage" and self.meter_id.id,
            }
        return {**values, "line_id": line.id} if values else None
