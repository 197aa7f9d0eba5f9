from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import format_date, formatLang

DAY = timedelta(days=1)


class BillingCharge(models.Model):
    """One entry of the billing ledger: a line, a kind, a slot, a revision, an amount.

    Revision 0 is the first entry of a slot, each later one an adjustment. Only the engine
    writes here."""

    _name = "billing.charge"
    _description = "Billing Charge"
    _inherit = ["billing.protected.mixin"]
    _order = "period_start desc, id desc"

    contract_line_id = fields.Many2one(
        "billing.contract.line", required=True, index=True, readonly=True, ondelete="restrict"
    )
    contract_id = fields.Many2one(
        "billing.contract", required=True, index=True, readonly=True, ondelete="restrict"
    )
    partner_id = fields.Many2one(
        "res.partner", string="Customer", required=True, index=True, readonly=True, ondelete="restrict"
    )
    company_id = fields.Many2one("res.company", required=True, index=True, readonly=True)
    currency_id = fields.Many2one("res.currency", required=True, readonly=True)
    product_id = fields.Many2one(
        related="contract_line_id.product_id", store=True, string="Charge Item"
    )
    kind = fields.Selection(
        [
            ("recurring", "Recurring"),
            ("usage", "Usage"),
            ("one_time", "Once"),
            ("minimum", "Minimum commitment"),
        ],
        required=True,
        readonly=True,
    )
    slot_start = fields.Date(required=True, readonly=True)
    period_start = fields.Date(string="From", required=True, readonly=True)
    period_end = fields.Date(string="To", required=True, readonly=True)
    bill_date = fields.Date(required=True, readonly=True)
    quantity = fields.Float(readonly=True, digits="Product Unit")
    price_unit = fields.Float(
        string="Unit Price", readonly=True, min_display_digits="Product Price", aggregator=None
    )
    amount = fields.Monetary(readonly=True)
    revision = fields.Integer(readonly=True, aggregator=None)
    waived = fields.Boolean(
        readonly=True, help="A credit that is not charged again: netting ignores it."
    )
    state = fields.Selection(
        [("pending", "Waits for a bill"), ("billed", "On a bill"), ("void", "Void")],
        string="Status",
        required=True,
        readonly=True,
        default="pending",
        index=True,
    )
    move_line_id = fields.Many2one(
        "account.move.line",
        string="Bill Line",
        readonly=True,
        index="btree_not_null",
        ondelete="set null",
    )
    move_id = fields.Many2one(related="move_line_id.move_id", string="Bill")
    run_id = fields.Many2one(
        "billing.run", readonly=True, index="btree_not_null", ondelete="restrict"
    )
    trace = fields.Json(readonly=True)
    explanation = fields.Text(compute="_compute_explanation", string="Why this amount")

    _slot_unique = models.UniqueIndex(
        "(contract_line_id, kind, slot_start, revision) WHERE state <> 'void'",
        "This period of this line is already charged.",
    )
    _pending_index = models.Index("(contract_id, bill_date) WHERE state = 'pending'")

    _billing_protected = frozenset(
        (
            "contract_line_id", "contract_id", "partner_id", "company_id", "currency_id", "kind",
            "slot_start", "period_start", "period_end", "bill_date", "quantity", "price_unit",
            "amount", "revision", "waived", "state", "move_line_id", "run_id", "trace",
        )
    )  # fmt: skip

    @api.depends("contract_line_id", "period_start", "period_end")
    def _compute_display_name(self):
        for charge in self:
            span = charge._format_span(charge.period_start, charge.period_end)
            charge.display_name = f"{charge.contract_line_id.name}, {span}"

    @api.depends_context("lang")
    @api.depends("trace", "currency_id")
    def _compute_explanation(self):
        for charge in self:
            charge.explanation = "\n".join(charge._explain()) if charge.trace else False

    @api.model_create_multi
    def create(self, vals_list):
        charges = super().create(vals_list)
        if usage := charges.filtered(lambda charge: charge.kind == "usage"):
            self.env["billing.usage"]._claim(usage)
        return charges

    def write(self, vals):
        result = super().write(vals)
        if vals.get("state") == "void" and "usage" in self.mapped("kind"):
            self.env["billing.usage"]._release(self)
        return result

    @api.ondelete(at_uninstall=False)
    def _unlink_never(self):
        raise UserError(
            self.env._("The billing ledger is not deleted: cancel or credit the bill instead.")
        )

    def _void(self):
        """Take entries out that are on no bill any more; the next run books them again."""
        charges_sudo = self.sudo()  # engine-owned records
        charges_sudo.write({"state": "void", "move_line_id": False})
        for contract in charges_sudo.contract_id:
            day = min(
                charges_sudo.filtered(lambda c, k=contract: c.contract_id == k).mapped("slot_start")
            )
            contract._touch(day)

    def _bill_now(self):
        """Let charges that wait for the next regular bill be billed by the next run."""
        today = self.contract_id._get_today()
        self.sudo().write({"bill_date": today})  # engine-owned records
        for contract in self.contract_id.sudo():
            contract.next_bill_date = min(today, contract.next_bill_date or today)

    # "Why this amount"

    def _explain(self):
        """How the amount was computed, as lines of text in the language of the reader."""
        self.ensure_one()
        trace = self.trace
        if "credit_of" in trace:
            return [self.env._("Credit of %s.", trace["credit_of"])]
        lines = [self._explain_price(trace)]
        if self.kind == "usage":
            lines.append(self._explain_usage(trace))
        elif self.kind != "one_time":
            lines.append(self._explain_period(trace))
        if self.kind == "minimum" and trace["served"]:
            lines.append(
                self.env._(
                    "Usage of the period counts for %(covered)s: still due %(amount)s.",
                    covered=self._format_amount(trace["covered_amount"]),
                    amount=self._format_amount(trace["should_amount"]),
                )
            )
        if float(trace["booked_amount"]):
            lines.append(
                self.env._(
                    "Due %(should)s, charged before %(booked)s: difference %(amount)s.",
                    should=self._format_amount(trace["should_amount"]),
                    booked=self._format_amount(trace["booked_amount"]),
                    amount=self._format_amount(trace["amount"]),
                )
            )
        return [line for line in lines if line]

    def _explain_price(self, trace):
        """The price of the full period: steps of the price model and discount."""
        steps = ", ".join(self._explain_step(step) for step in trace["steps"])
        if "before" in trace:
            whole = sum(Decimal(step["amount"]) for step in trace["steps"])
            steps = self.env._(
                "%(steps)s for %(total)s in the whole period, less %(amount)s for %(before)s before the change",
                steps=steps,
                total=self._format_number(trace["total"]),
                amount=self._format_amount(whole - Decimal(trace["gross_amount"])),
                before=self._format_number(trace["before"]),
            )
        if not float(trace["discount"]):
            return self.env._(
                "%(steps)s = %(amount)s",
                steps=steps,
                amount=self._format_amount(trace["full_amount"]),
            )
        return self.env._(
            "%(steps)s = %(gross)s, less %(discount)s%% = %(amount)s",
            steps=steps,
            gross=self._format_amount(trace["gross_amount"]),
            discount=self._format_number(trace["discount"]),
            amount=self._format_amount(trace["full_amount"]),
        )

    def _explain_step(self, step):
        """One step of the price model."""
        values = {
            "quantity": self._format_number(step["quantity"]),
            "unit_amount": self._format_amount(step["unit_amount"], exact=True),
            "amount": self._format_amount(step["amount"]),
        }
        if step["kind"] == "tier":
            if step["from"] == "0":
                return self.env._("first %(quantity)s × %(unit_amount)s", **values)
            return self.env._("next %(quantity)s × %(unit_amount)s", **values)
        if step["kind"] in ("flat", "tier_flat", "stairstep"):
            return self.env._("fixed amount %(amount)s", **values)
        if step["kind"] == "package":
            return self.env._("%(quantity)s packages × %(unit_amount)s", **values)
        if step["kind"] == "minimum":
            return self.env._("up to the minimum: %(amount)s", **values)
        if step["kind"] == "percentage":
            values["rate"] = self._format_number(str(Fraction(step["unit_amount"]) * 100))
            values["base"] = self._format_amount(step["quantity"])
            return self.env._("%(rate)s%% of %(base)s", **values)
        return self.env._("%(quantity)s × %(unit_amount)s", **values)

    def _explain_period(self, trace):
        """The served part of the period, when it is not the whole."""
        period_start, period_end = (date.fromisoformat(day) for day in trace["period"])
        if Fraction(trace["factor"]) == 1:
            return False
        served = ", ".join(
            self._format_span(date.fromisoformat(start), date.fromisoformat(end) - DAY)
            for start, end in trace["served"]
        )
        values = {
            "period": self._format_span(period_start, period_end - DAY),
            "served": served,
            "served_days": trace["served_days"],
            "period_days": trace["period_days"],
            "factor": trace["factor"],
            "full": self._format_amount(trace["full_amount"]),
            "amount": self._format_amount(
                Decimal(trace["should_amount"]) + Decimal(trace.get("covered_amount", 0))
            ),
        }
        if not served:
            return self.env._("No day of %(period)s is charged.", **values)
        if trace["method"] == "actual":
            return self.env._(
                "%(served_days)s of %(period_days)s days of %(period)s (%(served)s): "
                "%(full)s × %(served_days)s/%(period_days)s = %(amount)s",
                **values,
            )
        return self.env._(
            "Share %(factor)s of %(period)s (%(served)s): %(full)s × %(factor)s = %(amount)s",
            **values,
        )

    def _explain_usage(self, trace):
        """What the meter counted, and from how many records."""
        served = ", ".join(
            self._format_span(date.fromisoformat(start), date.fromisoformat(end) - DAY)
            for start, end in trace["served"]
        )
        if not served:
            return self.env._("No day of the period is charged.")
        meter = self.contract_line_id.meter_id.sudo()  # sudo: shown to whoever sees the charge
        return self.env._(
            "%(meter)s: %(quantity)s from %(count)s records, %(served)s",
            meter=meter.name,
            quantity=meter._format_quantity(trace["quantity"]),
            count=trace["records"],
            served=served,
        )

    def _format_amount(self, value, exact=False):
        """An amount in the currency of the charge; ``exact`` keeps all decimals of a price."""
        return self.currency_id._format_exact(value) if exact else self.currency_id.format(float(value))

    def _format_number(self, value):
        number = float(Fraction(value))
        digits = 0
        while digits < 4 and abs(round(number, digits) - number) > 1e-9:
            digits += 1
        return formatLang(self.env, number, digits=digits)

    def _format_span(self, first, last):
        """Inclusive days as people read them."""
        if first == last:
            return format_date(self.env, first)
        return f"{format_date(self.env, first)} – {format_date(self.env, last)}"
