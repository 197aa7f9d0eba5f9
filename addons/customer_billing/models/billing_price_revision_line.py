import logging
from decimal import localcontext

from psycopg2 import OperationalError

from odoo import Command, api, fields, models
from odoo.exceptions import ConcurrencyError, UserError
from odoo.tools import format_date

from ..tools import charging, money, pricing, revision
from .billing_price_notice import GIVEN

_logger = logging.getLogger(__name__)

BY_HAND = frozenset(("new_price_unit", "reason"))
BRACKET_MODELS = ("graduated", "volume", "stairstep")


class BillingPriceRevisionLine(models.Model):
    """The new price of one contract line, and what became of it."""

    _name = "billing.price.revision.line"
    _description = "Revised Price"
    _inherit = ["billing.protected.mixin"]
    _order = "revision_id desc, partner_id, contract_id, id"
    _rec_name = "contract_line_id"
    _billing_protected = frozenset(
        (
            "revision_id", "contract_line_id", "price_id", "price_unit", "date", "yearly_amount",
            "is_scaled", "is_negotiated", "outcome", "notice_id", "new_line_id", "new_price_id",
            "company_id", "contract_id", "partner_id", "product_id", "plan_id", "currency_id",
            "change_percent", "yearly_effect", "yearly_effect_company",
        )
    )  # fmt: skip

    revision_id = fields.Many2one(
        "billing.price.revision", required=True, index=True, ondelete="cascade"
    )
    revision_state = fields.Selection(related="revision_id.state", string="Revision Status")
    company_id = fields.Many2one(related="revision_id.company_id", store=True, index=True)
    company_currency_id = fields.Many2one(related="company_id.currency_id", string="Company Currency")
    contract_line_id = fields.Many2one(
        "billing.contract.line", string="Contract Line", required=True, index=True, ondelete="cascade"
    )
    contract_id = fields.Many2one(related="contract_line_id.contract_id", store=True, index=True)
    partner_id = fields.Many2one(related="contract_id.partner_id", store=True, index=True)
    product_id = fields.Many2one(related="contract_line_id.product_id", store=True)
    plan_id = fields.Many2one(related="contract_line_id.plan_id", store=True, string="Plan")
    currency_id = fields.Many2one(related="contract_line_id.currency_id", store=True)
    quantity = fields.Float(related="contract_line_id.quantity")
    discount = fields.Float(related="contract_line_id.discount")
    price_id = fields.Many2one("billing.price", string="Price", index="btree_not_null", ondelete="restrict")
    price_unit = fields.Float(string="Old Price", min_display_digits="Product Price", aggregator=None)
    new_price_unit = fields.Float(
        string="New Price",
        min_display_digits="Product Price",
        aggregator=None,
        help="Can be set by hand until the customers are notified.",
    )
    is_scaled = fields.Boolean(
        string="Several Amounts",
        help="A price with brackets or a minimum: all its amounts change by the same percentage.",
    )
    is_negotiated = fields.Boolean(string="Set by Hand")
    change_percent = fields.Float(
        string="Change in %", compute="_compute_effect", store=True, aggregator="avg", digits=(16, 2)
    )
    yearly_amount = fields.Monetary(
        string="Per Year Now", help="Usage and minimum commitments: what the last twelve months cost."
    )
    yearly_effect = fields.Monetary(compute="_compute_effect", store=True, string="More per Year")
    yearly_effect_company = fields.Monetary(
        compute="_compute_effect",
        store=True,
        string="More per Year (Company Currency)",
        currency_field="company_currency_id",
    )
    date = fields.Date(
        string="From",
        help="The first day of the new price: the effective date, or the start of the period after "
        "it where partial periods cost the full price.",
    )
    outcome = fields.Selection(
        [
            ("proposed", "Proposed"),
            ("excluded", "Excluded"),
            ("blocked", "Not revisable"),
            ("applied", "Applied"),
            ("failed", "Failed"),
            ("skipped", "Skipped"),
            ("withdrawn", "Withdrawn"),
        ],
        required=True,
        index=True,
        default="proposed",
        help="Applied: the contract has the new price from its day on.",
    )
    reason = fields.Char()
    notice_id = fields.Many2one(
        "billing.price.notice", string="Letter", index="btree_not_null", ondelete="restrict"
    )
    notice_state = fields.Selection(related="notice_id.state", string="Letter Status")
    notice_date = fields.Date(related="notice_id.date", string="Notified On")
    date_acknowledged = fields.Datetime(related="notice_id.date_acknowledged", string="Acknowledged On")
    new_line_id = fields.Many2one(
        "billing.contract.line", string="New Contract Line", index="btree_not_null", ondelete="set null"
    )
    new_price_id = fields.Many2one(
        "billing.price",
        string="New Amounts",
        index="btree_not_null",
        ondelete="restrict",
        help="The amounts by bracket from the day on. Archived: it is for these contracts only.",
    )

    _contract_line_unique = models.UniqueIndex(
        "(revision_id, contract_line_id)", "A revision has one new price per contract line."
    )
    _new_line_unique = models.UniqueIndex(
        "(new_line_id) WHERE new_line_id IS NOT NULL", "A contract line comes from one revision."
    )
    _new_price_positive = models.Constraint(
        "CHECK (new_price_unit >= 0)", "A new price cannot be below zero."
    )

    @api.depends("price_unit", "new_price_unit", "yearly_amount", "is_scaled", "outcome")
    def _compute_effect(self):
        for line in self:
            record = line.revision_id
            percent = 0.0
            if line.price_unit > 0:
                percent = (line.new_price_unit / line.price_unit - 1) * 100
            elif line.is_scaled and record.method != "fixed" and line.outcome != "blocked":
                percent = float(revision.change(record._get_rule()))
            line.change_percent = percent
            line.yearly_effect = line.currency_id.round(line.yearly_amount * percent / 100)
            line.yearly_effect_company = line.currency_id._convert(
                line.yearly_effect,
                record.company_id.currency_id,
                record.company_id,
                record.date or fields.Date.today(),
            )

    # Prepare

    @api.model
    def _prepare_lines(self, record, contract_lines):
        """Values of the lines of a revision for ``contract_lines``."""
        rule = record._get_rule()
        contract_lines.price_id.bracket_ids.fetch(["price_id"])
        used = self._get_metered_amounts(record, contract_lines)
        return [
            self._prepare_line(record, rule, line, used.get(line.id, 0.0)) for line in contract_lines
        ]

    @api.model
    def _prepare_line(self, record, rule, line, used):
        vals = {
            "revision_id": record.id,
            "contract_line_id": line.id,
            "price_id": line.price_id.id,
            "price_unit": line.price_unit,
            "new_price_unit": line.price_unit if line.price_unit > 0 else 0.0,
            "date": line._get_amendment_date(record.date),
            "yearly_amount": used
            if line.charge_type in charging.METERED
            else line.price_subtotal * 12 / line.plan_id._get_months(),
            "is_scaled": line._has_several_amounts(),
        }
        reason = self._get_obstacle(record, line)
        if not reason:
            try:
                new, is_changed = self._revise(rule, line)
            except ValueError as error:
                reason = self.env._("No new price can be computed: %s", error)
            else:
                vals["new_price_unit"] = float(new)
                if not is_changed:
                    reason = self.env._("The price stays the same.")
        if reason:
            vals.update(outcome="blocked", reason=reason)
        return vals

    @api.model
    def _revise(self, rule, line):
        """The new unit price of a contract line, and whether any amount of it changes."""
        rounding = money.to_decimal(line.currency_id.rounding)
        price = line._get_kernel_price()
        with localcontext(money.EXACT):
            if line._has_several_amounts():
                new = revision.revise_price(rule, price, rounding)
                return new.unit_amount, new != price
            new_unit = revision.revise(rule, price.unit_amount, rounding)
        return new_unit, new_unit != price.unit_amount

    @api.model
    def _get_obstacle(self, record, line):
        """Why a contract line is not revised, as a sentence; False when it is.

        Override to keep more lines as they are.
        """
        model = line.price_id.pricing_model
        if line.max_slots:
            return self.env._("Agreed for a number of periods: the price was promised for these.")
        if line.price_unit < 0:
            return self.env._("A credit is not revised.")
        if model == "percentage":
            return self.env._("A percentage follows what it is a percentage of.")
        if not line.price_unit and model not in BRACKET_MODELS:
            return self.env._("Free of charge.")
        if record.method == "fixed":
            if line.currency_id != record.currency_id:
                return self.env._(
                    "The amount is in %(currency)s, the contract in %(contract_currency)s.",
                    currency=record.currency_id.name,
                    contract_currency=line.currency_id.name,
                )
            if line._has_several_amounts():
                return self.env._("An amount cannot be added to a price with brackets or a minimum.")
            if line.charge_type == "minimum":
                return self.env._("An amount per unit cannot be added to a minimum commitment.")
        return False

    @api.model
    def _get_metered_amounts(self, record, contract_lines):
        """What usage and minimum lines were charged in the last twelve months: {line id: amount}."""
        since = fields.Date.add(record.company_id._get_billing_today(), months=-12)
        metered = contract_lines.filtered(lambda line: line.charge_type in charging.METERED)
        return {
            line.id: amount
            for line, amount in self.env["billing.charge"]._read_group(
                [
                    ("contract_line_id", "in", metered.ids),
                    ("period_start", ">=", since),
                    ("state", "!=", "void"),
                ],
                ["contract_line_id"],
                ["amount:sum"],
            )
        }

    # By hand

    def write(self, vals):
        by_hand = BY_HAND.intersection(vals) and not self.env.su
        if by_hand:
            for record in self.revision_id:
                record._check_state("draft")
            if "new_price_unit" in vals and self.filtered("is_scaled"):
                raise UserError(
                    self.env._(
                        "A price with brackets or a minimum has no single new price: exclude the "
                        "line, and amend its contract."
                    )
                )
        result = super().write(vals)
        if by_hand:
            if "new_price_unit" in vals:
                # sudo: protected fields; whoever sets a price wants it applied
                self.sudo().write({"is_negotiated": True, "outcome": "proposed"})
            self.revision_id._note_preparer()
        return result

    def _is_by_hand(self):
        """Whether a person decided about this line, so that computing again leaves it alone."""
        self.ensure_one()
        return self.is_negotiated or self.outcome == "excluded"

    def action_exclude(self, reason=None):
        """Leave these prices as they are.

        :param reason: why; else what the line says, or who did it
        """
        self._change("proposed", "excluded", reason)
        return True

    def action_include(self):
        """Revise excluded lines after all, by the rule as it is now."""
        excluded = self.filtered(lambda line: line.outcome == "excluded")
        self._change("excluded", "proposed", False)
        computed = excluded.filtered(lambda line: not line.is_negotiated)
        for record, lines in computed.grouped("revision_id").items():
            line_by_id = {line.contract_line_id.id: line for line in lines}
            for vals in self._prepare_lines(record, lines.contract_line_id):
                line_by_id[vals["contract_line_id"]].sudo().write(vals)  # protected fields
        return True

    def _change(self, before, after, reason):
        for record in self.revision_id:
            record._check_state("draft")
        for line_sudo in self.sudo().filtered(lambda line: line.outcome == before):  # protected
            line_sudo.outcome = after
            if reason is False:
                line_sudo.reason = False
            else:
                line_sudo.reason = (
                    reason or line_sudo.reason or self.env._("Excluded by %s.", self.env.user.name)
                )
        self.revision_id._note_preparer()

    def action_withdraw(self, reason=None):
        """Take new prices back that customers were told, before their day, for instance after
        an objection.

        :param reason: why; else who did it
        :raises UserError: the price is in effect, or its contract was amended since
        """
        reason = reason or self.env._("Withdrawn by %s.", self.env.user.name)
        for record in self.revision_id:
            record._check_state("notified")
            record._check_not_begun()
        applied = self.filtered("new_line_id")  # also what could not be taken back before
        (self - applied).filtered(lambda line: line.outcome in ("proposed", "failed"))._withdraw(reason)
        for lines in applied.grouped("contract_id").values():
            lines._take_back_from_contract(reason, "withdrawn")
        return True

    def action_retry(self):
        """Try to apply failed lines again."""
        for record in self.revision_id:
            record._check_state("notified", "effective")
        failed = self.filtered(lambda line: line.outcome == "failed")
        failed._apply()
        return True

    # Apply

    def _get_current_line(self):
        """The line of the contract that runs on the effective date now."""
        return self.contract_line_id._get_line_of_day(self.revision_id.date)

    def _waits_for_renewal(self):
        """Whether the contract ends before the new price, and will renew itself until then."""
        contract = self.contract_id
        return bool(
            contract.date_end
            and contract.date_end < self.date
            and contract.plan_id.renewal == "auto"
            and not contract.close_reason_id
        )

    def _get_change_since(self):
        """What happened to the contract since the price was computed, as a sentence, or False."""
        self.ensure_one()
        if self.contract_id.state not in ("active", "paused"):
            return self.env._("The contract does not run any more.")
        line = self._get_current_line()
        last_day = line and not self._waits_for_renewal() and line._get_last_day()
        if not line or (last_day and last_day < self.date):
            return self.env._("The line ends before %s.", format_date(self.env, self.date))
        if line.price_unit != self.price_unit or line.price_id != self.price_id:
            return self.env._("The price was changed since: compute again.")
        return False

    def _block_changed(self):
        """List lines that do not fit their contract any more as not revisable."""
        for line in self:
            if reason := line._get_change_since():
                line.sudo().write({"outcome": "blocked", "reason": reason})  # protected fields

    def _apply(self):
        """Write the dated amendments, contract by contract; what fails is written on its lines
        and stops no other contract."""
        errors = {}
        for contract, lines in self.grouped("contract_id").items():
            try:
                with self.env.cr.savepoint():
                    lines._apply_to_contract(contract)
            except (OperationalError, ConcurrencyError):
                raise
            except Exception as error:
                if not isinstance(error, UserError):
                    _logger.exception("A price of contract %s could not be revised", contract.id)
                lines.sudo().write({"outcome": "failed", "reason": str(error)})  # protected fields
                errors[contract] = str(error)
        exceptions = self.env["billing.exception"]
        exceptions._report("revision", errors)
        done = self.contract_id.filtered(lambda contract: contract not in errors)
        exceptions._get_open_events("revision", done)._close(self.env._("The price was revised."))

    def _apply_to_contract(self, contract):
        """Amend one contract from the effective date on.

        :raises UserError: the contract was changed since, or cannot be amended
        """
        changes, by_current = [], {}
        for line in self:
            if reason := line._get_change_since():
                raise UserError(reason)
            if line.notice_id.state not in GIVEN:  # it came back since
                raise UserError(self.env._("The customer was not told: send the letter first."))
            current = line._get_current_line()
            by_current[current] = line
            change = {"line_id": current.id, "price_unit": line.new_price_unit}
            if line.is_scaled:
                change["price_id"] = line._get_new_price().id
            changes.append(change)
        before = contract.line_ids
        record = self.revision_id
        contract.action_amend({"lines": changes, "reason": record.name}, record.date)
        for new in contract.line_ids - before:
            by_current[new.previous_line_id].sudo().write(  # protected fields
                {"outcome": "applied", "reason": False, "new_line_id": new.id, "date": new.date_start}
            )

    def _get_new_price(self):
        """The price with the new amounts by bracket; one for all lines of a price.

        It is archived: it is for the contracts of this revision, new contracts go on with the
        published price.
        """
        self.ensure_one()
        line_sudo = self.sudo()  # an officer reads prices only; the revision makes this one
        if not line_sudo.new_price_id:
            other = line_sudo.search(
                [
                    ("revision_id", "=", self.revision_id.id),
                    ("price_id", "=", self.price_id.id),
                    ("new_price_id", "!=", False),
                ],
                limit=1,
            )
            line_sudo.new_price_id = other.new_price_id or line_sudo._create_new_price()
        return line_sudo.new_price_id

    def _create_new_price(self):
        price = self.price_id
        new = self._get_new_amounts(price._to_kernel())
        return price.copy(
            {
                "active": False,
                "date_from": self.revision_id.date,
                "date_to": False,
                "unit_amount": float(new.unit_amount),
                "minimum_amount": float(new.minimum_amount),
                "bracket_ids": [
                    Command.create(
                        {
                            "up_to": float(bracket.up_to),
                            "unit_amount": float(bracket.unit_amount),
                            "flat_amount": float(bracket.flat_amount),
                        }
                    )
                    for bracket in new.brackets
                ],
            }
        )

    def _get_new_amounts(self, price):
        """A price of several amounts after the revision, for the kernels."""
        rounding = money.to_decimal(self.currency_id.rounding)
        with localcontext(money.EXACT):
            return revision.revise_price(self.revision_id._get_rule(), price, rounding)

    def _skip(self, reason):
        self.sudo().write({"outcome": "skipped", "reason": reason})  # protected fields

    def _withdraw(self, reason):
        self.sudo().write({"outcome": "withdrawn", "reason": reason})  # protected fields

    # Take back

    def _take_back(self, reason, outcome):
        """Undo the amendments, contract by contract; what cannot be undone says why, stays
        applied no longer, and is for a person."""
        errors = {}
        for contract, lines in self.grouped("contract_id").items():
            try:
                with self.env.cr.savepoint():
                    lines._take_back_from_contract(reason, outcome)
            except (OperationalError, ConcurrencyError):
                raise
            except UserError as error:
                errors[contract] = str(error)
                lines.sudo().write({"outcome": "failed", "reason": str(error)})  # protected fields
        self.env["billing.exception"]._report("revision", errors)

    def _take_back_from_contract(self, reason, outcome):
        """Undo the amendment of one contract.

        :raises UserError: the contract was amended since
        """
        self.contract_id._take_back_lines(self.new_line_id, reason)
        self.sudo().write({"outcome": outcome, "reason": reason, "new_line_id": False})  # protected

    # In words

    def _get_amounts(self):
        """The amounts of this price, before and after: list of (label, old, new) as texts."""
        self.ensure_one()
        line_sudo = self.sudo()  # the letter's reader may see what it is about

        def text(amount, factor=1.0):
            return line_sudo.currency_id._format_exact(float(amount) * factor)

        if not self.is_scaled:
            return [(False, text(self.price_unit), text(self.new_price_unit))]
        old = line_sudo.price_id._to_kernel(unit_amount=self.price_unit)
        new = line_sudo._get_new_amounts(old)
        factor = line_sudo.contract_line_id._get_tax_factor()
        rows = []
        if old.model not in BRACKET_MODELS:
            rows.append((False, text(old.unit_amount), text(new.unit_amount)))
        for before, after in zip(old.brackets, new.brackets, strict=True):
            label = self._get_bracket_label(before)
            rows += [
                (label, text(amount, factor), text(getattr(after, name), factor))
                for name in ("unit_amount", "flat_amount")
                if (amount := getattr(before, name))
            ]
        if old.minimum_amount:
            rows.append((self.env._("At least"), text(old.minimum_amount, factor), text(new.minimum_amount, factor)))
        return rows

    def _get_bracket_label(self, bracket: pricing.Bracket):
        if not bracket.up_to:
            return self.env._("Above")
        return self.env._("Up to %s", self.env["billing.price"]._format_quantity(float(bracket.up_to)))
