from unittest.mock import patch

from freezegun import freeze_time

from odoo.exceptions import UserError
from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import CollectionCommon

NIGHT = "odoo.addons.customer_billing_collection.models.billing_case_night"


@tagged("post_install", "-at_install")
class TestNight(CollectionCommon):
    def new_customers(self, count, bills=2):
        partners = self.env["res.partner"].create(
            [{"name": f"Customer {n}", "email": f"c{n}@customer.example"} for n in range(count)]
        )
        for partner in partners:
            for number in range(bills):
                self.invoice(f"2026-03-0{number + 1}", 10.0, partner=partner)
        return partners

    def settle(self, partner):
        """Match all that is open of a customer."""
        self.env["account.move.line"].search(
            [
                ("partner_id", "=", partner.id),
                ("account_type", "=", "asset_receivable"),
                ("parent_state", "=", "posted"),
            ]
        ).reconcile()

    def count_queries(self, method, *args):
        self.env.flush_all()
        self.env.invalidate_all()
        before = self.env.cr.sql_log_count
        result = method(*args)
        self.env.flush_all()
        return self.env.cr.sql_log_count - before, result

    @freeze_time("2026-03-14")
    def test_invariant_10_queries_do_not_grow_with_customers_or_items(self):
        cases = self.env["billing.case"].sudo()
        counts = {}
        # The first time fills what is cached for all time, on both days: what else ran before decides what it lacks.
        for label, count, bills in (("caches", 2, 2), ("few", 4, 2), ("many", 8, 2), ("long", 8, 6)):
            ids = self.new_customers(count, bills).ids
            first, _result = self.count_queries(cases._attempt_chunk, self.company, ids)
            with freeze_time("2026-03-15"):
                again, _result = self.count_queries(cases._attempt_chunk, self.company, ids)
            counts[label] = (first, again)
            self.assertEqual(len(cases.search([("partner_id", "in", ids)])), count)
            self.assertEqual(len(cases.search([("partner_id", "in", ids)]).notice_ids), count)
        self.assertEqual(counts["few"], counts["many"])
        self.assertEqual(counts["few"], counts["long"])

    @freeze_time("2026-03-14")
    def test_invariant_10_closing_many_cases(self):
        cases = self.env["billing.case"].sudo()
        counts = []
        for number in (1, 4, 8):
            partners = self.new_customers(number)
            cases._attempt_chunk(self.company, partners.ids)
            bills = self.env["account.move"].search([("partner_id", "in", partners.ids)])
            for partner in partners:
                self.pay("2026-03-14", 20.0, partner=partner)
                self.settle(partner)
            self.assertEqual(set(bills.mapped("amount_residual")), {0.0})
            self.env.cr.precommit.data.pop("billing_case_partners", None)
            self.env.cr.precommit.clear()
            counts.append(self.count_queries(cases._attempt_chunk, self.company, partners.ids)[0])
            self.assertEqual(set(cases.search([("partner_id", "in", partners.ids)]).mapped("state")), {"closed"})
        self.assertEqual(counts[1], counts[2])

    @freeze_time("2026-03-14")
    @mute_logger(NIGHT)
    def test_one_bad_customer_stops_nobody(self):
        self.invoice("2026-03-10", 100.0)
        self.invoice("2026-03-10", 100.0, partner=self.other_customer)
        self.night(send=False)
        bad = self.customer
        prepare = type(self.env["billing.case"])._prepare_refreshed

        def fail(case, *args):
            if case.partner_id == bad:
                raise ValueError("broken")
            return prepare(case, *args)

        with patch.object(self.registry["billing.case"], "_prepare_refreshed", fail), freeze_time("2026-03-20"):
            self.night()
        self.assertEqual(self.case().error, "broken")
        self.assertEqual(self.sent(self.case(self.other_customer))[-1], "Call")
        item = next(
            item for item in self.env["billing.health"]._get_health_items() if "could not work on" in item["label"]
        )
        self.assertEqual((item["value"], item["severity"]), (1, "danger"))
        with freeze_time("2026-03-21"):
            self.night()
        self.assertFalse(self.case().error)

    @freeze_time("2026-03-14")
    @mute_logger(NIGHT)
    def test_a_customer_without_a_case_who_fails_is_an_exception(self):
        self.new_staff("manager", login="night_manager")
        self.invoice("2026-03-10", 100.0)
        self.invoice("2026-03-10", 100.0, partner=self.other_customer)
        is_open = type(self.env["billing.case"])._is_to_open

        def fail(case, rows, *args):
            if rows[0]["move_line_id"] == self.item(bad).id:
                raise ValueError("broken")
            return is_open(case, rows, *args)

        bad = self.env["account.move"].search([("partner_id", "=", self.customer.id)], limit=1)
        with patch.object(self.registry["billing.case"], "_is_to_open", fail):
            for _night in range(2):
                self.night(send=False)
        self.assertFalse(self.case())
        self.assertTrue(self.case(self.other_customer))
        exception = self.env["billing.exception"].search([("partner_id", "=", self.customer.id)])
        self.assertEqual((len(exception), exception.state, exception.message), (1, "open", "broken"))
        self.assertTrue(exception.user_id.has_group("customer_billing.group_billing_manager"))
        self.assertEqual(exception.activity_ids.user_id, exception.user_id)
        items = {item["label"]: item["value"] for item in self.env["billing.health"]._get_health_items()}
        self.assertGreaterEqual(items["Open blocking exceptions"], 1)
        self.night(send=False)
        self.assertEqual((exception.state, bool(self.case())), ("resolved", True))

    @freeze_time("2026-03-14")
    def test_numbers_of_the_company(self):
        self.invoice("2026-03-10", 100.0)
        for code, prefix in (("billing.case", "OWN/"), ("billing.dunning.notice", "MINE/")):
            self.env["ir.sequence"].sudo().create(
                {"name": code, "code": code, "prefix": prefix, "company_id": self.company.id}
            )
        self.night()
        self.assertTrue(self.case().name.startswith("OWN/"))
        self.assertTrue(self.case().notice_ids.name.startswith("MINE/"))
        self.env["ir.sequence"].sudo().search([("code", "=", "billing.case")]).unlink()
        with self.assertRaisesRegex(UserError, "no number sequence"):
            self.env["ir.sequence"]._get_billing_numbers("billing.case", 1, self.company)

    @freeze_time("2026-03-14")
    def test_the_night_goes_on_where_it_was_stopped(self):
        partners = self.new_customers(3, 1)
        seen = []

        def note(_self, _company, ids, raising=()):
            seen.extend(ids)

        chunks = patch.object(self.registry["billing.case"], "_attempt_chunk", note)
        with chunks, patch(f"{NIGHT}.CHUNK_SIZE", 2), self.in_job():
            self.env["billing.case"]._work_night(self.company)
            self.assertEqual(seen[-3:], partners.ids)
            self.env["billing.case"]._work_night(self.company)
            self.assertEqual(seen.count(partners.ids[0]), 1)
            self.company.billing_dunning_partner = partners.ids[0]
            self.env["billing.case"]._work_night(self.company)
        self.assertEqual(seen[-2:], partners.ids[1:])

    @freeze_time("2026-03-14")
    def test_many_payments_are_looked_at_by_the_job(self):
        partners = self.new_customers(3, 1)
        self.env["billing.case"]._refresh_customers(self.company, partners.ids)
        bills = self.env["account.move"].search([("partner_id", "in", partners.ids)])
        refresh = "odoo.addons.customer_billing_collection.models.billing_case_refresh"
        with patch(f"{refresh}.INLINE_REFRESHES", 2):
            for partner in partners:
                self.pay("2026-03-14", 10.0, partner=partner)
                self.settle(partner)
            self.env["billing.case"]._note_changes(partners.ids)
            self.env.cr.precommit.run()
        cases = self.env["billing.case"].search([("partner_id", "in", partners.ids)])
        self.assertEqual(set(bills.mapped("amount_residual")), {0.0})
        with self.in_job():
            self.env["billing.case"]._cron_refresh()
        self.assertEqual(set(cases.mapped("state")), {"closed"})

    @freeze_time("2026-03-14")
    def test_priority_is_explained(self):
        bill = self.invoice("2026-02-12", 100.0)
        paid = self.invoice("2026-02-01", 10.0)
        self.pay("2026-02-01", 10.0, invoices=paid)
        self.night()
        case = self.case()
        self.assertEqual(case.priority, 300)  # 100 × 2 (30 days) × 1.5 (one of two bills late)
        for text in ("100.00", "30 days", "50 %"):
            self.assertIn(text, case.priority_text)
        self.assertIn(bill.name, case.items_html)


@tagged("post_install", "-at_install")
class TestWork(CollectionCommon):
    """The worklist and phone work."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.third = cls.env["res.partner"].create({"name": "Customer Three"})

    def call(self, case, outcome, **values):
        return self.env["billing.case.call"].with_user(self.collector).create(
            {"case_id": case.id, "outcome": outcome, **values}
        )

    def cases(self):
        for partner, amount in ((self.customer, 10.0), (self.other_customer, 500.0), (self.third, 100.0)):
            self.invoice("2026-03-01", amount, partner=partner)
        self.night()
        cases = [self.case(partner) for partner in (self.customer, self.other_customer, self.third)]
        for case in cases:
            self.assertEqual(str(case.next_action_date), "2026-03-14")  # the call
        return cases

    @freeze_time("2026-03-14")
    def test_the_next_case_is_the_most_important_one(self):
        small, large, middle = self.cases()
        todo = self.env["billing.case"].with_user(self.collector)
        self.assertEqual(todo.action_call_next()["res_id"], large.id)
        action = self.call(large, "no_answer").action_done_next()
        self.assertEqual(action["res_id"], middle.id)
        self.assertEqual(str(large.next_action_date), "2026-03-15")
        self.assertFalse(large.activity_ids)
        action = self.call(middle, "promised").action_done_next()
        self.assertEqual(action["res_id"], small.id)
        action = self.call(small, "other", note="Wants to think").action_done_next()
        self.assertEqual(action["tag"], "display_notification")

    @freeze_time("2026-03-14")
    def test_each_outcome_writes_its_fact(self):
        small, large, middle = self.cases()
        call = self.call(small, "promised", promise_amount=10.0, promise_date="2026-03-20")
        self.assertFalse(call.promise_warning)
        call.promise_amount = 9.0
        self.assertIn("95 %", call.promise_warning)
        call.promise_amount = 10.0
        call.action_done()
        promise = small.promise_ids
        self.assertEqual((promise.amount, promise.user_id, small.state), (10.0, self.collector, "promised"))
        self.assertFalse(small.next_action_manual)
        bill = self.env["account.move"].search([("partner_id", "=", self.other_customer.id)])
        call = self.call(large, "dispute", move_id=bill.id, note="Too much")
        self.assertEqual(call.move_ids, bill)
        call.action_done()
        self.assertEqual(self.env["billing.dispute"].search([("move_id", "=", bill.id)]).description, "Too much")
        self.assertEqual(large.state, "disputed")
        self.call(middle, "wrong_number").action_done()
        self.assertEqual(middle.activity_ids.activity_type_id, self.env.ref("mail.mail_activity_data_todo"))
        self.call(middle, "paid").action_done()
        self.assertEqual((middle.promise_ids.amount, middle.state), (100.0, "promised"))

    @freeze_time("2026-03-14")
    def test_a_date_set_by_a_person_stays(self):
        case, *_others = self.cases()
        case.with_user(self.collector).next_action_date = "2026-03-18"
        with freeze_time("2026-03-15"):
            self.night()
        self.assertEqual((str(case.next_action_date), case.next_action_manual), ("2026-03-18", True))

    @freeze_time("2026-03-14")
    def test_merged_customers_have_one_case(self):
        small, large, _middle = self.cases()
        promise = self.env["billing.promise"].create(
            {"case_id": small.id, "amount": 10.0, "date": "2026-03-20"}
        )
        self.env["base.partner.merge.automatic.wizard"]._merge(
            (self.customer | self.other_customer).ids, self.other_customer
        )
        self.env.invalidate_all()
        self.assertEqual((small.state, small.close_reason, large.state), ("closed", "merged", "open"))
        self.assertEqual(promise.case_id, large)
        self.assertEqual(small.partner_id, self.other_customer)
        self.night()
        self.assertEqual(large.amount_overdue, 510.0)
