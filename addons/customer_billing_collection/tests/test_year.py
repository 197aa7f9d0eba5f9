"""Days of collections, one by one, with random invoices, payments, credits, disputes, promises, agreements and
write-offs; nights are missed.

What went out, and what did not, is then justified by a second reading of the rules that shares no code with the module:
plain SQL over what account knows, and plain dates. ``BILLING_YEAR=1`` is the long form: 300 customers for a year.
"""

import os
import random
from collections import defaultdict
from datetime import date, timedelta

from freezegun import freeze_time

from odoo import Command
from odoo.tests import tagged

from odoo.addons.customer_billing.tests.test_receivable import ReceivableCommon

# the long form: 300 customers for a year; other sizes as customers x days
SIZE = {"": "30x60", "1": "300x365"}
YEAR = os.environ.get("BILLING_YEAR", "")
CUSTOMERS, DAYS = map(int, SIZE.get(YEAR, YEAR).split("x"))
FIRST = date(2026, 1, 5)
OPEN_ITEMS = """
    SELECT line.id, line.partner_id, line.currency_id, COALESCE(line.date_maturity, line.date),
           line.amount_residual_currency, line.amount_residual, EXISTS (
               SELECT FROM billing_dispute dispute WHERE dispute.move_id = line.move_id AND dispute.state = 'open'
           ), (SELECT MAX(promise.id) FROM billing_promise promise
                 JOIN billing_promise_move_line_rel rel ON rel.promise_id = promise.id
                WHERE rel.move_line_id = line.id AND promise.state = 'open'
                  AND promise.date + promise.grace_days >= %s),
           EXISTS (SELECT FROM billing_instalment agreement
                     JOIN billing_instalment_move_line_rel rel ON rel.instalment_id = agreement.id
                    WHERE rel.move_line_id = line.id AND agreement.state = 'running')
      FROM account_move_line line JOIN account_account account ON account.id = line.account_id
     WHERE account.account_type = 'asset_receivable' AND line.parent_state = 'posted' AND line.company_id = %s
       AND line.date <= %s AND line.amount_residual_currency <> 0"""


class Item:
    def __init__(self, *row):
        (self.id, self.partner, self.currency, self.due, self.amount, self.company_amount, self.disputed,
         self.promise, self.agreed) = row  # fmt: skip

    @property
    def free(self):
        return not self.disputed and not self.promise and not self.agreed


def step_day(days, due, weekdays):
    """The day of a step by the words of the policy: so many days from the due date, on a working day."""
    day = due + timedelta(days=days)
    while weekdays and day.weekday() > 4:
        day += timedelta(days=1 if days > 0 else -1)
    return day


@tagged("post_install", "-at_install")
class TestYear(ReceivableCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.manager = cls.new_staff("manager", "collector", login="year_manager")
        cls.env.user.tz = "UTC"
        cls.calendar = cls.env["resource.calendar"].create({"name": "Monday to Friday", "tz": "UTC"})
        cls.policies = cls.env["billing.dunning.policy"].create(
            [
                {
                    "name": name,
                    "calendar_id": calendar,
                    "minimum_amount": minimum,
                    "step_ids": [
                        Command.create({"name": "Before", "days": -3}),
                        Command.create({"name": "Reminder", "days": 3}),
                        Command.create({"name": "Call", "days": 9, "channel": "call", "minimum_amount": 60}),
                        Command.create({"name": "Final", "days": 16, "approval": True}),
                    ],
                }
                for name, calendar, minimum in (("Weekdays", cls.calendar.id, 0.0), ("All days", False, 20.0))
            ]
        )
        cls.company.billing_dunning_policy_id = cls.policies[0]
        cls.company.billing_bad_debt_account_id = cls.company_data["default_account_expense"]
        cls.customers = cls.env["res.partner"].create(
            [
                {
                    "name": f"Customer {number:03}",
                    "email": number % 9 and f"{number}@year.example",
                    "billing_dunning_policy_id": cls.policies[number % 2].id,
                }
                for number in range(CUSTOMERS)
            ]
        )
        cls.term = cls.env["account.payment.term"].create(
            {
                "name": "Two instalments",
                "line_ids": [
                    Command.create({"value": "percent", "value_amount": 50, "nb_days": 5}),
                    Command.create({"value": "percent", "value_amount": 50, "nb_days": 25}),
                ],
            }
        )

    # The world

    def live(self, chance, day):
        """What happens on a day; about one thing for each ten customers."""
        actions = ["bill"] * 5 + ["pay"] * 5 + ["settle"] * 2
        actions += ["advance", "refund", "match", "unmatch", "dispute", "decide", "promise", "agree", "give_up"]
        actions += ["take_back", "mail"]
        for _number in range(max(1, CUSTOMERS // 10)):
            partner = chance.choice(self.customers)
            getattr(self, f"do_{chance.choice(actions)}")(chance, day, partner)
            self.env.cr.precommit.run()  # each is a transaction of its own

    def open_lines(self, partner, sign=1):
        return self.env["account.move.line"].search(
            [("partner_id", "=", partner.id), ("account_id.account_type", "=", "asset_receivable"),
             ("parent_state", "=", "posted"), ("company_id", "=", self.company.id),
             ("amount_residual_currency", ">" if sign > 0 else "<", 0)], order="id",
        )  # fmt: skip

    def do_bill(self, chance, day, partner):
        terms = chance.choice([{"due": day + timedelta(days=chance.choice([0, 7, 14]))},
                               {"invoice_payment_term_id": self.term.id}])  # fmt: skip
        if "due" not in terms:
            terms["invoice_date_due"] = False
        currency = chance.choice([self.usd] * 3 + [self.eur])
        self.invoice(chance.choice([15, 50, 99.99, 400]), day, partner, currency, **terms)

    def do_pay(self, chance, day, partner):
        lines = self.open_lines(partner)
        if not lines:
            return
        line = chance.choice(lines)
        amount = chance.choice([line.amount_residual_currency] * 3 + [line.amount_residual_currency / 2])
        payment = self.pay(line.currency_id.round(amount), day, partner, line.currency_id)
        if chance.random() < 0.85:
            (self.lines(payment) | line).reconcile()

    def do_settle(self, _chance, day, partner):
        """All but the newest bill."""
        lines = self.open_lines(partner)
        for currency, found in lines.grouped("currency_id").items():
            if older := found.filtered(lambda line: line.move_id != lines[-1].move_id):
                payment = self.pay(sum(older.mapped("amount_residual_currency")), day, partner, currency)
                (self.lines(payment) | older).reconcile()

    def do_advance(self, chance, day, partner):
        self.pay(chance.choice([10, 150]), day, partner, chance.choice([self.usd, self.eur]))

    def do_refund(self, chance, day, partner):
        lines = self.open_lines(partner)
        if lines:
            line = chance.choice(lines)
            self.invoice(
                line.currency_id.round(abs(line.amount_residual_currency) * chance.choice([0.3, 1, 1.5])),
                day, partner, line.currency_id, "out_refund",
            )  # fmt: skip

    def do_match(self, _chance, _day, partner):
        credits = self.open_lines(partner, -1)
        currency = credits[:1].currency_id
        debit = self.open_lines(partner).filtered(lambda line: line.currency_id == currency)[:1]
        if debit:
            (credits[:1] | debit).reconcile()

    def do_unmatch(self, chance, _day, partner):
        """A payment was for something else, or comes back later."""
        matched = self.env["account.partial.reconcile"].search(
            [("debit_move_id.partner_id", "=", partner.id), ("debit_move_id.company_id", "=", self.company.id)]
        )
        if matched:
            credit = chance.choice(matched).credit_move_id
            debits = self.open_lines(partner).filtered(lambda line: line.currency_id == credit.currency_id)
            credit.remove_move_reconcile()
            if debits and not credit.reconciled and chance.random() < 0.6:  # exchange entries are reversed
                (credit | debits[-1]).reconcile()

    def do_dispute(self, chance, _day, partner):
        moves = self.open_lines(partner).move_id.filtered(lambda move: move.move_type == "out_invoice")
        if moves:
            move = chance.choice(moves)
            self.env["billing.dispute"].create({"name": "Why", "move_id": move.id, "amount": move.amount_total / 2})

    def do_decide(self, _chance, _day, partner):
        dispute = self.env["billing.dispute"].search([("partner_id", "=", partner.id), ("state", "=", "open")], limit=1)
        if dispute:
            dispute.resolution = "Explained"
            dispute.action_reject()

    def open_case(self, partner):
        domain = [("partner_id", "=", partner.id), ("state", "not in", ("closed", "written_off"))]
        return self.env["billing.case"].search(domain, limit=1)

    def do_promise(self, chance, day, partner):
        case = self.open_case(partner)
        lines = self.open_lines(partner).filtered(lambda line: line.currency_id == case.currency_id)
        lines -= case.promise_ids.filtered(lambda promise: promise.state == "open").move_line_ids
        if lines:
            self.env["billing.promise"].create(
                {
                    "case_id": case.id,
                    "amount": sum(lines.mapped("amount_residual_currency")),
                    "date": day + timedelta(days=chance.choice([2, 6])),
                    "move_line_ids": [Command.set(lines.ids)],
                }
            )

    def do_agree(self, _chance, day, partner):
        """What is overdue and not agreed about is paid in two parts; or it is not."""
        case = self.open_case(partner)
        if not case or case._is_agreed():
            return
        agreement = self.env["billing.instalment"].create({"case_id": case.id, "grace_days": 1})
        if agreement.amount_open > 1:
            agreement.action_make_schedule(2, str(day + timedelta(days=4)), 1, "week")
            agreement.action_offer()
            agreement.action_confirm("Ann Lee", "by telephone")

    def do_give_up(self, chance, day, partner):
        """The oldest debt is written off, or a part of it."""
        case = self.open_case(partner)
        if item := case and case._get_writeoff_items()[:1]:
            amount = item.currency_id.round(item.amount_residual_currency * chance.choice([0.5, 1]))
            self.env["billing.writeoff"].create(
                {"case_id": case.id, "move_line_ids": [Command.set(item.ids)], "amount": amount, "date": day,
                 "reason": "Too small"}
            ).action_request()  # fmt: skip

    def do_take_back(self, _chance, day, partner):
        domain = [("partner_id", "=", partner.id), ("state", "=", "posted")]
        self.env["billing.writeoff"].search(domain, limit=1).action_take_back(str(day))

    def do_mail(self, _chance, _day, partner):
        partner.email = not partner.email and f"{partner.id}@year.example"

    # The checks

    def read_items(self, day):
        """Open items by (partner, currency)."""
        self.env.flush_all()
        self.cr.execute(OPEN_ITEMS, [day, self.company.id, day])
        found, promised = defaultdict(list), defaultdict(list)
        for row in self.cr.fetchall():
            item = Item(*row)
            found[item.partner, item.currency].append(item)
            if item.promise:
                promised[item.promise].append(item)
        self.cr.execute("SELECT id, amount - COALESCE(amount_paid, 0), threshold FROM billing_promise")
        for promise, amount, share in self.cr.fetchall():
            total = 0.0  # the amount holds the oldest of the items that are named
            for item in sorted(promised[promise], key=lambda item: (item.due, item.id)):
                total += item.amount
                if amount < total * share - 0.001:
                    item.promise = None
        return found

    def justify(self, notice, items, day):
        """Why a notice of today was right, by what is open now: sending changes nothing of it."""
        case, step = notice.case_id, notice.step_id
        rows = {item.id: item for item in items[case.partner_id.id, case.currency_id.id]}
        lines = {line.move_line_id.id: line.amount for line in notice.line_ids}
        self.assertLessEqual(set(lines), set(rows), "something that is not open any more was demanded")
        for line, amount in lines.items():
            self.assertAlmostEqual(rows[line].amount, amount, 2)
        listed = [rows[line] for line in lines]
        self.assertAlmostEqual(notice.amount, sum(item.amount for item in listed), 2)
        debts = [item for item in listed if item.amount > 0]
        owed = self.get_owed(rows.values())
        overdue = [item for item in rows.values() if item.amount > 0 and item.due < day and item.free]
        credits = [item for item in rows.values() if item.amount < 0]
        self.assertGreater(notice.amount, 0)
        self.assertTrue(all(item.free for item in debts), "disputed, promised or agreed")
        weekdays = case.policy_id == self.policies[0]
        if not notice.approver_id:  # a person may send on any day
            self.assertFalse(weekdays and day.weekday() > 4, "a day off")
        in_company = sum(item.company_amount for item in listed)
        self.assertGreaterEqual(in_company, max(step.minimum_amount, case.policy_id.minimum_amount) - 0.01)
        if step.days > 0:
            oldest = min(item.due for item in debts if item in owed)
            self.assertLess(oldest, day)
            self.assertLessEqual(step_day(step.days, oldest, weekdays), day, "too early")
            self.assertGreater(step.days, self.reached[case], "an earlier step, or the same one again")
            self.assertGreater(step.days, self.get_reached(owed), "what was demanded goes back to an earlier step")
            self.assertEqual(set(lines), {item.id for item in overdue + credits}, "all that is due, and the credits")
            self.reached[case] = step.days
            self.asked.update((item.id, max(step.days, self.asked[item.id])) for item in debts)
            key = case.partner_id, case.currency_id
            self.highest[key] = max(step.days, self.highest[key])
        else:
            fresh = [
                item
                for item in debts
                if item.due >= day and step.days > self.reminded.get((case, item.due), -999)
            ]
            self.assertTrue(fresh, "reminded twice")
            # what is due before takes the credits first, what is left pays in advance
            first = min(item.due for item in fresh)
            before = [item for item in rows.values() if item.amount > 0 and item.due < first and item.free]
            left = sum(item.amount for item in before + credits)
            expected = {item.id for item in before + credits} if left < -0.001 else set()
            self.assertEqual(set(lines) - {item.id for item in fresh}, expected)
            for item in fresh:
                self.assertLessEqual(step_day(step.days, item.due, weekdays), day)
            for due in {item.due for item in fresh}:
                self.reminded[case, due] = step.days

    def get_owed(self, rows):
        """The debts of a customer that open credits do not cover: they go to the oldest that is free. What a promise
        keeps from its credit for some days is not owed by that."""
        debts = sorted((item for item in rows if item.amount > 0), key=lambda item: (item.due, item.id))
        left = free = -sum(item.amount for item in rows if item.amount < 0)
        owed = []
        for item in debts:
            used, at_last = min(left, item.amount) if item.free else 0, min(free, item.amount)
            left, free = left - used, free - at_last
            if item.amount - max(used, at_last) > 0.004:
                owed.append(item)
        return owed

    def get_reached(self, owed):
        """The highest step by which any of these debts was demanded, in whatever case."""
        return max((self.asked[item.id] for item in owed), default=0)

    def is_at_rest(self, case, rows):
        """Whether nothing is agreed, in dispute or waiting, so that the step of the case follows from what is owed."""
        states = [*case.promise_ids.mapped("state"), *case.instalment_ids.mapped("state")]
        if "open" in states or "running" in states or not all(item.free for item in rows):
            return False
        return not case.notice_ids.filtered("needs_approval")

    def get_missing_step(self, case, rows, day):
        """The step that a case should have got by the rules today, or None."""
        weekdays = case.policy_id == self.policies[0]
        due = [item for item in rows if item.amount > 0 and item.due < day and item.free]
        if not due or (weekdays and day.weekday() > 4):
            return None
        demanded = [*due, *(item for item in rows if item.amount < 0)]
        in_company = sum(item.company_amount for item in demanded)
        if sum(item.amount for item in demanded) < 0.005 or in_company < case.policy_id.minimum_amount - 0.005:
            return None
        owed = self.get_owed(rows)
        oldest = min(item.due for item in owed if item in due)
        reached = self.get_reached(owed)
        if not self.is_at_rest(case, rows):  # it stays at the step of a debt that is settled, of an earlier case too
            highest = self.highest[case.partner_id, case.currency_id]
            reached = max(reached, self.reached[case], min(case.step_days, highest))
        steps = [
            step
            for step in case.policy_id.step_ids.sorted("days")
            if step.days > reached
            and in_company >= step.minimum_amount - 0.005
            and step_day(step.days, oldest, weekdays) <= day
        ]
        return steps[-1] if steps else None

    def check_nobody_is_left_out(self, items, day):
        """After the night, whoever should have got a notice has it, or it waits for approval."""
        cases = self.env["billing.case"].search([("state", "not in", ("closed", "written_off"))])
        by_key = {(case.partner_id.id, case.currency_id.id): case for case in cases}
        self.assertEqual(len(by_key), len(cases), "one case for each customer and currency")
        for key, rows in items.items():
            overdue = sum(item.amount for item in rows if item.amount < 0 or (item.due < day and item.free))
            if key[0] not in self.customers.ids or overdue < 0.01 or not any(i.due < day and i.free for i in rows):
                continue
            self.assertIn(key, by_key, "something is overdue, and there is no case")
            if step := self.get_missing_step(by_key[key], rows, day):
                notice = by_key[key].notice_ids.filtered(
                    lambda notice, step=step: notice.step_id == step and notice.state != "cancelled"
                )
                self.assertEqual((notice.state, notice.needs_approval), ("proposed", True), f"left out: {step.name}")
        for case in cases:
            key = (case.partner_id.id, case.currency_id.id)
            self.assertGreater(sum(item.amount for item in items[key]), 0, "a case of one who owes nothing")
            if self.is_at_rest(case, items[key]):
                reached = self.get_reached(self.get_owed(items[key]))
                self.assertEqual(case.step_days, reached, "at the step of what is owed, settled debts aside")
            if case.step_days > self.reached[case]:
                self.taken_over.add(case)

    def check_messages(self, notices):
        """One message for each customer, step and night by mail, in whatever currencies; none without a notice."""
        mailed = notices.filtered(lambda notice: notice.channel == "email")
        self.assertTrue(all(notice.mail_message_id for notice in mailed))
        for together in mailed.grouped("mail_message_id").values():
            self.assertEqual(len({(notice.partner_id, notice.step_id, notice.date_sent) for notice in together}), 1)
            self.assertEqual(len(together.currency_id), len(together))
        nights = mailed.grouped(lambda notice: (notice.partner_id, notice.step_id, notice.date_sent))
        self.assertEqual(len(mailed.mail_message_id), len(nights), "one message for a customer and step")
        for notice in notices - mailed:
            self.assertFalse(notice.mail_message_id)
        messages = self.env["mail.message"].search_count(
            [("model", "=", "billing.case"), ("message_type", "=", "comment"), ("partner_ids", "!=", False)]
        )
        self.assertEqual(messages, len(nights), "no message without a notice")

    # The days

    def work(self, chance, day):
        """The night and the sending after it; sometimes a manager approves."""
        root = self.env.ref("base.user_root")
        with self.in_job():
            self.env["billing.case"].with_user(root)._cron_nightly()
            self.was_disturbed = chance.random() < 0.3
            if self.was_disturbed:  # something happens between the proposal and the sending
                self.live(chance, day)
            self.env["billing.dunning.notice"].with_user(root)._cron_send()
        if chance.random() < 0.3:
            waiting = self.env["billing.dunning.notice"].search([("needs_approval", "=", True)])
            waiting.with_user(self.manager).action_approve()
            with self.in_job():
                self.env["billing.dunning.notice"].with_user(root)._cron_send()

    def test_invariant_14_every_notice_is_justified_and_nobody_is_left_out(self):
        chance = random.Random(int(os.environ.get("BILLING_SEED", "1")))
        self.reached, self.reminded, self.asked = defaultdict(int), {}, defaultdict(int)
        self.taken_over, self.highest = set(), defaultdict(int)
        seen, nights = self.env["billing.dunning.notice"], 0
        for number in range(DAYS):
            day = FIRST + timedelta(days=number)
            if number % 5 == 4:  # as the database server does by itself where transactions end
                self.cr.execute("ANALYZE account_move, account_move_line, account_partial_reconcile, account_payment")
            with freeze_time(f"{day} 06:00:00"):
                self.live(chance, day)
                if chance.random() < 0.2:
                    continue  # the job did not run
                nights += 1
                self.work(chance, day)
                items = self.read_items(day)
                sent = self.env["billing.dunning.notice"].search([("state", "=", "sent")]) - seen
                for notice in sent.sorted(lambda notice: notice.step_id.days):
                    with self.subTest(day=str(day), notice=notice.display_name):
                        self.justify(notice, items, day)
                seen |= sent
                if not self.was_disturbed:
                    self.check_nobody_is_left_out(items, day)
        self.check_messages(seen)
        self.assertFalse(self.env["billing.dunning.notice"].search([("state", "in", ("failed", "queued"))]))
        counts = seen.grouped(lambda notice: notice.step_id.name)
        self.assertEqual(set(counts), {"Before", "Reminder", "Call", "Final"}, "the days show little")
        self.assertGreater(len(seen), CUSTOMERS // 2)
        skipped = self.env["billing.dunning.notice"].search([("state", "=", "skipped")])
        self.assertTrue(all(skipped.mapped("reason")), "who is left out has a reason")
        cases = self.env["billing.case"].search([], order="id").grouped(lambda c: (c.partner_id, c.currency_id))
        if "BILLING_SEED" in os.environ:
            return  # not every course of events has everything
        self.assertTrue(
            any(
                earlier.date_closed == later.date_opened and self.reached[earlier]
                for found in cases.values()
                for earlier, later in zip(found, found[1:], strict=False)
            ),
            "no case took the place of one whose debt was settled",
        )
        self.assertTrue(self.taken_over or DAYS < 100, "no case went on with what an earlier one has demanded")
