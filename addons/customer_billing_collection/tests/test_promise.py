from unittest.mock import patch

from freezegun import freeze_time
from psycopg2 import IntegrityError

from odoo import Command
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, tagged
from odoo.tools import mute_logger

from .facts_common import FactsCommon


@tagged("post_install", "-at_install")
class TestPromise(FactsCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.old, cls.new = cls.invoice(100, due=-30), cls.invoice(200, due=-10)
        cls.case = cls.new_case()

    def test_terms_come_from_the_policy(self):
        promise = self.new_promise(100)
        self.assertEqual((promise.state, promise.origin, promise.grace_days), ("open", "staff", 2))
        self.assertEqual(promise.threshold, 0.95)
        self.assertEqual(self.new_promise(50, grace_days=0, threshold=1.0).grace_days, 0)

    def test_money_keeps_it_at_once(self):
        promise = self.new_promise(100)
        self.pay(94, self.old)
        self.assertEqual((promise.state, promise.amount_paid), ("open", 94))
        self.pay(1, self.old)
        self.assertEqual((promise.state, promise.amount_paid), ("kept", 95))
        self.assertEqual(promise.date_decided, self.today)

    def test_the_case_is_looked_at_when_it_is_decided(self):
        self.new_promise(300, days=5)
        self.assertEqual((self.case.state, self.case.next_step_id), ("promised", self.case.next_step_id.browse()))
        self.assertEqual(self.case.next_action_date, self.day(8), "two days of grace")
        self.case.with_user(self.collector).next_action_date = self.day(3)
        self.case._refresh()
        self.assertEqual(self.case.next_action_date, self.day(3), "a person has set it")
        self.case._note_action(False)
        self.case.promise_ids.action_cancel()
        self.assertEqual(self.case.next_action_date, self.case.next_step_date)
        self.new_promise(100, days=30)
        self.assertEqual(self.case.state, "promised")
        self.assertEqual(self.case.next_action_date, self.case.next_step_date, "the step of the rest comes before")

    def test_credit_notes_and_write_offs_are_no_money(self):
        promise = self.new_promise(100)
        self.match(self.old, self.invoice(-100, due=0))
        self.assertEqual((promise.state, promise.amount_paid), ("open", 0))

    def test_money_counts_from_the_day_it_was_given(self):
        promise = self.new_promise(100)
        self.pay(100, self.old, date=-1)
        self.assertEqual(promise.amount_paid, 0)
        self.pay(100, self.new, date=0)
        self.assertEqual(promise.state, "kept")

    def test_only_named_items_count_when_items_are_named(self):
        promise = self.new_promise(100, move_line_ids=[Command.set(self.item(self.old).ids)])
        self.pay(100, self.new)
        self.assertEqual((promise.state, promise.amount_paid), ("open", 0))
        self.pay(100, self.old)
        self.assertEqual(promise.state, "kept")

    def test_money_counts_once(self):
        first, second = self.new_promise(100, days=3), self.new_promise(100, days=6)
        self.pay(150, self.new)
        self.assertEqual((first.state, first.amount_paid), ("kept", 100))
        self.assertEqual((second.state, second.amount_paid), ("open", 50))

    def evaluate(self, offset):
        """The nightly evaluation so many days from now."""
        with freeze_time(self.day(offset)):
            self.case._refresh()

    def test_broken_after_the_grace(self):
        promise = self.new_promise(100, days=5)  # two days of grace
        self.evaluate(7)
        self.assertEqual(promise.state, "open")
        self.evaluate(8)
        self.assertEqual((promise.state, promise.date_decided), ("broken", self.day(8)))
        task = self.case.activity_ids
        self.assertEqual((task.user_id, len(task)), (self.collector, 1))
        self.assertIn("100", task.summary)
        self.evaluate(9)
        self.assertEqual(len(self.case.activity_ids), 1, "told once")

    def test_partly_kept(self):
        promise = self.new_promise(100)
        self.pay(60, self.old)
        self.evaluate(8)
        self.assertEqual((promise.state, promise.amount_paid), ("partly", 60))
        self.assertEqual(len(self.case.activity_ids), 1)

    def test_money_in_time_that_is_matched_late_counts(self):
        promise = self.new_promise(100, days=5)
        payment = self.pay(100, date=0)
        self.evaluate(8)
        self.assertEqual(promise.state, "broken")
        with freeze_time(self.day(9)):
            self.match(payment, self.old)
        self.assertEqual(promise.state, "kept")

    def named(self, amount, *moves):
        return self.new_promise(amount, move_line_ids=[Command.set(self.item(*moves).ids)])

    def test_what_was_credited_of_named_items_need_not_come(self):
        self.invoice(10, due=-5)  # the case goes on
        promise = self.named(300, self.old, self.new)
        self.match(self.new, self.invoice(-200, due=0))
        self.assertEqual(promise.state, "open")
        self.pay(100, self.old)
        self.assertEqual((promise.state, promise.amount_paid), ("kept", 100))

    def test_a_credit_note_does_not_make_up_for_missing_money(self):
        self.invoice(10, due=-5)
        promise = self.named(300, self.old, self.new)
        self.match(self.new, self.invoice(-200, due=0))
        self.pay(40, self.old)
        self.evaluate(8)
        self.assertEqual((promise.state, promise.amount_paid), ("partly", 40))
        with freeze_time(self.day(9)):
            self.pay(60, self.old, date=9)
        self.assertEqual(promise.state, "partly", "late money changes nothing")

    def test_a_promise_about_what_was_credited_in_full_has_no_object(self):
        gone, broken = self.named(100, self.old), self.named(100, self.old)
        broken.sudo().state = "broken"
        self.match(self.old, self.invoice(-100, due=0))
        self.assertEqual((gone.state, broken.state, self.case.state), ("cancelled", "broken", "open"))
        self.assertFalse(self.case.activity_ids, "nobody is told that he has not kept his word")

    def test_money_in_another_currency_keeps_it(self):
        self.invoice(10, due=-5)
        for promise, bill, foreign in (
            (self.named(100, self.old), self.old, 200), (self.new_promise(200), self.new, 400)
        ):  # fmt: skip
            self.pay(foreign, bill, currency=self.other_currency)  # two for one
            self.assertEqual((bill.amount_residual, promise.state), (0, "kept"))
            self.assertEqual(promise.amount_paid, promise.amount)

    def test_late_money_changes_no_decision(self):
        promise = self.new_promise(100, days=5)
        self.evaluate(8)
        with freeze_time(self.day(9)):
            self.pay(100, self.old, date=9)
        self.assertEqual((promise.state, promise.amount_paid), ("broken", 0))

    def test_a_reversed_payment_counts_no_more_until_the_last_day(self):
        promise = self.new_promise(100, days=5)
        payment = self.pay(100, self.old)
        self.assertEqual(promise.state, "kept")
        self.unmatch(payment)
        self.assertEqual((promise.state, promise.amount_paid, promise.date_decided), ("open", 0, False))
        self.match(payment, self.old)
        self.evaluate(8)
        self.assertEqual(promise.state, "kept")
        with freeze_time(self.day(8)):
            self.unmatch(payment)
        self.assertEqual(promise.state, "kept", "decided")

    def test_a_payment_taken_back_after_the_case_was_closed(self):
        promise = self.new_promise(300)
        payment = self.pay(300, self.old, self.new)
        self.assertEqual((promise.state, self.case.state), ("kept", "closed"))
        payment.origin_payment_id.action_draft()
        self.assertEqual(promise.state, "open", "a draft is no payment")
        payment.origin_payment_id.action_cancel()
        self.env.cr.precommit.run()
        self.assertEqual(promise.state, "open")
        for night in (1, 8):
            with freeze_time(self.day(night)), self.in_job():
                self.env["billing.case"]._work_night(self.company)
        self.assertEqual(promise.state, "broken")
        current = self.case._get_current_case()
        self.assertNotEqual(current, self.case)
        self.assertIn("300", current.activity_ids.summary)

    def test_without_a_debt_there_is_no_promise(self):
        promise = self.new_promise(300)
        self.match(self.old, self.new, self.invoice(-300, due=0))
        self.assertEqual((promise.state, self.case.state), ("cancelled", "closed"))

    def test_queries_of_a_refresh_do_not_grow_with_promises_and_agreements(self):
        cases = self.env["billing.case"]
        for number in range(6):
            partner = self.env["res.partner"].create({"name": f"P{number}", "email": "p@example.com"})
            self.invoice(50, partner=partner)
            self.invoice(30, due=-40, partner=partner)
            case = self.new_case(partner)
            cases |= case
            self.new_promise(50, case=case)
            named = self.item(self.invoice(20, partner=partner))
            self.new_promise(20, case=case, move_line_ids=[Command.set(named.ids)])
            self.new_agreement(case=case)

        def count(cases):
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            cases._refresh()
            self.env.flush_all()
            return self.env.cr.sql_log_count - before

        count(cases)
        self.assertEqual(count(cases[:2]), count(cases))

    def test_what_it_protects(self):
        def protected():
            return self.env["billing.promise"]._get_protected_items(self.case)[self.case]

        old, new = self.item(self.old).id, self.item(self.new).id
        promise = self.new_promise(100)
        self.assertEqual(protected(), {old}, "the oldest up to the amount")
        promise.amount = 300
        self.assertEqual(protected(), {old, new})
        promise.amount = 90
        self.assertEqual(protected(), set(), "a part of an item is not that item")
        promise.move_line_ids = self.item(self.new)
        self.assertEqual(protected(), set(), "a name alone takes nothing")
        self.assertIn("demanded all the same", promise.warning)
        promise.amount = 190
        self.assertEqual((protected(), promise.warning), ({new}, False), "the share of the policy")
        promise.amount = 90
        other = self.new_promise(100, move_line_ids=[Command.set(self.item(self.new).ids)])
        self.assertEqual(protected(), {new}, "two promises for one item add up")
        other.action_cancel()
        promise.amount = 200
        with freeze_time(self.day(7)):
            self.assertEqual(protected(), {new})
        with freeze_time(self.day(8)):
            self.assertEqual(protected(), set(), "not after the last day, also before the job decides")
        promise.action_cancel()
        self.assertEqual((protected(), promise.state), (set(), "cancelled"))

    def test_disputed_items_are_passed_over(self):
        self.env["billing.dispute"].create({"name": "Wrong", "move_id": self.old.id})
        self.new_promise(200)
        found = self.env["billing.promise"]._get_protected_items(self.case)[self.case]
        self.assertEqual(found, set(self.item(self.new).ids))

    def test_queries_of_protection_do_not_grow_with_cases(self):
        def count(cases):
            cases.invalidate_recordset()
            self.env.flush_all()
            before = self.env.cr.sql_log_count
            self.env["billing.promise"]._get_protected_items(cases)
            return self.env.cr.sql_log_count - before

        cases = self.case
        self.new_promise(100)
        for number in range(6):
            partner = self.env["res.partner"].create({"name": f"P{number}"})
            self.invoice(50, partner=partner)
            cases |= self.new_case(partner)
            self.new_promise(50, case=cases[-1])
        count(cases)
        self.assertEqual(count(cases[:2]), count(cases))

    def test_what_is_decided_stays(self):
        promise = self.new_promise(100)
        self.pay(100, self.old)
        for vals in ({"amount": 50}, {"date": self.day(20)}, {"grace_days": 9}):
            with self.assertRaises(UserError):
                promise.write(vals)
        with self.assertRaises(UserError):
            promise.action_cancel()

    def test_terms_must_make_sense(self):
        stranger = self.item(self.invoice(10, partner=self.other_customer))
        for values in (
            {"amount": 0}, {"amount": -5}, {"days": -1}, {"threshold": 0.0}, {"threshold": 1.2}, {"grace_days": -1},
        ):  # fmt: skip
            with self.subTest(values), self.assertRaises(IntegrityError), mute_logger("odoo.sql_db"):
                self.new_promise(**{"amount": 10, **values})
        with self.assertRaises(ValidationError):
            self.new_promise(10, move_line_ids=[Command.set(stranger.ids)])

    def test_no_promise_on_a_closed_case(self):
        self.case.sudo().state = "closed"
        with self.assertRaises(UserError):
            self.new_promise(10)

    def test_staff_cannot_decide(self):
        promise = self.new_promise(100).with_user(self.collector)
        for vals in ({"state": "kept"}, {"amount_paid": 100}, {"origin": "portal"}):
            with self.assertRaises(AccessError):
                promise.write(vals)
        with self.assertRaises(AccessError):
            self.env["billing.promise"].with_user(self.collector).create(
                {"case_id": self.case.id, "amount": 1, "date": self.day(1), "state": "kept"}
            )

    def test_collector_records_one_on_the_form(self):
        with Form(self.env["billing.promise"].with_user(self.collector)) as form:
            form.case_id = self.case
            form.amount = 100
            form.date = self.day(3)
        self.assertEqual(form.record.user_id, self.collector)
        self.assertEqual((form.record.grace_days, form.record.state), (2, "open"))

    def test_an_accountant_without_billing_role_matches_payments(self):
        promise = self.new_promise(100)
        accountant = self.env["res.users"].create(
            {
                "name": "Accountant", "login": "facts_accountant", "company_id": self.company.id,
                "company_ids": [Command.set(self.company.ids)],
                "group_ids": [Command.set(self.quick_ref("account.group_account_invoice").ids)],
            }
        )  # fmt: skip
        payment = self.pay(100)
        self.item(payment, self.old).with_user(accountant).reconcile()
        self.env.cr.precommit.run()
        self.assertEqual(promise.state, "kept")

    def test_other_currencies_and_customers_are_no_business_of_it(self):
        promise = self.new_promise(100)
        foreign = self.invoice(100, currency=self.other_currency)
        self.pay(100, foreign, currency=self.other_currency)
        theirs = self.invoice(100, partner=self.other_customer)
        self.pay(100, theirs, partner=self.other_customer)
        self.assertEqual(promise.amount_paid, 0)

    def test_matches_without_a_case_cost_one_look(self):
        with patch.object(self.registry["billing.promise"], "_evaluate_cases", side_effect=AssertionError):
            theirs = self.invoice(100, partner=self.other_customer)
            self.pay(100, theirs, partner=self.other_customer)
        self.assertEqual(theirs.amount_residual, 0)
