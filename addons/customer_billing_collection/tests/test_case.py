from freezegun import freeze_time

from odoo.tests import tagged

from .common import CollectionCommon


@tagged("post_install", "-at_install")
class TestCase(CollectionCommon):
    @freeze_time("2026-03-11")
    def test_a_case_opens_and_closes_by_itself(self):
        bill = self.invoice("2026-03-10", 100.0)
        self.invoice("2026-04-30", 50.0)
        self.night()
        case = self.case()
        self.assertEqual(
            (case.state, case.amount_overdue, case.amount_open, case.days_overdue, case.policy_id, case.collector_id),
            ("open", 100.0, 150.0, 1, self.policy, self.collector),
        )
        self.assertEqual((case.next_step_id, str(case.next_step_date)), (self.step("Friendly"), "2026-03-13"))
        self.assertEqual(str(case.next_action_date), "2026-03-13")
        self.assertEqual(self.customer.billing_last_case_ids, case, "on the screen of the customer")
        self.assertEqual(case.action_view_customer()["res_id"], self.customer.id)
        self.pay("2026-03-11", 100.0, invoices=bill)
        self.env.cr.precommit.run()
        self.assertEqual((case.state, case.close_reason, str(case.date_closed)), ("closed", "paid", "2026-03-11"))

    @freeze_time("2026-03-20")
    def test_no_case_for_what_is_in_dispute(self):
        bill = self.invoice("2026-03-01", 100.0)
        self.env["billing.dispute"].create({"name": "Why", "move_id": bill.id})
        self.night()
        self.assertFalse(self.case())

    def test_steps_follow_each_other(self):
        self.env["res.lang"]._activate_lang("fr_FR")
        self.collector.lang = "fr_FR"
        self.step("Call").with_context(lang="fr_FR").name = "Appel"
        bill = self.invoice("2026-03-10", 100.0)
        for day, steps in (
            ("2026-03-06", []),
            ("2026-03-07", ["Before"]),
            ("2026-03-10", ["Before"]),
            ("2026-03-13", ["Before", "Friendly"]),
            ("2026-03-14", ["Before", "Friendly"]),
            ("2026-03-20", ["Before", "Friendly", "Call"]),
            ("2026-03-31", ["Before", "Friendly", "Call", "Second"]),
        ):
            with freeze_time(day):
                self.night()
                self.assertEqual(self.sent(), steps, day)
        case = self.case()
        self.assertEqual(case.step_id, self.step("Second"))
        self.assertEqual(case.activity_ids.user_id, self.collector)
        self.assertEqual(case.activity_ids.summary, "Appel", "in the collector's language")
        with freeze_time("2026-04-12"):
            self.night()
            letter = case.notice_ids.filtered(lambda n: n.step_id == self.step("Final"))
            self.assertEqual(letter.state, "queued")
            letter.with_user(self.collector).action_print()
            self.assertEqual(letter.state, "sent")
            self.pay("2026-04-12", 100.0, invoices=bill)
            self.env.cr.precommit.run()
            self.assertEqual(case.state, "closed")

    @freeze_time("2026-03-20")
    def test_a_dispute_shows_at_once(self):
        bill = self.invoice("2026-03-15", 100.0)
        self.night()
        dispute = self.env["billing.dispute"].create({"name": "Why", "move_id": bill.id})
        self.env.cr.precommit.run()
        self.assertEqual(self.case().state, "disputed")
        dispute.write({"state": "rejected", "resolution": "All right"})
        self.env.cr.precommit.run()
        self.assertEqual(self.case().state, "open")
