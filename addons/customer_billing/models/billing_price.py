from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.tools import formatLang

from ..tools import money, pricing

FROZEN_FIELDS = frozenset(
    (
        "product_id", "currency_id", "pricing_model", "unit_amount", "package_size",
        "minimum_amount", "date_from", "bracket_ids",
    )
)  # fmt: skip


class BillingPrice(models.Model):
    """One version of a way to turn a quantity into money. Versions share product, currency
    and code; one that contracts use does not change: a new version takes over on its date."""

    _name = "billing.price"
    _description = "Price"
    _inherit = ["mail.thread"]
    _order = "product_id, code, date_from desc, id desc"
    _rec_names_search = ["code", "product_id.name", "product_id.default_code"]

    code = fields.Char(
        required=True, default="STD", tracking=True, help="Versions of a price share its code."
    )
    product_id = fields.Many2one(
        "product.product",
        string="Charge Item",
        required=True,
        index=True,
        domain=[("sale_ok", "=", True)],
        ondelete="restrict",
    )
    company_id = fields.Many2one("res.company", help="Empty: for all companies.")
    currency_id = fields.Many2one(
        "res.currency", required=True, default=lambda self: self.env.company.currency_id
    )
    pricing_model = fields.Selection(
        [
            ("flat", "Flat: one amount per period"),
            ("per_unit", "Per unit"),
            ("graduated", "Graduated: each bracket at its price"),
            ("volume", "Volume: all units at the price of the reached bracket"),
            ("package", "Package: per started package"),
            ("stairstep", "Stair-step: one amount by bracket"),
            ("percentage", "Percentage of an amount"),
        ],
        default="per_unit",
        required=True,
        tracking=True,
    )
    unit_amount = fields.Float(
        string="Amount",
        min_display_digits="Product Price",
        tracking=True,
        aggregator=None,
        help="Per period, unit or package in the currency; for a percentage, a rate (0.08 = 8 %).",
    )
    package_size = fields.Float(default=1.0, digits="Product Unit", aggregator=None)
    minimum_amount = fields.Monetary(tracking=True, aggregator=None)
    date_from = fields.Date(
        string="Valid From",
        required=True,
        default=fields.Date.context_today,
        tracking=True,
        help="Lines of contracts that start before this day take the sales price of the charge item.",
    )
    date_to = fields.Date(string="Valid To", tracking=True)
    bracket_ids = fields.One2many("billing.price.bracket", "price_id", copy=True)
    tariff = fields.Text(compute="_compute_tariff", help="The price in words, a line for each bracket.")
    active = fields.Boolean(default=True)
    is_published = fields.Boolean(
        string="Published",
        copy=False,
        tracking=True,
        help="Shown to all customers in the price list of the portal.",
    )

    _date_order = models.Constraint(
        "CHECK (date_to IS NULL OR date_to >= date_from)",
        "The last day of a price cannot be before its first.",
    )

    @api.depends("code", "product_id", "unit_amount", "currency_id", "pricing_model", "date_from")
    def _compute_display_name(self):
        for price in self:
            name = f"{price.product_id.name or ''} [{price.code}]"
            if price.pricing_model in ("flat", "per_unit") and price.currency_id:
                name += f" {price.currency_id.format(price.unit_amount)}"
            price.display_name = name

    @api.depends("pricing_model", "unit_amount", "package_size", "minimum_amount", "bracket_ids", "currency_id")
    @api.depends_context("lang")
    def _compute_tariff(self):
        for price in self:
            lines = price._describe() if price.currency_id else []
            price.tariff = "\n".join(lines)

    @api.model
    def _search_published(self, companies, date):
        """The published prices of ``companies`` that are valid on a day, in the order of a price list."""
        return self.search(
            [
                ("is_published", "=", True),
                ("company_id", "in", [False, *companies.ids]),
                ("date_from", "<=", date),
                "|",
                ("date_to", "=", False),
                ("date_to", ">=", date),
            ],
            order="product_id, currency_id, code, id",
            limit=500,
        )

    def _describe(self, unit_amount=None, factor=1.0):
        """The price in words that a customer can read, as lines in the language of the reader.

        :param unit_amount: a negotiated amount in place of the list amount
        :param factor: what the other amounts are multiplied by, for other taxes included in them
        """
        self.ensure_one()
        lines = self._describe_brackets(factor) if self.bracket_ids else [self._describe_amount(unit_amount)]
        if self.minimum_amount:
            lines.append(self.env._("at least %s", self.currency_id.format(self.minimum_amount * factor)))
        return lines

    def _describe_amount(self, unit_amount=None):
        """A price without brackets."""
        unit_amount = self.unit_amount if unit_amount is None else unit_amount
        amount = self.currency_id._format_exact(unit_amount)
        if self.pricing_model == "package":
            size = self._format_quantity(self.package_size)
            return self.env._("%(amount)s per started package of %(size)s", amount=amount, size=size)
        if self.pricing_model == "percentage":
            return self.env._("%s%% of the amount", self._format_quantity(unit_amount * 100))
        if self.pricing_model == "flat":
            return self.env._("%s per period", amount)
        return self.env._("%s per unit", amount)

    def _describe_brackets(self, factor):
        """A line for each bracket; what is in force follows from the pricing model."""
        lines, lower = [], 0.0
        for bracket in self.bracket_ids:
            each = bracket.unit_amount and self.currency_id._format_exact(bracket.unit_amount * factor)
            fixed = bracket.flat_amount and self.currency_id.format(bracket.flat_amount * factor)
            if self.pricing_model == "stairstep" or not each:
                price = fixed or self.currency_id.format(0.0)
            elif fixed:
                price = self.env._("%(each)s each and %(fixed)s", each=each, fixed=fixed)
            else:
                price = self.env._("%s each", each)
            lines.append(self._describe_bracket(bracket.up_to, lower, price))
            lower = bracket.up_to
        if self.pricing_model == "volume":
            lines.append(self.env._("The bracket reached gives the price of all units."))
        return lines

    def _describe_bracket(self, up_to, lower, price):
        """For which quantities ``price`` is: the next ones, or all when that many are reached."""
        values = {"price": price, "lower": self._format_quantity(lower)}
        if not up_to:
            return self.env._("above %(lower)s: %(price)s", **values) if lower else price
        if self.pricing_model != "graduated":
            return self.env._("up to %(upper)s: %(price)s", upper=self._format_quantity(up_to), **values)
        values["count"] = self._format_quantity(up_to - lower)
        if lower:
            return self.env._("next %(count)s: %(price)s", **values)
        return self.env._("first %(count)s: %(price)s", **values)

    def _format_quantity(self, value):
        """A quantity without needless zeros."""
        digits = 0
        while digits < 4 and abs(round(value, digits) - value) > 1e-9:
            digits += 1
        return formatLang(self.env, value, digits=digits)

    @api.constrains("code", "product_id", "currency_id", "company_id", "date_from", "date_to", "active")
    def _check_overlap(self):
        for price in self.filtered("active"):
            other = self.search(
                [
                    ("id", "!=", price.id),
                    ("code", "=", price.code),
                    ("product_id", "=", price.product_id.id),
                    ("currency_id", "=", price.currency_id.id),
                    ("company_id", "=", price.company_id.id),
                    ("date_from", "<=", price.date_to or fields.Date.to_date("9999-12-31")),
                    "|",
                    ("date_to", "=", False),
                    ("date_to", ">=", price.date_from),
                ],
                limit=1,
            )
            if other:
                raise ValidationError(
                    self.env._(
                        "%(price)s is already valid from %(date)s. End that version the day "
                        "before the new one starts.",
                        price=other.display_name,
                        date=other.date_from,
                    )
                )

    @api.constrains("pricing_model", "unit_amount", "package_size", "bracket_ids")
    def _check_price(self):
        for price in self:
            try:
                pricing.evaluate(price._to_kernel(), money.to_decimal(1.0))
            except ValueError as error:
                raise ValidationError(
                    self.env._(
                        "The price %(price)s cannot be computed: %(reason)s",
                        price=price.display_name,
                        reason=error,
                    )
                ) from error

    def write(self, vals):
        if FROZEN_FIELDS.intersection(vals):
            self._check_not_in_use()
        return super().write(vals)

    def _check_not_in_use(self):
        """Raise when a contract that is not a draft uses one of these prices."""
        line = self.env["billing.contract.line"].sudo().search(
            [("price_id", "in", self.ids), ("contract_id.state", "!=", "draft")], limit=1
        )  # sudo: contracts of other companies count too
        if line:
            raise UserError(
                self.env._(
                    "%(price)s is used by contract %(contract)s and stays as it is. End it "
                    "with a last day and create a new version from the day after.",
                    price=line.price_id.display_name,
                    contract=line.contract_id.name,
                )
            )

    def _to_kernel(self, unit_amount=None, factor=1.0):
        """This price for the kernels, as a ``pricing.Price``.

        :param unit_amount: a negotiated amount that replaces the list amount
        :param factor: what the other amounts are multiplied by, for other taxes included in them
        """
        self.ensure_one()
        factor = money.to_decimal(factor)
        return pricing.Price(
            model=self.pricing_model,
            unit_amount=money.to_decimal(
                self.unit_amount if unit_amount is None else unit_amount
            ),
            package_size=money.to_decimal(self.package_size),
            minimum_amount=money.to_decimal(self.minimum_amount) * factor,
            brackets=tuple(
                pricing.Bracket(
                    up_to=money.to_decimal(bracket.up_to),
                    unit_amount=money.to_decimal(bracket.unit_amount) * factor,
                    flat_amount=money.to_decimal(bracket.flat_amount) * factor,
                )
                for bracket in self.bracket_ids.sorted(lambda b: (not b.up_to, b.up_to))
            ),
        )
