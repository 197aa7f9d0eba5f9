from datetime import timedelta
from decimal import Decimal, InvalidOperation

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import format_date, formatLang

from ..tools import charging

MAX_QUANTITY = 1_000_000
MAX_TEXT = 2000
MAX_DAYS_AHEAD = 366
MAX_A_DAY = 20  # requests for one contract
TWICE_MINUTES = 10  # the same request within this time is one click too many
# The setting of the plan that a kind of request depends on.
SETTINGS = {
    "quantity": "self_quantity", "switch": "self_switch", "pause": "self_pause", "resume": "self_pause",
    "close": "self_close", "stay": "self_close",
}  # fmt: skip


class BillingRequest(models.Model):
    """What a customer wants to have changed in a contract: done at once, or decided by a person, as the plan says.

    Whether at once or later, it is carried out by the same methods of the contract that staff use."""

    _name = "billing.request"
    _description = "Change Request"
    _inherit = ["billing.protected.mixin", "billing.money.mixin", "portal.mixin", "mail.thread", "mail.activity.mixin"]
    _billing_money = frozenset(
        ("amount_before", "amount_after", "amount_before_now", "amount_after_now", "access_token")
    )
    _order = "id desc"
    _rec_name = "contract_id"
    _billing_protected = frozenset(
        (
            "contract_id", "partner_id", "company_id", "kind", "state", "line_id", "quantity", "price_id",
            "close_reason_id", "note", "amount_before", "amount_after", "requester_id", "decided_by_id",
            "date_decided", "is_changed", "amount_before_now", "amount_after_now",
        )
    )  # fmt: skip

    contract_id = fields.Many2one(
        "billing.contract", required=True, index=True, readonly=True, ondelete="cascade"
    )
    partner_id = fields.Many2one(related="contract_id.partner_id", store=True, index=True, string="Customer")
    company_id = fields.Many2one(related="contract_id.company_id", store=True)
    currency_id = fields.Many2one(related="contract_id.currency_id")
    kind = fields.Selection(
        [
            ("quantity", "Change a quantity"),
            ("switch", "Switch to another price"),
            ("pause", "Pause"),
            ("resume", "Resume"),
            ("close", "Cancel"),
            ("stay", "Stay with a discount"),
        ],
        required=True,
        readonly=True,
    )
    state = fields.Selection(
        [
            ("requested", "Requested"),
            ("applied", "Applied"),
            ("refused", "Refused"),
            ("withdrawn", "Withdrawn"),
        ],
        string="Status",
        default="requested",
        required=True,
        readonly=True,
        index=True,
        tracking=True,
    )
    line_id = fields.Many2one("billing.contract.line", readonly=True, ondelete="cascade", index="btree_not_null")
    quantity = fields.Float(string="New Quantity", readonly=True, digits="Product Unit", aggregator=None)
    price_id = fields.Many2one(
        "billing.price", string="New Price", readonly=True, ondelete="restrict", groups="base.group_user"
    )
    close_reason_id = fields.Many2one("billing.close.reason", readonly=True, ondelete="restrict")
    date = fields.Date(
        required=True,
        tracking=True,
        help="First day of the new terms or of the pause, first day charged again, or last day charged.",
    )
    note = fields.Text(string="Message", readonly=True, help="What the customer wrote.")
    summary = fields.Char(compute="_compute_summary", string="What Changes")
    amount_before = fields.Monetary(
        string="Billed Before", readonly=True, help="Up to the next regular bill, before taxes, as the customer saw it."
    )
    amount_after = fields.Monetary(string="Billed After", readonly=True, help="With this change.")
    is_changed = fields.Boolean(
        string="Amounts Changed", readonly=True, help="Since the customer saw them, when somebody wanted to approve."
    )
    amount_before_now = fields.Monetary(
        string="Before, Computed Again", readonly=True, help="When somebody wanted to approve it."
    )
    amount_after_now = fields.Monetary(
        string="After, Computed Again", readonly=True, help="When somebody wanted to approve it."
    )
    requester_id = fields.Many2one("res.partner", string="Requested By", readonly=True, ondelete="restrict")
    decided_by_id = fields.Many2one("res.users", string="Decided By", readonly=True)
    date_decided = fields.Date(string="Decided On", readonly=True)
    answer = fields.Text(help="Why it is refused, or what else the customer should know. The customer reads it.")

    _open_unique = models.UniqueIndex(
        "(contract_id, kind) WHERE state = 'requested'",
        "There is an open request of this kind for this contract already.",
    )

    def write(self, vals):
        if not self.env.su and vals.keys() & {"date", "answer"}:
            for request in self:
                request._check_open()
        return super().write(vals)

    # Names and texts

    @api.depends("kind", "contract_id")
    @api.depends_context("lang")
    def _compute_display_name(self):
        kinds = dict(self._fields["kind"]._description_selection(self.env))
        for request in self:
            # sudo: the number of the contract is part of the request, which its reader may see
            request.display_name = f"{request.sudo().contract_id.name}: {kinds.get(request.kind, '')}"

    def _compute_access_url(self):
        super()._compute_access_url()
        for request in self:
            request.access_url = f"/my/requests/{request.id}"

    @api.depends("kind", "line_id", "quantity", "price_id", "close_reason_id", "date")
    @api.depends_context("lang")
    def _compute_summary(self):
        for request in self:
            request.summary = request._describe(request._get_values()) if request.contract_id else False

    def _get_values(self):
        """What is to be done, as plain values for ``_describe`` and ``_change``."""
        self.ensure_one()
        request_sudo = self.sudo()  # part of the request, which its reader may see
        return {
            "kind": request_sudo.kind,
            "line_id": request_sudo.line_id.id,
            "quantity": request_sudo.quantity,
            "price_id": request_sudo.price_id.id,
            "close_reason_id": request_sudo.close_reason_id.id,
            "date": request_sudo.date,
            "note": request_sudo.note,
        }

    @api.model
    def _describe(self, vals):
        """What a change comes to, in words of the reader's language."""
        env = self.sudo().env  # texts of a contract that the caller may see
        line = env["billing.contract.line"].browse(vals.get("line_id") or ())
        date = format_date(self.env, vals["date"])
        if vals["kind"] == "quantity":
            return self.env._(
                "%(line)s: %(old)s → %(new)s from %(date)s",
                line=line.name,
                old=self._format_quantity(line.quantity),
                new=self._format_quantity(vals["quantity"]),
                date=date,
            )
        if vals["kind"] == "switch":
            price = env["billing.price"].browse(vals["price_id"])
            return self.env._(
                "%(line)s → %(item)s (%(price)s) from %(date)s",
                line=line.name,
                item=price.product_id.name,
                price="; ".join(price._describe()),
                date=date,
            )
        if vals["kind"] == "pause":
            return self.env._("Not charged from %s until you resume", date)
        if vals["kind"] == "resume":
            return self.env._("Charged again from %s", date)
        if vals["kind"] == "close":
            reason = env["billing.close.reason"].browse(vals["close_reason_id"])
            return self.env._("Ends on %(date)s (%(reason)s)", date=date, reason=reason.name)
        reason = env["billing.close.reason"].browse(vals["close_reason_id"])
        return self.env._(
            "The contract goes on, with %(percent)s %% off for %(periods)s periods from %(date)s",
            percent=self._format_quantity(reason.offer_percent),
            periods=reason.offer_periods,
            date=date,
        )

    @api.model
    def _format_quantity(self, value):
        digits = 0
        while digits < 4 and abs(round(value, digits) - value) > 1e-9:
            digits += 1
        return formatLang(self.env, value, digits=digits)

    # What may be asked for

    @api.model
    def _get_kinds(self, contract):
        """What customers may ask for now in a contract: {kind: direct or request}, in the order of the page.

        Contacts who are not shown prices switch to no other one, and what they ask for is always decided by staff.
        """
        if contract.state not in ("active", "paused"):
            return {}
        possible = {
            "quantity": self._get_quantity_lines(contract),
            "switch": self._get_switches(contract),
            "pause": contract.state == "active" and not self._get_own_pauses(contract),
            "resume": self._get_own_pauses(contract),
            "close": not contract.close_reason_id,
        }
        plan = contract.plan_id
        kinds = {
            kind: plan[SETTINGS[kind]]
            for kind, found in possible.items()
            if plan[SETTINGS[kind]] != "no" and found
        }
        if self.env.user._sees_bills():
            return kinds
        return {kind: "request" for kind in kinds if kind != "switch"}

    @api.model
    def _get_current_lines(self, contract):
        """The recurring lines that run today and that go on, maybe with another price or quantity from a later day."""
        today = contract._get_today()
        running = contract.line_ids.filtered(
            lambda line: line.charge_type == "recurring"
            and line.date_start <= today
            and (not line.date_end or line.date_end >= today)
            and line.price_unit >= 0
        )
        return running.filtered(lambda line: self._goes_on(line, self._get_steps(line)))

    @api.model
    def _goes_on(self, line, steps):
        """Whether a line with its ``steps`` is one item without an end."""
        return not steps[-1].date_end and all(
            step.product_id == line.product_id and step.charge_type == line.charge_type and not step.max_slots
            for step in steps
        )

    @api.model
    def _get_steps(self, line):
        """A line and those that take over from it on later days, such as the new price of a letter; by day."""
        followers = line.contract_id.line_ids.grouped("previous_line_id")
        steps, waiting = line, line
        while waiting := line.union(*(followers.get(step, line.browse()) for step in waiting)) - steps:
            steps |= waiting
        # one that was replaced before it began has no day
        return steps.filtered(lambda step: not step.date_end or step.date_end >= step.date_start).sorted("date_start")

    @api.model
    def _get_steps_from(self, line, date):
        """Those steps of a line that have days from ``date`` on."""
        return self._get_steps(line).filtered(lambda step: not step.date_end or step.date_end >= date)

    @api.model
    def _get_quantity_lines(self, contract):
        """The lines with a quantity that customers may change."""
        return self._get_current_lines(contract).filtered(lambda line: line.price_id.pricing_model != "flat")

    @api.model
    def _get_switches(self, contract):
        """What lines may be switched to: {line: prices}."""
        products = contract.plan_id.switch_product_ids
        lines = self._get_current_lines(contract).filtered(lambda line: line.product_id in products)
        if not lines:
            return {}
        prices = self.env["billing.price"]._search_published(
            contract.company_id, contract._get_today()
        ).filtered(lambda price: price.product_id in products and price.currency_id == contract.currency_id)
        found = {
            line: prices.filtered(lambda price, line=line: price != line.price_id)
            for line in lines
        }
        return {line: others for line, others in found.items() if others}

    @api.model
    def _get_own_pauses(self, contract):
        """The open pauses of a contract when the customer began all of them; staff end the others."""
        today = contract._get_today()
        pauses = contract.pause_ids.filtered(
            lambda pause: pause.origin != "hold" and (not pause.date_to or pause.date_to >= today)
        )
        return pauses if all(pause.origin == "customer" for pause in pauses) else pauses.browse()

    @api.model
    def _get_first_date(self, contract, kind):
        """The earliest day on which a change takes effect; a fixed term ends on its last day."""
        today = contract._get_today()
        first = max(today + timedelta(days=contract.plan_id.self_notice_days), contract.date_start)
        if kind == "resume":
            return max(today, contract.date_start)
        if kind == "stay":
            return self._get_next_period(contract)
        if kind == "close" and contract.plan_id.renewal != "none" and contract.date_end:
            end, notice_end = contract.date_end, today + timedelta(days=contract.plan_id.notice_days)
            while contract.plan_id.renewal == "auto" and end < notice_end:  # too late for this term
                end = contract._get_term_end(after=end)
            return end
        return first

    @api.model
    def _get_next_period(self, contract):
        """The first day of the next period of a contract."""
        today = contract._get_today()
        terms = self._get_current_lines(contract)[:1]._get_terms()
        slot = next(charging.line_slots(terms, charging.slot_start(terms, today)))
        return slot.period_end

    @api.model
    def _get_last_date(self, contract, kind):
        """The latest day that may be asked for."""
        first = self._get_first_date(contract, kind)
        if kind == "stay":
            return first
        if kind == "close" and contract.plan_id.renewal != "none" and contract.date_end:
            return first
        last = contract._get_today() + timedelta(days=MAX_DAYS_AHEAD)
        return max(first, min(last, contract.date_end or last))

    @api.model
    def _get_offer(self, contract, reason):
        """Whether ``reason`` has a discount for those who stay, which a contract gets once."""
        return bool(
            reason.offer_product_id
            and self.env.user._sees_bills()
            and contract.state == "active"
            and contract.plan_id.self_close != "no"
            and self._get_offered_amount(contract, reason)
            and not self.search_count([("contract_id", "=", contract.id), ("kind", "=", "stay")], limit=1)
        )

    @api.model
    def _get_offered_amount(self, contract, reason):
        """The discount of a period."""
        total = sum(self._get_current_lines(contract).mapped("price_subtotal"))
        return contract.currency_id.round(total * reason.offer_percent / 100)

    # Forms of the portal. All of it runs as superuser on a contract that the caller has checked.

    @api.model
    def _read_form(self, contract, kind, form):
        """Read what a customer sent; nothing else of ``form`` is used.

        :param form: texts by name: ``line_id``, ``quantity``, ``choice`` (line and price), ``reason_id``, ``date``,
            ``note``
        :return: (values, errors by name of the field)
        """
        vals, errors = {"kind": kind}, {}
        if kind == "quantity":
            self._read_quantity(contract, form, vals, errors)
        elif kind == "switch":
            self._read_switch(contract, form, vals, errors)
        elif kind in ("close", "stay"):
            self._read_reason(contract, form, vals, errors)
        vals["date"] = self._read_date(contract, kind, form.get("date"), errors)
        price_end = self.env["billing.price"].browse(vals.get("price_id") or ()).date_to
        if price_end and vals["date"] and vals["date"] > price_end:
            errors["date"] = self.env._("This price ends on %s.", format_date(self.env, price_end))
        vals["note"] = (form.get("note") or "").replace("\0", "").strip() or False
        if len(vals["note"] or "") > MAX_TEXT:
            errors["note"] = self.env._("Please write at most %s characters.", MAX_TEXT)
        return vals, errors

    @api.model
    def _read_id(self, records, text):
        """That one of ``records`` whose id a customer sent; empty for anything else."""
        text = str(text or "")
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
        return records.filtered(lambda record: record.id == number)

    @api.model
    def _read_quantity(self, contract, form, vals, errors):
        line = self._read_id(self._get_quantity_lines(contract), form.get("line_id"))
        if not line:
            errors["line_id"] = self.env._("Choose an item.")
        digits = self.env["decimal.precision"].precision_get("Product Unit")
        try:
            quantity = Decimal(str(form.get("quantity") or "").strip())
            known = quantity.is_finite() and 0 < quantity <= MAX_QUANTITY and quantity == round(quantity, digits)
        except InvalidOperation:
            known = False
        if not known:
            errors["quantity"] = self.env._("Enter a number above 0, such as 3.")
        elif line and float(quantity) == line.quantity:
            errors["quantity"] = self.env._("This is the quantity that you have now.")
        else:
            vals["quantity"] = float(quantity)
        vals["line_id"] = line.id

    @api.model
    def _read_switch(self, contract, form, vals, errors):
        switches = self._get_switches(contract)
        line_id, _dash, price_id = str(form.get("choice") or "").partition("-")
        line = self._read_id(self.env["billing.contract.line"].union(*switches), line_id)
        price = self._read_id(switches.get(line, self.env["billing.price"]), price_id)
        if not line or not price:
            errors["price_id"] = self.env._("Choose what to switch to.")
        vals.update({"line_id": line.id, "price_id": price.id})

    @api.model
    def _read_reason(self, contract, form, vals, errors):
        reason = self._read_id(self._get_reasons(), form.get("reason_id"))
        if not reason or (vals["kind"] == "stay" and not self._get_offer(contract, reason)):
            errors["reason_id"] = self.env._("Choose a reason.")
        vals["close_reason_id"] = reason.id

    @api.model
    def _get_reasons(self):
        return self.env["billing.close.reason"].search([("is_published", "=", True)])

    @api.model
    def _read_date(self, contract, kind, text, errors):
        first, last = self._get_first_date(contract, kind), self._get_last_date(contract, kind)
        try:
            date = fields.Date.to_date(str(text or "").strip()[:10] or first)
        except ValueError:
            date = None
        if not date or not first <= date <= last:
            errors["date"] = self.env._(
                "Choose a day from %(first)s to %(last)s.",
                first=format_date(self.env, first),
                last=format_date(self.env, last),
            )
        return date

    @api.model
    def _get_problem(self, contract, kind):
        """Why a customer cannot ask for this now, as a text; False when nothing is in the way."""
        kinds = self._get_kinds(contract)
        if (kind if kind != "stay" else "close") not in kinds:
            return self.env._("This cannot be changed here at the moment: please write to us.")
        domain = [("contract_id", "=", contract.id)]
        if self.search_count([*domain, ("kind", "=", kind), ("state", "=", "requested")], limit=1):
            return self.env._("You have asked for this already: we are looking into it.")
        since = fields.Datetime.subtract(fields.Datetime.now(), days=1)
        if self.search_count([*domain, ("create_date", ">", since)], limit=MAX_A_DAY) >= MAX_A_DAY:
            return self.env._("There were many changes today: please try again tomorrow, or write to us.")
        return False

    @api.model
    def _find_twin(self, contract, kind, form):
        """The request that the current user has just made with this form: a second click, or a page that was sent
        again after going back. Empty when something else was asked for since."""
        contract._mark_changed()  # one at a time
        latest = self.search([("contract_id", "=", contract.id)], order="id desc", limit=1)
        since = fields.Datetime.subtract(fields.Datetime.now(), minutes=TWICE_MINUTES)
        asked = {**form, "note": (form.get("note") or "").replace("\0", "").strip()}
        return latest.filtered(
            lambda request: request.kind == kind
            and request.state in ("requested", "applied")
            and request.create_date > since
            and request.requester_id == self.env.user.partner_id
            and all(asked.get(name, "") == value for name, value in request._get_form().items())
        )

    def _get_form(self):
        """What the page sends to confirm this request, as texts by name."""
        self.ensure_one()
        form = {"date": str(self.date), "note": self.note or ""}
        if self.kind == "quantity":
            form |= {"line_id": str(self.line_id.id), "quantity": str(self.quantity)}
        elif self.kind == "switch":
            form["choice"] = f"{self.line_id.id}-{self.price_id.id}"
        elif self.kind in ("close", "stay"):
            form["reason_id"] = str(self.close_reason_id.id)
        return form

    @api.model
    def _preview(self, contract, vals):
        """What a change costs: (amount before, amount after, rows after), by the engine; changes nothing.

        :raises UserError: the change is not possible
        """
        before, after = contract._preview_change(vals["date"], lambda changed: self._change(changed, vals))
        return sum(row["amount"] for row in before), sum(row["amount"] for row in after), after

    @api.model
    def _submit(self, contract, vals):
        """Take a request of the current user; carry it out if the plan allows it at once.

        :param contract: as superuser; the caller has checked that the user may change it
        :param vals: of ``_read_form``, without errors
        :return: the request
        :raises UserError: it cannot be asked for now, or is not possible
        """
        contract._mark_changed()  # one at a time: a second click sees the first
        if problem := self._get_problem(contract, vals["kind"]):
            raise UserError(problem)
        setting = self._get_kinds(contract).get(vals["kind"])
        before, after, _rows = self._preview(contract, vals)
        request = self.create(
            {
                **vals,
                "contract_id": contract.id,
                "amount_before": before,
                "amount_after": after,
                "requester_id": self.env.user.partner_id.id,
            }
        )
        request.message_subscribe(self.env.user.partner_id.ids)
        if vals["kind"] == "stay" or setting == "direct":
            request._apply()
        else:
            request._ask()
        return request

    def _ask(self):
        """Put the request on the list of the one who looks after the contract."""
        self.ensure_one()
        contract = self.contract_id
        owner = contract.officer_id or contract.user_id or contract.create_uid
        self.activity_schedule(
            "mail.mail_activity_data_todo",
            summary=owner.with_context(lang=owner.lang).env._("Decide on the customer's request"),
            user_id=owner.id,
        )

    # Decisions

    def action_approve(self):
        """Carry the requests out, with the methods and rights of the person who approves.

        What it costs is computed again. A request with other amounts than the customer saw stays open and shows both;
        approving it again carries it out, and the customer is told.

        :return: True when all were carried out, else an action that says what is to be looked at
        :raises UserError: a request is decided already, or is not possible any more
        """
        self.check_access("write")
        to_look_at = self.browse()
        for request in self:
            request._check_open()
            if request._note_new_amounts():
                to_look_at += request
            else:
                request._apply()
        return to_look_at._get_changed_action() if to_look_at else True

    def _note_new_amounts(self):
        """Compute again what the change costs; returns whether the amounts are others than both the customer and the
        one who approves have seen."""
        self.ensure_one()
        before, after, _rows = self._preview(self.contract_id, self._get_values())
        request_sudo = self.sudo()  # protected fields
        if self._are_amounts(self.amount_before, self.amount_after, before, after):
            request_sudo.is_changed = False
            return False
        if self.is_changed and self._are_amounts(self.amount_before_now, self.amount_after_now, before, after):
            return False
        request_sudo.write({"is_changed": True, "amount_before_now": before, "amount_after_now": after})
        return True

    def _are_amounts(self, before, after, new_before, new_after):
        compare = self.currency_id.compare_amounts
        return not compare(before, new_before) and not compare(after, new_after)

    def _get_changed_action(self):
        text = self.env._(
            "Not carried out yet: the amounts have changed since the customer saw them. Look at both, then approve "
            "again: %s",
            ", ".join(self.mapped("display_name")),
        )
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "warning",
                "sticky": True,
                "message": text,
                "next": {"type": "ir.actions.act_window_close"},
            },
        }

    def action_refuse(self, answer=None):
        """Refuse requests; the customer reads the answer.

        :param answer: why, as a text; default: what is written under Answer
        :raises UserError: a request is decided already, or has no answer
        """
        self.check_access("write")
        for request in self:
            request._check_open()
            if answer:
                request.answer = answer
            if not request.answer:
                raise UserError(
                    self.env._("%s: write under Answer why it is refused; the customer reads it.", request.display_name)
                )
            request._decide("refused", self.env._("Your request was refused: %s", request.answer))
        return True

    def _withdraw(self):
        """The customer does not want it any more. The caller has checked who asks."""
        self._check_open()
        self._decide("withdrawn", self.env._("The request was withdrawn."))

    def _check_open(self):
        if self.state != "requested":
            raise UserError(self.env._("%s is decided already.", self.display_name))

    def _apply(self):
        """Change the contract, with the rights of the environment."""
        self.ensure_one()
        self._change(self.contract_id, self._get_values())
        self._decide("applied", self.with_context(lang=self.requester_id.lang)._get_done_text())

    def _get_done_text(self):
        """What the customer is told, in the language of the environment."""
        if not self.is_changed or not self.requester_id._sees_bills():
            return self.env._("Done: %s", self.summary)
        return self.env._(
            "Done: %(what)s. The amounts have changed since you asked: up to your next regular bill it is %(now)s with "
            "this change, where we had shown you %(then)s.",
            what=self.summary,
            now=self.currency_id.format(self.amount_after_now),
            then=self.currency_id.format(self.amount_after),
        )

    def _decide(self, state, text):
        request_sudo = self.sudo()  # protected fields; a customer may decide on own requests only
        request_sudo.write(
            {
                "state": state,
                "decided_by_id": self.env.uid,
                "date_decided": self.company_id._get_billing_today(),
            }
        )
        request_sudo.activity_feedback(["mail.mail_activity_data_todo"])
        request_sudo.message_post(body=text, message_type="comment", subtype_xmlid="mail.mt_comment")

    @api.model
    def _change(self, contract, vals):
        """Do what ``vals`` say, with the same methods as staff."""
        getattr(self, f"_change_{vals['kind']}")(contract, vals)

    @api.model
    def _change_quantity(self, contract, vals):
        line = contract.env["billing.contract.line"].browse(vals["line_id"])
        lines = [
            {"line_id": step.id, "quantity": vals["quantity"]} for step in self._get_steps_from(line, vals["date"])
        ]
        contract.action_amend({"lines": lines, "reason": self._get_history_text()}, vals["date"])

    @api.model
    def _change_switch(self, contract, vals):
        price = self.env["billing.price"].sudo().browse(vals["price_id"])  # published, or chosen when it was
        line = contract.env["billing.contract.line"].browse(vals["line_id"])
        steps = self._get_steps_from(line, vals["date"])
        lines = [{"line_id": step.id, "end": True} for step in steps[1:]]
        lines.append(
            {"line_id": steps[:1].id, "product_id": price.product_id.id, "price_id": price.id, "date_end": False}
        )
        contract.action_amend({"lines": lines, "reason": self._get_history_text()}, vals["date"])

    @api.model
    def _change_pause(self, contract, vals):
        contract.check_access("write")
        contract._pause(vals["date"], vals["note"] or self._get_history_text(), "customer")

    @api.model
    def _change_resume(self, contract, vals):
        if not self._get_own_pauses(contract):  # by the time of the approval staff may have paused, too
            raise UserError(
                self.env._(
                    "%s has a pause that the customer did not begin: end it on the contract first, or refuse the "
                    "request.",
                    contract.name,
                )
            )
        contract.action_resume(vals["date"])

    @api.model
    def _change_close(self, contract, vals):
        end = contract.plan_id.renewal == "none" and contract.date_end
        if contract.close_reason_id or (end and vals["date"] > end):  # closing again would prolong it
            raise UserError(
                self.env._(
                    "%(contract)s ends on %(date)s already.",
                    contract=contract.name,
                    date=format_date(self.env, contract.date_end),
                )
            )
        contract.action_close(vals["date"], vals["close_reason_id"])

    @api.model
    def _change_stay(self, contract, vals):
        reason = self.env["billing.close.reason"].sudo().browse(vals["close_reason_id"])  # closed fields
        lang = contract.partner_id.lang
        coupon = {
            "product_id": reason.offer_product_id.id,
            "name": reason.offer_product_id.with_context(lang=lang).name,
            "price_id": False,
            "price_unit": -self._get_offered_amount(contract, reason),
            "quantity": 1.0,
            "max_slots": reason.offer_periods,
        }
        contract.action_amend({"lines": [coupon], "reason": self._get_history_text()}, vals["date"])

    @api.model
    def _get_history_text(self):
        return self.env._("Requested by the customer in the portal.")

    def _mail_get_partner_fields(self, introspect_fields=False):
        return ["requester_id"]
