from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal

from odoo import Command, api, models
from odoo.exceptions import UserError
from odoo.tools import SQL, format_date, get_lang
from odoo.tools.lru import LRU

from ..tools import charging, money, trace
from .account_move import BOOKING

DAY = timedelta(days=1)

# Days as text: a run writes the same few on every bill, and the formatting is slow.
_day_texts = LRU(4096)


def _format_day(env, day):
    """``format_date`` in the language of ``env``, remembered by its format."""
    lang = get_lang(env)
    key = (lang.code, lang.date_format, day)
    if key not in _day_texts:
        _day_texts[key] = format_date(env, day)
    return _day_texts[key]


@dataclass(eq=False)
class Due:
    """What one contract is to be billed up to a date, before anything is written.

    ``items`` are the future bill lines; ``following`` maps each line to the first slot that
    is billed later; ``error`` says why nothing could be computed.
    """

    contract: models.BaseModel
    items: list = field(default_factory=list)
    following: dict = field(default_factory=dict)
    terms: dict = field(default_factory=dict)  # of each line, as computed with
    error: str = ""

    def is_empty(self):
        """Nothing to bill: amounts of zero are shown in company only."""
        return not any(item.amount for item in self.items)


@dataclass(eq=False)
class BillItem:
    """One future bill line: a new difference or a pending charge, in one shape."""

    line: models.BaseModel
    amount: Decimal
    quantity: Decimal
    price_unit: Decimal  # of the bill line; quantity × price × (1 − discount) = amount
    discount: Decimal
    period_start: date
    period_end: date  # inclusive
    bill_date: date
    difference: charging.Difference | None = None
    charge: models.BaseModel | None = None
    corrected: models.BaseModel | None = None  # the bill line that this one corrects

    @property
    def revision(self):
        return self.difference.revision if self.difference else self.charge.revision

    @property
    def slot_start(self):
        return self.difference.slot.start if self.difference else self.charge.slot_start


@dataclass(eq=False)
class BillGroup:
    """The items of one future bill, and the contracts they come from.

    ``error`` says why it could not be made."""

    dues: list = field(default_factory=list)
    items: list = field(default_factory=list)
    error: str = ""


class BillingEngine(models.AbstractModel):
    """Compares what should have been charged with the ledger and books the difference.

    select → load → compute (pure) → group → book. A preview stops before "book"; it is the
    same code."""

    _name = "billing.engine"
    _description = "Billing Engine"

    # Select

    @api.model
    def _get_due_domain(self, company, until):
        """The contracts that may have something to bill up to ``until``.

        Override to add a condition. The state is not looked at but for drafts: the last
        period in arrears of an ended contract is billed too, also when it is archived.
        """
        return [
            ("active", "in", (True, False)),
            ("company_id", "=", company.id),
            ("state", "!=", "draft"),
            ("next_bill_date", "<=", until),
        ]

    # Load and compute

    @api.model
    def _compute_due(self, contracts, until):
        """Compute what is to be billed for ``contracts`` up to ``until`` (inclusive).

        The number of queries does not depend on the number of contracts, nor on their history.

        :return: list of ``Due``, one per contract, in the same order
        """
        contracts = contracts.sudo()  # the engine reads all that it needs; callers check access
        lines = contracts.line_ids
        contracts.pause_ids.fetch(["contract_id", "date_to", "date_uncharged"])
        lines.price_id.bracket_ids.fetch(["price_id"])
        dues = {contract: Due(contract) for contract in contracts}
        handovers = {line.previous_line_id: line.date_start for line in lines}
        terms, from_days = {}, {}
        for line in lines:
            due = dues[line.contract_id]
            try:
                terms[line] = replace(line._get_terms(), handover=handovers.get(line))
                from_days[line] = charging.slot_start(
                    terms[line], line.recompute_from or line.date_start
                )
            except (UserError, ValueError, ArithmeticError) as error:
                due.error = f"{line.name}: {error}"
        self._align_metered(terms, from_days)
        booked = self._load_booked(from_days)
        self._load_usage(terms, from_days, until)
        self._count_on(terms, booked)
        self._note_taken_over(terms, booked)
        covered = defaultdict(dict)
        for line, line_terms in self._in_settling_order(terms):
            due = dues[line.contract_id]
            line_terms = replace(line_terms, covered=covered[due.contract]) if (
                line.charge_type == "minimum") else line_terms  # fmt: skip
            try:
                found, following = charging.differences(
                    line_terms, booked.get(line.id, {}), from_days[line], until
                )
                if line.charge_type in charging.METERED:
                    covered[due.contract] = charging.settle_minimum(
                        covered[due.contract], line_terms, booked.get(line.id, {}),
                        from_days[line], until,
                    )  # fmt: skip
            except (ValueError, ArithmeticError) as error:
                due.error = f"{line.name}: {error}"
                continue
            due.following[line] = following
            due.terms[line] = line_terms
            due.items += [
                self._make_item(line, difference, line_terms.rounding) for difference in found
            ]
        for charge in self._load_pending(contracts, until):
            dues[charge.contract_id].items.append(self._make_pending_item(charge))
        self._find_corrected([item for due in dues.values() for item in due.items])
        for due in dues.values():
            due.items.sort(key=lambda item: (item.line.sequence, item.line.id, item.period_start))
        return list(dues.values())

    @api.model
    def _find_corrected(self, items):
        """Note on adjustments the bill line that they correct, whose taxes and account they take.

        A slot that a person credited to have it billed again corrects nothing: it is billed
        like a new one.
        """
        items = [item for item in items if item.revision]
        if not items:
            return
        self.env["billing.charge"].flush_model()
        rows = self.env.execute_query(
            SQL(
                """
                SELECT DISTINCT ON (c.contract_line_id, c.slot_start)
                       c.contract_line_id, c.slot_start, c.move_line_id, c.trace ? 'credit_of'
                  FROM UNNEST(%s::int[], %s::date[]) AS f(line_id, slot_start)
                  JOIN billing_charge c
                    ON c.contract_line_id = f.line_id AND c.slot_start = f.slot_start
                 WHERE c.state = 'billed' AND NOT COALESCE(c.waived, FALSE)
                   AND c.move_line_id IS NOT NULL
              ORDER BY c.contract_line_id, c.slot_start, c.revision DESC
                """,
                [item.line.id for item in items],
                [item.slot_start for item in items],
            )
        )
        found = {(line_id, start): move_line_id for line_id, start, move_line_id, again in rows
                 if not again}  # fmt: skip
        bill_lines = self.env["account.move.line"].sudo().browse(found.values())  # as the engine
        for item in items:
            if move_line_id := found.get((item.line.id, item.slot_start)):
                item.corrected = bill_lines.browse(move_line_id).with_prefetch(bill_lines.ids)

    @api.model
    def _align_metered(self, terms, from_days):
        """Let metered lines of contracts with a minimum be computed from the same period on.

        The shortfall of a period needs all its usage, also of lines that ended inside it.
        """
        contracts = {line.contract_id for line in terms if line.charge_type == "minimum"}
        starts = {}
        for line, line_terms in terms.items():
            contract = line.contract_id
            if contract not in contracts or line.charge_type not in charging.METERED:
                continue
            if line_terms.end and from_days[line] >= line_terms.end:
                continue  # billed to its end
            start = charging.period_start(line_terms, from_days[line])
            starts[contract] = min(start, starts.get(contract, start))
        for line, line_terms in terms.items():
            if line.charge_type in charging.METERED and line.contract_id in starts:
                start = charging.slot_start(line_terms, starts[line.contract_id])
                from_days[line] = min(from_days[line], start)

    @api.model
    def _in_settling_order(self, terms):
        """Lines with their terms, minimum commitments last: they count what usage cost."""
        return sorted(
            terms.items(),
            key=lambda item: (
                item[0].charge_type == "minimum",
                item[1].start if item[0].charge_type == "minimum" else date.min,
            ),
        )

    @api.model
    def _load_usage(self, terms, from_days, until):
        """Put what the meters counted into the ``terms`` of usage lines, with one query."""
        usage_lines = {
            line: from_days[line] for line in terms if line.charge_type == "usage"
        }
        found = self.env["billing.usage"]._load_days(usage_lines, until)
        for line in usage_lines:
            terms[line] = replace(terms[line], days=tuple(found.get(line.id, ())))

    @api.model
    def _count_on(self, terms, booked):
        """Let usage lines that replace another within a period count on from it.

        The usage of that period is loaded: no run looks at a line from later than the period of its
        last day. A line without a day, amended again on its first, is passed over.
        """
        for line in sorted(terms, key=lambda line: (line.date_start, line.id)):
            previous = line.previous_line_id
            while previous in terms and terms[previous].end == terms[previous].start:
                previous = previous.previous_line_id
            if line.charge_type == "usage" and previous in terms and previous.meter_id == line.meter_id:
                terms[line] = charging.count_on(terms[line], terms[previous], booked.get(previous.id, {}))

    @api.model
    def _note_taken_over(self, terms, booked):
        """Note on lines that handed over in a period credited for good what the lines after them charge."""
        followers = {line.previous_line_id: line for line in terms if line.previous_line_id}
        for line, line_terms in terms.items():
            entries = booked.get(line.id, {})
            if not line_terms.handover or not any(entry.waived for entry in entries.values()):
                continue
            following, after = [], followers.get(line)
            while after:
                following.append(terms[after])
                after = followers.get(after)
            first = charging.period_start(line_terms, line_terms.handover)
            periods = [(e.slot.period_start, e.slot.period_end) for e in entries.values()
                       if e.slot.period_start == first]  # fmt: skip
            if periods:
                taken = charging.charged_after(following, periods[0])
                terms[line] = replace(line_terms, taken_over=taken)

    @api.model
    def _load_booked(self, from_days):
        """The ledger of lines from a slot on: {line id: {slot start: charging.Booked}}.

        Waived credits are summed apart; the inputs are those frozen by the first entry.
        """
        if not from_days:
            return {}
        self.env["billing.charge"].flush_model()
        rows = self.env.execute_query(
            SQL(
                """
                SELECT c.contract_line_id, c.slot_start,
                       SUM(c.amount) FILTER (WHERE NOT COALESCE(c.waived, FALSE)),
                       SUM(c.amount) FILTER (WHERE c.waived),
                       MAX(c.revision),
                       (ARRAY_AGG(c.trace ORDER BY c.revision))[1],
                       (ARRAY_AGG(c.trace ORDER BY COALESCE(c.waived, FALSE), c.revision DESC))[1]
                  FROM UNNEST(%s::int[], %s::date[]) AS f(line_id, from_day)
                  JOIN billing_charge c
                    ON c.contract_line_id = f.line_id AND c.slot_start >= f.from_day
                 WHERE c.state <> 'void'
              GROUP BY c.contract_line_id, c.slot_start
                """,
                [line.id for line in from_days],
                list(from_days.values()),
            )
        )
        booked = defaultdict(dict)
        for line_id, slot_start, amount, waived, revision, first, last in rows:
            booked[line_id][slot_start] = trace.to_booked(
                first,
                last,
                money.to_decimal(amount or 0.0),
                revision,
                money.to_decimal(waived or 0.0),
            )
        return booked

    @api.model
    def _load_pending(self, contracts, until):
        """Booked charges that wait for a bill."""
        return self.env["billing.charge"].sudo().search_fetch(
            [
                ("contract_id", "in", contracts.ids),
                ("state", "=", "pending"),
                ("bill_date", "<=", until),
            ],
            order="contract_line_id, slot_start, revision",
        )

    @api.model
    def _make_item(self, line, difference, rounding):
        """The future bill line of a difference. Proration goes into the unit price."""
        inputs, should = difference.inputs, difference.entitlement
        quantity, discount = inputs.quantity, inputs.discount
        price = None
        if line.charge_type == "usage":
            quantity, price = self._get_usage_price(difference, rounding)
        elif inputs.price.model == "per_unit" and difference.amount == money.round_amount(
            should.full_amount, rounding
        ):
            price = inputs.price.unit_amount
        elif inputs.price.model == "per_unit":
            price = charging.unit_price(difference.amount, quantity, discount, rounding)
        if price is None:
            quantity, discount, price = Decimal(1), Decimal(0), difference.amount
        return BillItem(
            line=line,
            amount=difference.amount,
            quantity=quantity,
            price_unit=price,
            discount=discount,
            period_start=difference.days[0][0],
            period_end=difference.days[-1][1] - DAY,
            bill_date=difference.bill_date,
            difference=difference,
        )

    @api.model
    def _get_usage_price(self, difference, rounding):
        """Quantity and unit price of a bill line for usage: what was used, or used more or less
        than charged before, at its price; (None, None) when only the amount can be shown."""
        inputs = difference.inputs
        change = difference.inputs.quantity - difference.booked_quantity
        digits = self.env["decimal.precision"].precision_get("Product Unit")
        price = inputs.price.unit_amount if change >= 0 else -inputs.price.unit_amount
        quantity = abs(change)
        amount = money.round_amount(quantity * price * (1 - inputs.discount / 100), rounding)
        if (
            inputs.price.model != "per_unit"
            or amount != difference.amount
            or round(quantity, digits) != quantity
        ):
            return None, None
        return quantity, price

    @api.model
    def _make_pending_item(self, charge):
        """The future bill line of a charge that is booked already."""
        amount = money.round_amount(
            money.to_decimal(charge.amount), money.to_decimal(charge.currency_id.rounding)
        )
        quantity = money.to_decimal(charge.quantity)
        price = money.to_decimal(charge.price_unit)
        discount = Decimal(charge.trace["discount"])
        rounding = money.to_decimal(charge.currency_id.rounding)
        if money.round_amount(quantity * price * (1 - discount / 100), rounding) != amount:
            quantity, discount, price = Decimal(1), Decimal(0), amount
        return BillItem(
            line=charge.contract_line_id,
            amount=amount,
            quantity=quantity,
            price_unit=price,
            discount=discount,
            period_start=charge.period_start,
            period_end=charge.period_end,
            bill_date=charge.bill_date,
            charge=charge,
        )

    @api.model
    def _get_next_bill_date(self, contract):
        """The first day on which something may be billed for ``contract``, or False."""
        if contract.state == "draft":
            return False
        found = []
        for line in contract.line_ids:
            terms = line._get_terms()
            from_day = line.recompute_from or line.date_start
            if terms.end and from_day >= terms.end:
                continue  # billed to its end
            slots = charging.line_slots(terms, charging.slot_start(terms, from_day))
            if slot := next(slots, None):
                found.append(charging.bill_date(terms, slot))
            else:  # ended before its first slot: what was billed ahead is credited
                found.append(from_day)
        pending = contract.charge_ids.filtered(lambda c: c.state == "pending" and c.amount)
        found += pending.mapped("bill_date")
        return min(found) if found else False

    # Group

    @api.model
    def _group(self, dues):
        """The bills to make: a list of ``BillGroup``, in a stable order."""
        groups = {}
        for due in dues:
            if due.error or due.is_empty():
                continue
            keys = [self._get_group_key(due.contract, item) for item in due.items]
            # Zeros get no bill of their own: they come on another one of their contract.
            paying = [key for key, item in zip(keys, due.items, strict=True) if item.amount]
            for key, item in zip(keys, due.items, strict=True):
                group = groups.setdefault(key if key in paying else paying[0], BillGroup())
                if due not in group.dues:
                    group.dues.append(due)
                group.items.append(item)
        return list(groups.values())

    @api.model
    def _get_group_key(self, contract, item):
        """What items must share to be on one bill. Override to split further (return a tuple)."""
        partner = contract.invoice_partner_id.commercial_partner_id
        consolidation = partner.with_company(contract.company_id).billing_consolidation
        separate = contract.plan_id.catch_up == "separate" and (
            item.difference and not item.revision
        )
        credit = (
            contract.company_id.billing_credit_mode == "note"
            and item.revision > 0
            and item.amount < 0
        )
        return (
            contract.invoice_partner_id.id,
            contract.company_id.id,
            contract.currency_id.id,
            contract.journal_id.id,
            contract.payment_term_id.id,
            contract.client_ref or "",
            contract.id if consolidation != "customer" else 0,
            self._get_fiscal_position(contract).id if consolidation == "customer" else 0,
            item.bill_date if separate else date.min,
            credit,
        )

    # Prepare

    @api.model
    def _get_fiscal_position(self, contract):
        """The fiscal position of the bills of ``contract``."""
        return (
            self.env["account.fiscal.position"]
            .with_company(contract.company_id)
            ._get_fiscal_position(
                contract.invoice_partner_id.with_company(contract.company_id),
                delivery=contract.partner_id,
            )
        )

    @api.model
    def _get_taxes(self, line, fiscal_position):
        """The taxes of a bill line that corrects none: the line's own, else the product's of
        today, mapped."""
        if line.tax_ids:
            return line.tax_ids
        company = line.company_id
        taxes = line.product_id.taxes_id._filter_taxes_by_company(company)
        return fiscal_position.map_tax(taxes)

    @api.model
    def _prepare_move_vals(self, group, run):
        """Values of the draft bill of ``group``, to be created as they are.

        A group with a negative total becomes a credit note: its signs turn.
        Override to add values; the lines' order is that of ``group.items``.
        """
        contract = group.dues[0].contract
        company = contract.company_id
        partner = contract.invoice_partner_id.with_company(company)
        fiscal_position = self._get_fiscal_position(contract)
        sign = -1 if sum(item.amount for item in group.items) < 0 else 1
        vals = {
            "move_type": "out_refund" if sign < 0 else "out_invoice",
            "partner_id": partner.id,
            "partner_shipping_id": contract.partner_id.id,
            "company_id": company.id,
            "currency_id": contract.currency_id.id,
            "invoice_date": run.invoice_date,
            "invoice_payment_term_id": contract.payment_term_id.id,
            "fiscal_position_id": fiscal_position.id,
            "invoice_user_id": contract.user_id.id,
            "invoice_origin": ", ".join(due.contract.name for due in group.dues),
            "ref": contract.client_ref or False,
            "billing_run_id": run.id,
            "billing_contract_ids": [Command.set([due.contract.id for due in group.dues])],
            "invoice_line_ids": self._prepare_line_commands(group, sign, fiscal_position),
        }
        if contract.journal_id:
            vals["journal_id"] = contract.journal_id.id
        if not contract.payment_term_id:
            vals["invoice_date_due"] = run.invoice_date
        if self._is_negative_with_taxes(group, vals):
            vals["move_type"] = "out_invoice" if sign < 0 else "out_refund"
            vals["invoice_line_ids"] = self._prepare_line_commands(group, -sign, fiscal_position)
        return vals

    @api.model
    def _prepare_line_commands(self, group, sign, fiscal_position):
        """The lines of a bill, in the order of ``group.items``."""
        return [
            Command.create(self._prepare_line_vals(item, sign, fiscal_position, sequence))
            for sequence, item in enumerate(group.items, start=1)
        ]

    @api.model
    def _is_negative_with_taxes(self, group, vals):
        """Whether taxes of different rates turn the sign of charges and credits together."""
        if len({item.amount < 0 for item in group.items if item.amount}) < 2:
            return False
        details = [line["tax_details"] for line in self._get_base_lines(group, vals)]
        total = sum(
            detail["total_excluded_currency"]
            + detail["delta_total_excluded_currency"]
            + sum(data["tax_amount_currency"] for data in detail["taxes_data"])
            for detail in details
        )
        return group.dues[0].contract.currency_id.compare_amounts(total, 0) < 0

    @api.model
    def _prepare_line_vals(self, item, sign, fiscal_position, sequence):
        """Values of one bill line. Override to add values.

        A correction has the taxes and the account of the line it corrects.
        """
        line, corrected = item.line, item.corrected
        taxes = corrected.tax_ids if corrected else self._get_taxes(line, fiscal_position)
        vals = {
            "sequence": sequence,
            "product_id": line.product_id.id,
            "product_uom_id": line.product_id.uom_id.id,
            "name": self._get_line_name(item),
            "quantity": float(item.quantity),
            "price_unit": float(item.price_unit) * sign,
            "discount": float(item.discount),
            "tax_ids": [Command.set(taxes.ids)],
            "billing_period_start": item.period_start,
            "billing_period_end": item.period_end,
        }
        if corrected:
            vals["analytic_distribution"] = corrected.analytic_distribution or False
            if corrected.account_id.active:
                vals["account_id"] = corrected.account_id.id
        return vals

    @api.model
    def _get_line_name(self, item):
        """Description and service period, in the language of the customer."""
        lang = item.line.contract_id.invoice_partner_id.lang
        env = self.with_context(lang=lang).env
        name = item.line.name
        if item.line.charge_type != "one_time":
            start = _format_day(env, item.period_start)
            end = _format_day(env, item.period_end)
            name += f"\n{start} – {end}" if start != end else f"\n{start}"
        if item.line.charge_type == "usage":
            name += "\n" + item.line.meter_id.with_context(lang=lang)._format_quantity(
                item.difference.inputs.quantity if item.difference else item.charge.trace["quantity"]
            )
        if item.revision:
            name += "\n" + env._("Adjustment of an earlier bill")
        return name

    @api.model
    def _prepare_moves_vals(self, groups, run):
        """Values of all bills of a chunk, with what Odoo would look up bill by bill filled in.

        Odoo computes and checks the same again when it creates the bills; what it finds in
        place it need not write.
        """
        vals_list = [self._prepare_move_vals(group, run) for group in groups]
        memo = {}
        for group, vals in zip(groups, vals_list, strict=True):
            if "journal_id" not in vals:
                vals["journal_id"] = self._get_default_journal(vals, memo).id
            vals["is_manually_modified"] = False
            self._fill_accounts(group, vals, memo)
            self._fill_balances(group, vals, memo)
        return vals_list

    @api.model
    def _get_default_journal(self, vals, memo):
        """The journal that Odoo would choose for a bill; looked up once per kind of bill."""
        names = ("company_id", "currency_id", "move_type")
        key = ("journal", *(vals[name] for name in names))
        if key not in memo:
            move = self.env["account.move"].with_company(vals["company_id"])
            memo[key] = move.new({name: vals[name] for name in names})._search_default_journal()
        return memo[key]

    @api.model
    def _fill_accounts(self, group, vals, memo):
        """Add the income account of each line, and that it has no analytic distribution when
        there are no rules for it: Odoo asks for both line by line."""
        if "analytic" not in memo:
            rules = self.env["account.analytic.distribution.model"].sudo()  # mere existence
            memo["analytic"] = bool(rules.search_count([], limit=1))
        fiscal_position = self.env["account.fiscal.position"].browse(vals["fiscal_position_id"])
        for (_command, _zero, line_vals), item in zip(
            vals["invoice_line_ids"], group.items, strict=True
        ):
            line_vals.setdefault("display_type", "product")
            product = item.line.product_id
            key = ("account", product, vals["company_id"], fiscal_position)
            if key not in memo:
                template = product.product_tmpl_id.with_company(vals["company_id"])
                accounts = template.get_product_accounts(fiscal_pos=fiscal_position)
                memo[key] = accounts["income"]
            if memo[key]:
                line_vals.setdefault("account_id", memo[key].id)
            if not memo["analytic"]:
                line_vals.setdefault("analytic_distribution", False)

    @api.model
    def _fill_balances(self, group, vals, memo):
        """Add amounts in both currencies and the tax tags, computed by Odoo's own tax engine.

        Odoo's synchronisation computes them again from the lines and corrects what differs.
        """
        company, currency = group.dues[0].contract.company_id, group.dues[0].contract.currency_id
        for (_command, _zero, line_vals), base_line in zip(
            vals["invoice_line_ids"], self._get_base_lines(group, vals), strict=True
        ):
            details, sign = base_line["tax_details"], base_line["sign"]
            line_vals["amount_currency"] = sign * currency.round(
                details["total_excluded_currency"] + details["delta_total_excluded_currency"]
            )
            line_vals["balance"] = sign * company.currency_id.round(
                details["total_excluded"] + details["delta_total_excluded"]
            )
            line_vals["price_subtotal"] = details["total_excluded_currency"]
            line_vals["price_total"] = details["total_included_currency"]
            line_vals["tax_tag_ids"] = [Command.set(self._get_tag_ids(base_line, company, memo))]

    @api.model
    def _get_tag_ids(self, base_line, company, memo):
        """Tags for the tax report; they depend on taxes and product, not on amounts."""
        taxes = tuple(data["tax"].id for data in base_line["tax_details"]["taxes_data"])
        key = ("tags", taxes, base_line["product_id"].id, base_line["is_refund"], company.id)
        if key not in memo:
            tax_engine = self.env["account.tax"]
            tax_engine._add_accounting_data_to_base_line_tax_details(base_line, company)
            memo[key] = base_line["tax_tag_ids"].ids
        return memo[key]

    @api.model
    def _get_base_lines(self, group, vals):
        """The lines of a future bill for Odoo's tax engine, with their rounded tax details."""
        tax_engine = self.env["account.tax"]
        contract = group.dues[0].contract
        company, currency = contract.company_id, contract.currency_id
        refund = vals["move_type"] == "out_refund"
        rate = 1.0
        if currency != company.currency_id:
            rate = self.env["res.currency"]._get_conversion_rate(
                company.currency_id, currency, company, vals["invoice_date"]
            )
        base_lines = [
            tax_engine._prepare_base_line_for_taxes_computation(
                {},
                partner_id=contract.invoice_partner_id.commercial_partner_id,
                currency_id=currency,
                product_id=item.line.product_id,
                product_uom_id=item.line.product_id.uom_id,
                tax_ids=tax_engine.browse(line_vals["tax_ids"][0][2]),
                price_unit=line_vals["price_unit"],
                quantity=line_vals["quantity"],
                discount=line_vals["discount"],
                rate=rate,
                sign=1 if refund else -1,
                is_refund=refund,
            )
            for (_command, _zero, line_vals), item in zip(
                vals["invoice_line_ids"], group.items, strict=True
            )
        ]
        tax_engine._add_tax_details_in_base_lines(base_lines, company)
        tax_engine._round_base_lines_tax_details(base_lines, company)
        return base_lines

    @api.model
    def _preview_amounts(self, groups, run):
        """Untaxed amount and tax of each contract, by Odoo's own tax engine.

        :return: {contract id: (untaxed, tax)} in the currency of the contract
        """
        amounts = defaultdict(lambda: [0.0, 0.0])
        for group in groups:
            vals = self._prepare_move_vals(group, run)
            sign = -1 if vals["move_type"] == "out_refund" else 1
            base_lines = self._get_base_lines(group, vals)
            contracts = [item.line.contract_id for item in group.items]
            if self._has_discounted_tax(group):
                # The discount takes from the tax of the bill as a whole: shown with its first contract.
                move = self.env["account.move"].with_company(vals["company_id"]).new(vals)
                base_lines, _tax_lines = move._get_rounded_base_and_tax_lines()
                contracts += contracts[:1] * (len(base_lines) - len(contracts))
            for base_line, contract in zip(base_lines, contracts, strict=True):
                details = base_line["tax_details"]
                untaxed = (
                    details["total_excluded_currency"] + details["delta_total_excluded_currency"]
                )
                tax = sum(data["tax_amount_currency"] for data in details["taxes_data"])
                totals = amounts[contract.id]
                totals[0] += sign * untaxed
                totals[1] += sign * tax
        return amounts

    @api.model
    def _has_discounted_tax(self, group):
        """Whether the payment terms lower the tax of a bill at once, for a discount that may be taken."""
        terms = group.dues[0].contract.payment_term_id
        return terms.early_discount and terms.early_pay_discount_computation == "mixed"

    # Book

    @api.model
    def _book(self, groups, run):
        """Create the draft bills of ``groups`` and their charges, all or nothing.

        A charge becomes ``billed`` in the transaction that writes its bill line.

        :return: {contract: moves} of the bills made
        """
        self.env["account.move"].check_access("create")
        moves = (
            self.env["account.move"]
            .sudo()  # protected fields
            .with_company(run.company_id)
            .with_context(
                billing_booking=BOOKING,
                mail_create_nolog=True,
                skip_is_manually_modified=True,
                tracking_disable=True,
            )
            .create(self._prepare_moves_vals(groups, run))
        )
        # Bypasses core's comparison of all lines of each bill, of which nothing changes.
        moves._write_multi([{"billing_run_amount": move.amount_total_signed} for move in moves])
        moves.invalidate_recordset(["billing_run_amount"], flush=False)
        moves = self.env["account.move"].browse(moves.ids)
        charge_vals, moves_by_contract = [], defaultdict(self.env["account.move"].browse)
        for group, move in zip(groups, moves, strict=True):
            bill_lines = move.invoice_line_ids.sorted("sequence")
            for item, bill_line in zip(group.items, bill_lines, strict=True):
                if item.charge:
                    item.charge.sudo().write(
                        {"state": "billed", "move_line_id": bill_line.id, "run_id": run.id}
                    )
                else:
                    charge_vals.append(
                        self._prepare_charge_vals(
                            item, state="billed", move_line_id=bill_line.id, run_id=run.id
                        )
                    )
            for due in group.dues:
                moves_by_contract[due.contract] |= move
        # sudo: only the engine writes the ledger
        self.env["billing.charge"].sudo().create(charge_vals)
        self._advance(list({due.contract: due for group in groups for due in group.dues}.values()))
        self._log_creation(moves, run)
        self._refresh_statistics(len(moves))
        return moves_by_contract

    @api.model
    def _book_zeros(self, dues, run):
        """Note what is due and costs nothing as charges that wait for a bill.

        No bill is made for them; the next bill of their contracts shows them.

        :return: the new charges
        """
        charges = self.env["billing.charge"].sudo().create(  # sudo: only the engine writes it
            [
                self._prepare_charge_vals(item, state="pending", run_id=run.id)
                for due in dues
                for item in due.items
                if item.difference
            ]
        )
        self._advance(dues)
        return charges

    @api.model
    def _refresh_statistics(self, count):
        """Tell the database's planner about ``count`` new bills when it knew of few before.

        With the statistics of empty tables it chooses plans for core's queries about payments
        that take minutes for a few hundred bills. Tables that others analyse are left out.
        """
        [[known]] = self.env.execute_query(
            SQL("SELECT reltuples FROM pg_class WHERE oid = 'account_move'::regclass")
        )
        if count * 5 > known:
            self.env.flush_all()
            self.env.cr.execute(
                SQL(
                    "ANALYZE (SKIP_LOCKED) account_move, account_move_line, billing_charge, "
                    "account_payment, account_partial_reconcile"
                )
            )

    @api.model
    def _book_pending(self, contracts):
        """Book what changed in periods that are billed already, to wait for the next bill.

        Entries that waited before are computed anew with it, so that a change and its reversal
        leave nothing. Contracts whose next bill is due need none of this: its run finds all.
        """
        charges_sudo = self.env["billing.charge"].sudo()  # engine-owned records
        for bill_date, same_day in contracts.sudo().grouped("next_bill_date").items():
            waiting = charges_sudo.search(
                [
                    ("contract_id", "in", same_day.ids),
                    ("state", "=", "pending"),
                    ("run_id", "=", False),  # zeros noted by a run stay: their period is closed
                ]
            )
            waiting.write({"state": "void"})
            for line, charges in waiting.grouped("contract_line_id").items():
                day = min(charges.mapped("slot_start"))
                line.recompute_from = min(day, line.recompute_from or day)
            dues = self._compute_due(same_day, bill_date - DAY)
            for due in dues:
                if due.error:
                    raise UserError(
                        self.env._("%(name)s: %(reason)s", name=due.contract.name, reason=due.error)
                    )
            charges_sudo.create(
                [
                    {**self._prepare_charge_vals(item, state="pending"), "bill_date": bill_date}
                    for due in dues
                    for item in due.items
                    if item.difference
                ]
            )
            self._advance(dues)

    @api.model
    def _prepare_charge_vals(self, item, **values):
        """Values of the ledger entry of a new difference."""
        line, difference = item.line, item.difference
        contract = line.contract_id
        return {
            "contract_line_id": line.id,
            "contract_id": contract.id,
            "partner_id": contract.partner_id.id,
            "company_id": contract.company_id.id,
            "currency_id": contract.currency_id.id,
            "product_id": line.product_id.id,
            "kind": line.charge_type,
            "slot_start": difference.slot.start,
            "period_start": item.period_start,
            "period_end": item.period_end,
            "bill_date": item.bill_date,
            "quantity": float(item.quantity),
            "price_unit": float(item.price_unit),
            "amount": float(item.amount),
            "revision": difference.revision,
            "trace": trace.from_difference(difference),
            **values,
        }

    @api.model
    def _advance(self, dues):
        """Note how far the lines are billed; the next run starts there."""
        contracts_sudo = self.env["billing.contract"].sudo().browse(
            due.contract.id for due in dues
        )  # sudo: engine-owned fields
        contracts_sudo._mark_changed()
        pending_dates = dict(
            self.env["billing.charge"].sudo()._read_group(
                [
                    ("contract_id", "in", contracts_sudo.ids),
                    ("state", "=", "pending"),
                    ("amount", "!=", 0),
                ],
                ["contract_id"],
                ["bill_date:min"],
            )
        )
        lines_by_day, contracts_by_day = defaultdict(list), defaultdict(list)
        for due, contract_sudo in zip(dues, contracts_sudo, strict=True):
            bill_dates = [pending_dates[contract_sudo]] if contract_sudo in pending_dates else []
            for line, following in due.following.items():
                if following:
                    day = following.start
                    bill_dates.append(charging.bill_date(due.terms[line], following))
                else:
                    last_day = line._get_last_day() or line.date_start
                    day = max(last_day, line.date_start) + DAY
                lines_by_day[day].append(line.id)
            contracts_by_day[min(bill_dates, default=False)].append(contract_sudo.id)
        # One write for each day, of which a chunk has few.
        for day, line_ids in lines_by_day.items():
            self.env["billing.contract.line"].sudo().browse(line_ids).recompute_from = day
        for day, contract_ids in contracts_by_day.items():
            contracts_sudo.browse(contract_ids).next_bill_date = day

    @api.model
    def _log_creation(self, moves, run):
        """One log line on each new bill, in one batch."""
        moves._message_log_batch(
            bodies={
                move.id: self.env._("Bill made by billing run %s.", run.name) for move in moves
            }
        )
