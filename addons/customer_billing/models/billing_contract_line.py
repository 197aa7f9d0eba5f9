from dataclasses import replace
from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError

from ..tools import charging, money

# What a past period's amount depends on: changed by amendments only.
FROZEN_FIELDS = frozenset(
    (
        "contract_id", "product_id", "charge_type", "price_id", "price_unit", "quantity",
        "discount", "date_start", "date_end", "plan_id", "meter_id", "max_slots",
    )
)  # fmt: skip


class BillingContractLine(models.Model):
    """One thing a contract charges for, from a day to a day, at a price fixed for the line.

    A line never changes its past: an amendment ends it and starts another."""

    _name = "billing.contract.line"
    _description = "Billing Contract Line"
    _inherit = ["billing.protected.mixin", "billing.money.mixin"]
    _order = "contract_id, sequence, id"
    _check_company_auto = True
    _billing_money = frozenset(("price_id", "price_unit", "discount", "price_subtotal"))
    _billing_protected = frozenset(
        (
            "recompute_from", "plan_id", "previous_line_id", "partner_id", "company_id",
            "currency_id", "is_current", "mrr", "tax_factor",
        )
    )  # fmt: skip

    contract_id = fields.Many2one(
        "billing.contract", required=True, index=True, ondelete="cascade"
    )
    sequence = fields.Integer(default=10)
    partner_id = fields.Many2one(related="contract_id.partner_id", store=True, index=True)
    company_id = fields.Many2one(related="contract_id.company_id", store=True)
    currency_id = fields.Many2one(related="contract_id.currency_id", store=True)
    contract_state = fields.Selection(related="contract_id.state", string="Contract Status")
    plan_id = fields.Many2one(
        "billing.plan",
        string="Plan of the Line",
        help="The plan that cuts the periods of this line, fixed when the line starts.",
        readonly=True,
        copy=False,
        ondelete="restrict",
    )
    product_id = fields.Many2one(
        "product.product",
        string="Charge Item",
        required=True,
        index=True,
        domain=[("sale_ok", "=", True)],
        check_company=True,
        ondelete="restrict",
    )
    name = fields.Char(
        string="Description",
        compute="_compute_name",
        store=True,
        readonly=False,
        precompute=True,
        required=True,
    )
    charge_type = fields.Selection(
        [
            ("recurring", "Recurring"),
            ("usage", "Usage"),
            ("one_time", "Once"),
            ("minimum", "Minimum commitment"),
        ],
        string="Charge Type",
        default="recurring",
        required=True,
        help="Usage is charged after each period by what the meter counted. A minimum "
        "commitment charges, after each period, what all usage lines of the contract together "
        "fall short of it.",
    )
    meter_id = fields.Many2one(
        "billing.meter",
        compute="_compute_meter_id",
        store=True,
        readonly=False,
        precompute=True,
        index="btree_not_null",
        check_company=True,
        ondelete="restrict",
        help="What counts the quantity of this line.",
    )
    max_slots = fields.Integer(
        string="Number of Periods",
        aggregator=None,
        help="The line ends after this many charged periods, as a coupon does; a partial first "
        "period counts, a fully paused one does not. 0: no limit.",
    )
    price_id = fields.Many2one(
        "billing.price",
        string="Price",
        compute="_compute_price_id",
        store=True,
        readonly=False,
        precompute=True,
        domain="[('product_id', '=', product_id), ('currency_id', '=', currency_id)]",
        ondelete="restrict",
        help="The published price; empty for a negotiated one.",
    )
    pricing_model = fields.Selection(related="price_id.pricing_model")
    price_unit = fields.Float(
        string="Unit Price",
        compute="_compute_price_unit",
        store=True,
        readonly=False,
        precompute=True,
        min_display_digits="Product Price",
        aggregator=None,
        help="Per period and unit, in the currency of the contract.",
    )
    tax_factor = fields.Float(
        compute="_compute_tax_factor",
        store=True,
        precompute=True,
        readonly=False,
        digits=0,
        aggregator=None,
        copy=False,
        groups="base.group_user",
        help="What brackets and minimum of the published price are multiplied by when the customer's fiscal position "
        "puts other taxes in place of those included in it; the unit price is adapted by itself.",
    )
    quantity = fields.Float(default=1.0, required=True, digits="Product Unit")
    product_uom_id = fields.Many2one(related="product_id.uom_id", string="Unit")
    discount = fields.Float(
        string="Disc.%",
        compute="_compute_discount",
        store=True,
        readonly=False,
        precompute=True,
        digits="Discount",
        aggregator=None,
        help="New lines start with the discount of the customer's tier.",
    )
    tax_ids = fields.Many2many(
        "account.tax",
        string="Taxes",
        domain=[("type_tax_use", "=", "sale")],
        check_company=True,
        help="Empty: the taxes of the product on the date of the bill, mapped by the "
        "customer's fiscal position.",
    )
    date_start = fields.Date(
        string="Start",
        compute="_compute_date_start",
        store=True,
        readonly=False,
        precompute=True,
        required=True,
        copy=False,
    )
    date_end = fields.Date(string="End", copy=False, help="The last day that is charged.")
    recompute_from = fields.Date(
        readonly=True,
        copy=False,
        groups="base.group_user",
        help="No run needs to look at this line before this day.",
    )
    is_current = fields.Boolean(
        compute="_compute_is_current", store=True, help="Charged today."
    )
    mrr = fields.Monetary(
        string="Monthly Revenue", compute="_compute_mrr", store=True, groups="base.group_user"
    )
    price_subtotal = fields.Monetary(
        string="Per Period", compute="_compute_price_subtotal", help="Before taxes, full period."
    )
    charge_ids = fields.One2many("billing.charge", "contract_line_id")
    previous_line_id = fields.Many2one(
        "billing.contract.line",
        string="Replaces",
        readonly=True,
        copy=False,
        index="btree_not_null",
        help="The line whose terms this one follows, since an amendment.",
    )

    _date_order = models.Constraint(
        "CHECK (date_end IS NULL OR date_end >= date_start - 1)",
        "The last day of a line cannot be before its first.",
    )
    _max_slots_range = models.Constraint(
        "CHECK (max_slots >= 0)", "The number of periods of a line is 0 (no limit) or more."
    )
    _discount_range = models.Constraint(
        "CHECK (discount >= 0 AND discount <= 100)", "A discount is between 0 and 100 %."
    )

    # Computes

    @api.depends("product_id")
    def _compute_name(self):
        for line in self:
            product = line.product_id
            if lang := line.contract_id.partner_id.lang:
                product = product.with_context(lang=lang)
            line.name = product.name

    @api.depends("charge_type")
    def _compute_meter_id(self):
        for line in self:
            line.meter_id = line.meter_id if line.charge_type == "usage" else False

    @api.depends("product_id", "contract_id.currency_id", "date_start")
    def _compute_price_id(self):
        for line in self:
            if line.plan_id:
                continue  # fixed since the line started
            line.price_id = line._find_price(line.date_start or fields.Date.context_today(line))

    def _find_price(self, date):
        """The published price of this line's product valid on ``date``, or an empty record."""
        self.ensure_one()
        if not self.product_id:
            return self.env["billing.price"]
        return self.env["billing.price"].search(
            [
                ("product_id", "=", self.product_id.id),
                ("currency_id", "=", self.contract_id.currency_id.id),
                ("company_id", "in", (False, self.contract_id.company_id.id)),
                ("date_from", "<=", date),
                "|",
                ("date_to", "=", False),
                ("date_to", ">=", date),
            ],
            order="company_id, date_from desc, id desc",
            limit=1,
        )

    @api.depends("price_id", "product_id")
    def _compute_price_unit(self):
        for line in self:
            if line.plan_id:
                continue  # fixed since the line started
            if line.price_id.pricing_model == "percentage":
                line.price_unit = line.price_id.unit_amount  # a rate
            elif line.price_id:
                line.price_unit = line._adapt_to_taxes(line.price_id.unit_amount)
            elif line.product_id:
                line.price_unit = line._adapt_to_taxes(line._get_list_price())

    @api.depends("price_id", "product_id")
    def _compute_tax_factor(self):
        for line in self:
            if line.plan_id:
                continue  # fixed since the line started
            amount = 1000000.0  # large beside taxes of a fixed amount, which know no factor
            is_adapted = line.price_id and line.price_id.pricing_model != "percentage"
            line.tax_factor = line._adapt_to_taxes(amount) / amount if is_adapted else 1.0

    def _get_tax_factor(self):
        """The factor for brackets and minimum; lines that started without one have 1."""
        self.ensure_one()
        return self.tax_factor or 1.0

    def _adapt_to_taxes(self, price):
        """A published price whose taxes are included, for the taxes that the customer's fiscal position
        puts in their place, as Odoo's orders and invoices do: the untaxed price stays the same.

        What a person types is taken as it is.
        """
        line_sudo = self.sudo()  # taxes and fiscal positions are closed to sales; a price comes out
        contract_sudo = line_sudo.contract_id
        company = contract_sudo.company_id or self.env.company
        taxes = line_sudo.product_id.taxes_id._filter_taxes_by_company(company)
        if not price or not taxes or not contract_sudo.partner_id or False in taxes.mapped("price_include"):
            return price
        position = self.env["billing.engine"].sudo()._get_fiscal_position(contract_sudo)
        return line_sudo.product_id._get_tax_included_unit_price_from_price(
            price, taxes, fiscal_position=position
        )

    def _get_list_price(self):
        """The price of the contract's price list, else the product's, in contract currency."""
        contract = self.contract_id
        date = self.date_start or fields.Date.context_today(self)
        if contract.pricelist_id:
            return contract.pricelist_id._get_product_price(
                self.product_id, self.quantity or 1.0, currency=contract.currency_id, date=date
            )
        company = contract.company_id or self.env.company
        return self.product_id.currency_id._convert(
            self.product_id.lst_price, contract.currency_id, company, date, round=False
        )

    @api.depends("contract_id.partner_id", "contract_id.company_id")
    def _compute_discount(self):
        """The tier's discount when the line is new; no later change of the tier reaches it.

        Not on a minimum commitment, nor on a coupon or other credit.
        """
        for line in self:
            if line.plan_id:
                continue  # fixed since the line started
            is_reduced = line.charge_type != "minimum" and line.price_unit >= 0
            line.discount = line.contract_id._get_tier().discount if line.contract_id and is_reduced else 0.0

    @api.depends("contract_id.date_start")
    def _compute_date_start(self):
        for line in self:
            if not line.plan_id or not line.date_start:
                line.date_start = line.contract_id.date_start

    @api.depends("date_start", "date_end", "max_slots", "contract_id.date_end", "contract_id.state")
    def _compute_is_current(self):
        today = fields.Date.context_today(self)
        for line in self:
            end = line._get_last_day()
            line.is_current = (not end or end >= today) and (
                line.contract_id.state == "draft" or not line.date_start or line.date_start <= today
            )

    @api.depends("price_unit", "quantity", "discount", "charge_type", "contract_id.plan_id", "price_id")
    def _compute_mrr(self):
        for line in self:
            plan = line.plan_id or line.contract_id.plan_id
            line.mrr = (
                line.price_subtotal / plan._get_months()
                if plan and line.charge_type == "recurring"
                else 0.0
            )

    @api.depends("price_unit", "quantity", "discount", "price_id", "charge_type")
    def _compute_price_subtotal(self):
        for line in self:
            if line.charge_type == "usage":
                line.price_subtotal = 0.0  # known after the period
                continue
            try:
                gross, _steps = charging.pricing.evaluate(
                    line._get_kernel_price(), money.to_decimal(line.quantity)
                )
            except ValueError:  # told by the constraint when saved
                gross = 0
            line.price_subtotal = float(gross) * (1 - line.discount / 100)

    # Constraints and write guards

    @api.constrains("date_start", "date_end", "contract_id")
    def _check_dates(self):
        for line in self:
            contract = line.contract_id
            if line.date_start and line.date_start < contract.date_start:
                raise ValidationError(
                    self.env._(
                        "%(line)s: a line cannot start before its contract (%(date)s).",
                        line=line.name,
                        date=contract.date_start,
                    )
                )

    @api.constrains("quantity", "price_id", "price_unit", "contract_id")
    def _check_price(self):
        for line in self:
            price = line.price_id
            if price and price.currency_id != line.contract_id.currency_id:
                raise ValidationError(
                    self.env._(
                        "%(line)s: the price is in %(price_currency)s, the contract in "
                        "%(currency)s.",
                        line=line.name,
                        price_currency=price.currency_id.name,
                        currency=line.contract_id.currency_id.name,
                    )
                )
            try:
                charging.pricing.evaluate(
                    line._get_kernel_price(), money.to_decimal(line.quantity)
                )
            except ValueError as error:
                raise ValidationError(
                    self.env._("%(name)s: %(reason)s", name=line.name, reason=error)
                ) from error

    @api.constrains("charge_type", "meter_id", "price_unit", "discount", "quantity", "price_id")
    def _check_metered(self):
        for line in self:
            if (line.charge_type == "usage") != bool(line.meter_id):
                raise ValidationError(
                    self.env._("%s: a usage line needs a meter, other lines have none.", line.name)
                )
            if line.charge_type == "minimum" and line.price_subtotal < 0:
                raise ValidationError(
                    self.env._("%s: a minimum commitment cannot be below zero.", line.name)
                )

    @api.model_create_multi
    def create(self, vals_list):
        lines = super().create(vals_list)
        lines._check_contract_is_draft()
        return lines

    def write(self, vals):
        if FROZEN_FIELDS.intersection(vals) and not self.env.su:
            self._check_contract_is_draft()
        return super().write(vals)

    @api.ondelete(at_uninstall=False)
    def _unlink_only_drafts(self):
        self._check_contract_is_draft()

    def _check_contract_is_draft(self):
        """Raise when a line belongs to a contract that is already billed."""
        if self.env.su:
            return  # amendments, through the contract's methods
        if line := self.filtered(lambda l: l.contract_id.state != "draft")[:1]:
            raise UserError(
                self.env._(
                    "%(contract)s is active: its lines are what bills were made from. Close "
                    "the contract and start another one with the new terms.",
                    contract=line.contract_id.name,
                )
            )

    # Amendments

    def _get_amendment_date(self, date):
        """The first day of new terms for this line when they are asked for from ``date`` on.

        A line whose partial periods cost the full price changes with its next period only.
        """
        self.ensure_one()
        date = max(date, self.date_start)
        if self.charge_type != "one_time" and self.plan_id.proration == "none":
            terms = self._get_terms()
            slot = next(charging.line_slots(terms, charging.slot_start(terms, date)), None)
            if slot and slot.start < date:
                return slot.period_end
        return date

    def _get_terms_text(self):
        """Quantity, price and discount in short."""
        self.ensure_one()
        text = f"{self.quantity:g} × {self.currency_id.format(self.price_unit)}"
        if self.charge_type == "usage":
            text = f"{self.meter_id.name} × {self.currency_id.format(self.price_unit)}"
        if self.discount:
            text += f" − {self.discount:g} %"
        return text

    def _describe_price(self):
        """The price in words, as lines in the language of the reader; a negotiated amount in place of the list's."""
        self.ensure_one()
        price = self.price_id.sudo()  # part of the contract, which its reader may see
        if price:
            return price._describe(self.price_unit, self.sudo()._get_tax_factor())
        return [self.env._("%s per unit", self.currency_id._format_exact(self.price_unit))]

    # Kernel

    def _freeze(self, plan=None):
        """Fix the plan of lines that start (default: that of the contract): later changes of
        the contract do not move them."""
        for line in self.sudo():  # engine-owned fields
            contract, start = line.contract_id, line.date_start
            if contract.billed_through:
                start = max(start, contract.billed_through + timedelta(days=1))
            line.write({"plan_id": (plan or contract.plan_id).id, "recompute_from": start})

    def _get_last_day(self):
        """The last day of the line, that of its contract included; False if open-ended."""
        self.ensure_one()
        contract = self.contract_id
        if self.max_slots and self.date_start and contract.date_start and contract.plan_id:
            end = self._get_terms().end
            return end and end - timedelta(days=1) or False
        return self._get_dated_end()

    def _get_dated_end(self):
        """The last day by the dates of the line and of its contract; False if open-ended."""
        ends = [day for day in (self.date_end, self.contract_id.date_end) if day]
        return min(ends) if ends else False

    def _get_looked_at_from(self):
        """The first day that a run looks at: the start of the period of ``recompute_from``."""
        self.ensure_one()
        return charging.slot_start(self._get_terms(), self.recompute_from or self.date_start)

    def _get_kernel_price(self):
        """The price of the line for the kernels; its own amount wins over the published one."""
        self.ensure_one()
        if self.price_id:
            return self.price_id._to_kernel(self.price_unit, self.sudo()._get_tax_factor())  # part of the price
        return charging.pricing.Price(
            model="per_unit",
            unit_amount=money.to_decimal(self.price_unit),
            package_size=money.to_decimal(1.0),
            minimum_amount=money.to_decimal(0.0),
            brackets=(),
        )

    def _has_several_amounts(self):
        """Whether the price has brackets or a minimum, so that no single amount says it."""
        price = self.price_id
        return bool(price.minimum_amount) or price.pricing_model in ("graduated", "volume", "stairstep")

    def _get_terms(self):
        """The terms of this line for the kernels, as ``charging.Terms``."""
        self.ensure_one()
        contract = self.contract_id
        plan = self.plan_id or contract.plan_id
        last_day = self._get_dated_end()
        holes = contract.pause_ids._get_uncharged_days()
        if contract.billed_through:
            holes.append((contract.date_start, contract.billed_through + timedelta(days=1)))
        terms = charging.Terms(
            kind=self.charge_type,
            cycle=plan._get_cycle(),
            timing=plan.timing,
            lead_days=plan.lead_days if plan.timing == "advance" else 0,
            anchor_start=contract.date_start,
            start=self.date_start,
            end=last_day + timedelta(days=1) if last_day else None,
            holes=tuple(holes),
            inputs=charging.Inputs(
                price=self._get_kernel_price(),
                quantity=money.to_decimal(self.quantity),
                discount=money.to_decimal(self.discount),
                method=plan.proration,
            ),
            rounding=money.to_decimal(contract.currency_id.rounding),
            contract_end=contract.date_end and contract.date_end + timedelta(days=1) or None,
            aggregation=self.meter_id.aggregation or "sum",
        )
        if self.max_slots:
            terms = replace(terms, end=charging.end_of_slots(terms, self.max_slots))
        return terms

    def _get_slots_left(self, date):
        """How many of ``max_slots`` a line that takes over on ``date`` still has."""
        self.ensure_one()
        terms = self._get_terms()
        first = charging.period_start(terms, date)
        used = 0
        for slot in charging.line_slots(terms):
            if slot.start >= first:
                break
            used += bool(charging.served_days(terms, slot))
        return self.max_slots - used

    def _get_line_of_day(self, day):
        """The line of the same chain of amendments whose days hold ``day``; empty if none."""
        self.ensure_one()
        line, followers = self, {after.previous_line_id: after for after in self.contract_id.line_ids}
        while line and line.date_start > day:
            line = line.previous_line_id
        while line and (line.date_end and line.date_end < day):
            line = followers.get(line, self.browse())
        return line if line and line.date_start <= day else self.browse()
