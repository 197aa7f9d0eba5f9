from dataclasses import replace
from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL, format_date

from odoo.addons.customer_billing.tools.money import to_decimal

from ..tools import promise as kernel
from .billing_case import CLOSED

TERMS = frozenset(("amount", "date", "date_given", "grace_days", "threshold", "move_line_ids"))
RANK = {"open": 0, "broken": 0, "partly": 1, "kept": 2}


class BillingPromise(models.Model):
    """The customer's word: so much by that day. Payments decide whether it is kept; it changes no accounting entry."""

    _name = "billing.promise"
    _description = "Promise to Pay"
    _inherit = ["billing.protected.mixin", "mail.thread"]
    _order = "date desc, id desc"
    _check_company_auto = True
    _billing_protected = frozenset(
        ("state", "amount_paid", "date_decided", "origin", "partner_id", "company_id", "currency_id")
    )

    case_id = fields.Many2one("billing.case", required=True, index=True, ondelete="restrict")
    partner_id = fields.Many2one(related="case_id.partner_id", store=True, index=True)
    company_id = fields.Many2one(related="case_id.company_id", store=True, index=True)
    currency_id = fields.Many2one(related="case_id.currency_id", store=True)
    date_given = fields.Date(
        string="Given On", required=True, default=fields.Date.context_today, help="Money from this day on counts."
    )
    amount = fields.Monetary(required=True, tracking=True)
    date = fields.Date(string="Promised For", required=True, tracking=True)
    grace_days = fields.Integer(
        compute="_compute_terms", store=True, readonly=False, precompute=True, help="Days for the money to arrive."
    )
    threshold = fields.Float(
        string="Kept From", compute="_compute_terms", store=True, readonly=False, precompute=True,
        groups="base.group_user",
        help="The share of the amount from which the promise is kept.",
    )  # fmt: skip
    move_line_ids = fields.Many2many(
        "account.move.line", "billing_promise_move_line_rel", "promise_id", "move_line_id", string="Items",
        help="What is to be paid; empty: the oldest items. Those that the amount covers are not demanded until then.",
    )  # fmt: skip
    origin = fields.Selection([("staff", "Staff"), ("portal", "Portal")], default="staff", required=True, readonly=True)
    user_id = fields.Many2one(
        "res.users", string="Taken By", default=lambda self: self.env.user, groups="base.group_user"
    )
    state = fields.Selection(
        [
            ("open", "Open"), ("kept", "Kept"), ("partly", "Partly kept"), ("broken", "Broken"),
            ("cancelled", "Cancelled"),
        ],
        string="Status", default="open", required=True, readonly=True, index=True, tracking=True, copy=False,
    )  # fmt: skip
    amount_paid = fields.Monetary(string="Paid", readonly=True, copy=False, help="What came in for it in time.")
    date_decided = fields.Date(string="Decided On", readonly=True, copy=False)
    note = fields.Text(groups="base.group_user")
    warning = fields.Char(compute="_compute_warning", groups="base.group_user")

    _amount_positive = models.Constraint("CHECK (amount > 0)", "A promise is about an amount above zero.")
    _date_order = models.Constraint(
        "CHECK (date >= date_given)", "The promised day cannot be before the day on which the promise was given."
    )
    _terms_in_range = models.Constraint(
        "CHECK (grace_days >= 0 AND threshold > 0 AND threshold <= 1)",
        "Grace days cannot be negative; a promise is kept from a share above 0 and at most 1.",
    )

    @api.depends("case_id")
    def _compute_terms(self):
        for promise in self:
            policy = promise.case_id.sudo().policy_id  # whoever takes a promise may not read policies
            promise.grace_days = policy.promise_grace_days
            promise.threshold = policy.promise_threshold or 1.0

    @api.depends("case_id", "amount", "amount_paid", "move_line_ids", "threshold", "state")
    def _compute_warning(self):
        for promise in self:
            promise.warning = (
                promise.state == "open"
                and promise.case_id
                and promise.case_id._get_promise_warning(
                    promise.amount - promise.amount_paid, promise.threshold, promise.move_line_ids.ids
                )
            )

    @api.depends("amount", "currency_id", "date")
    def _compute_display_name(self):
        for promise in self:
            promise.display_name = self.env._(
                "%(amount)s by %(date)s",
                amount=(promise.currency_id or self.env.company.currency_id).format(promise.amount),
                date=format_date(self.env, promise.date),
            )

    @api.constrains("move_line_ids")
    def _check_items(self):
        for promise in self:
            promise.case_id._check_own_items(promise.move_line_ids)

    @api.model_create_multi
    def create(self, vals_list):
        promises = super().create(vals_list)
        if done := promises.filtered(lambda p: p.case_id.state in CLOSED)[:1]:
            raise UserError(self.env._("%s is closed: there is nothing to promise any more.", done.case_id.name))
        for promise in promises:
            promise.case_id._message_log(body=self.env._("Promised: %s", promise.display_name))
        promises.case_id._refresh()
        return promises

    def write(self, vals):
        if "case_id" in vals and not self.env.su:
            raise UserError(self.env._("A promise stays with its case: cancel it, and record another one."))
        changed = TERMS.intersection(vals)
        if changed and (done := self.filtered(lambda p: p.state != "open")[:1]):
            raise UserError(
                self.env._("The promise “%s” is decided: record a new one instead.", done.display_name)
            )
        result = super().write(vals)
        if "state" in vals:
            label = dict(self._fields["state"]._description_selection(self.env))[vals["state"]]
            for promise in self:
                promise.case_id._message_log(
                    body=self.env._("Promise %(name)s: %(state)s", name=promise.display_name, state=label)
                )
        if changed:
            self.case_id._refresh()
        return result

    def action_cancel(self):
        """Take back open promises: nothing is decided, their items are dunned again.

        :raises UserError: a promise is decided already
        """
        self.check_access("write")
        if done := self.filtered(lambda p: p.state != "open")[:1]:
            raise UserError(self.env._("The promise “%s” is decided and stays on record.", done.display_name))
        self.sudo()._withdraw()  # protected fields
        self.case_id._refresh()
        return True

    def _withdraw(self):
        """Take back open promises. Called as superuser."""
        for promise in self:
            promise.write({"state": "cancelled", "date_decided": promise.company_id._get_billing_today()})

    # What was paid

    def _get_last_day(self):
        """The last day on which money counts."""
        self.ensure_one()
        return self.date + timedelta(days=self.grace_days)

    def _get_kernel_promise(self):
        self.ensure_one()
        return kernel.Promise(
            self.id, self.date_given, self._get_last_day(), to_decimal(self.amount), frozenset(self.move_line_ids.ids)
        )

    @api.model
    def _get_money(self, cases, first):
        """Return what customers paid from a day on and what it was matched with: {case id: list of ``Money``}.

        Money is what came through a bank or cash journal, on the day of its entry. Credit notes and other entries are
        none. One query for all cases.
        """
        self.env.flush_all()
        rows = self.env.execute_query(
            SQL(
                """SELECT c.id, item.id, credit.date, partial.debit_amount_currency %s AND credit.date >= %s
                    ORDER BY credit.date, partial.id""",
                self._from_money(cases),
                first,
            )
        )
        money = {}
        for case_id, item_id, day, amount in rows:
            money.setdefault(case_id, []).append(kernel.Money(item_id, day, to_decimal(amount)))
        return money

    @api.model
    def _filter_paid(self, cases):
        """Return those of cases whose customers' items were matched with money since they were opened. One query."""
        self.env.flush_all()
        found = self.env.execute_query(
            SQL(
                """SELECT DISTINCT c.id %s
                      AND (partial.max_date >= c.date_opened OR partial.create_date > c.create_date)""",
                self._from_money(cases),
            )
        )
        return cases.browse([case for [case] in found])

    @api.model
    def _from_money(self, cases):
        """FROM and WHERE: the cases ``c``, each ``item`` of their customers, the ``credit`` that is money, and their
        match, ``partial``."""
        return SQL(
            """FROM billing_case c
               JOIN res_company own ON own.id = c.company_id
               JOIN res_company branch ON branch.parent_path LIKE own.parent_path || '%%'
               JOIN res_partner contact ON contact.commercial_partner_id = c.partner_id
               JOIN account_move_line item ON item.partner_id = contact.id AND item.currency_id = c.currency_id
                                          AND item.company_id = branch.id AND item.parent_state = 'posted'
               JOIN account_account account ON account.id = item.account_id
                                           AND account.account_type = 'asset_receivable'
               JOIN account_partial_reconcile partial ON partial.debit_move_id = item.id
               JOIN account_move_line credit ON credit.id = partial.credit_move_id AND credit.parent_state = 'posted'
               JOIN account_move move ON move.id = credit.move_id AND move.move_type = 'entry'
               JOIN account_journal journal ON journal.id = credit.journal_id
              WHERE c.id = ANY(%s)
                AND (credit.payment_id IS NOT NULL OR credit.statement_line_id IS NOT NULL
                     OR journal.type IN ('bank', 'cash', 'credit'))""",
            cases.ids,
        )

    @api.model
    def _evaluate_cases(self, cases):
        """Compare the promises of cases with what came in, and decide those that can be decided.

        Called as superuser, whenever the cases are looked at: at night, and when a payment is matched. Until its last
        day a promise follows the payments: it is kept as soon as enough came in, and open again when that payment is
        taken back. After its last day it only gets better, when a payment that came in time is matched later. The
        number of queries does not depend on the number of cases.
        """
        promises = self.search([("case_id", "in", cases.ids), ("state", "!=", "cancelled")])
        if not promises:
            return
        money = self._get_money(promises.case_id, min(promises.mapped("date_given")))
        for case, found in promises.grouped("case_id").items():
            today = case.company_id._get_billing_today()
            entries = money.get(case.id, [])
            paid = kernel.allot([promise._get_kernel_promise() for promise in found], entries)
            for promise in found:
                promise._set_result(paid[promise.id], promise._get_needed(entries), today)

    def _get_needed(self, money):
        """What has to come in: the amount, or what is left of the items that it names when some of it was credited."""
        if not self.move_line_ids:
            return to_decimal(self.amount)
        posted = self.move_line_ids.filtered(lambda line: line.parent_state == "posted")
        left = self.currency_id.round(sum(posted.mapped("amount_residual_currency")))
        return kernel.needed(self._get_kernel_promise(), money, to_decimal(left))

    def _set_result(self, paid, needed, today):
        """Write what came in and what follows from it. Called as superuser: protected fields."""
        if not needed:  # all was credited
            if self.state == "open":
                self._withdraw()
            return
        promise = replace(self._get_kernel_promise(), amount=needed)
        state = kernel.decide(promise, paid, to_decimal(self.threshold), today)
        is_over = today > self._get_last_day()
        if is_over and self.state != "open" and RANK[state] <= RANK[self.state]:
            return
        before = self.state
        decided = False if state == "open" else (self.date_decided if state == before else today)
        vals = {"state": state, "amount_paid": float(paid), "date_decided": decided}
        if changed := {name: value for name, value in vals.items() if self[name] != value}:
            self.write(changed)
        if state in ("broken", "partly") and before in ("open", "kept"):
            self._tell_broken()

    def _tell_broken(self):
        """Ask the collector to go on: the items are dunned again, from the step where they were."""
        case = self.case_id._get_current_case()
        user = case.collector_id or self.user_id.filtered(lambda user: not user.share) or self.env.user
        promise = self.with_context(lang=user.lang)
        case.activity_schedule(
            "mail.mail_activity_data_call",
            summary=promise.env._("Promise not kept: %s", promise.display_name),
            note=promise.env._("%s came in.", promise.currency_id.format(promise.amount_paid)),
            user_id=user.id,
        )

    @api.model
    def _take_back(self, partners):
        """Payments of customers were unmatched: promises that were kept by them may be open again, until their last
        day, also those of cases that were closed by it."""
        if not partners:
            return
        kept = self.sudo().search(  # sudo: facts of the ledger, whoever makes them
            [("partner_id", "in", partners.ids), ("state", "=", "kept"), ("case_id.state", "in", CLOSED)]
        )
        kept = kept.filtered(lambda promise: promise._get_last_day() >= promise.company_id._get_billing_today())
        kept._evaluate_cases(kept.case_id)

    # What it takes out of dunning

    @api.model
    def _get_protected_items(self, cases):
        """Return what promises take out of dunning today: {case: set of receivable line ids}.

        An open promise protects, of the items that it names, else of all, the oldest ones that its amount pays for
        (less what came in); without names, items in dispute or under an agreement are passed over. The number of
        queries does not depend on the number of cases.
        """
        result = {case: set() for case in cases}
        open_promises = self.search([("case_id", "in", cases.ids), ("state", "=", "open")], order="date, id").filtered(
            lambda promise: promise._get_last_day() >= promise.company_id._get_billing_today()
        )
        if not open_promises:
            return result
        agreed = self.env["billing.instalment"]._get_protected_items(open_promises.case_id)
        rows = open_promises.case_id._get_open_rows()
        for case, promises in open_promises.grouped("case_id").items():
            items = [(row["move_line_id"], to_decimal(row["residual"])) for row in rows[case]]
            named = promises.filtered("move_line_ids")
            taken = kernel.covered_by_name(items, [promise._get_name_terms() for promise in named])
            result[case] = taken
            if promises == named:
                continue
            passed = taken | agreed[case] | {r["move_line_id"] for r in rows[case] if r["excluded"] == "dispute"}
            left = sum((promises - named).mapped(lambda promise: promise._get_left()))
            share = to_decimal(max((promises - named).mapped("threshold")))
            result[case] |= kernel.covered([item for item in items if item[0] not in passed], left, share)
        return result

    @api.model
    def _get_decision_days(self, cases):
        """The day on which the first open promise of each case is decided, when the money does not come before: {case:
        date}; without those that have none. One query."""
        days = {}
        for promise in self.search([("case_id", "in", cases.ids), ("state", "=", "open")]) if cases else ():
            day = promise._get_last_day() + timedelta(days=1)
            days[promise.case_id] = min(day, days.get(promise.case_id, day))
        return days

    def _get_left(self):
        """What is still to come."""
        self.ensure_one()
        return to_decimal(self.amount) - to_decimal(self.amount_paid)

    def _get_name_terms(self):
        return frozenset(self.move_line_ids.ids), self._get_left(), to_decimal(self.threshold)
