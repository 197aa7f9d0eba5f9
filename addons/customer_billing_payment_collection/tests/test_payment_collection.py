from datetime import timedelta
from unittest.mock import patch

from markupsafe import escape

from odoo import fields
from odoo.tests import tagged

from odoo.addons.customer_billing_collection.tests.common import CollectionCommon
from odoo.addons.customer_billing_payment.tests.common import PaymentBillingCommon

CHARGE = "odoo.addons.customer_billing_payment_collection.models.billing_case_charge"


@tagged("post_install", "-at_install")
class TestPaymentCollection(PaymentBillingCommon, CollectionCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.policy = cls.new_policy({"name": "Before", "days": -3}, {"name": "Friendly", "days": 3})
        cls.company.billing_dunning_policy_id = cls.policy
        cls.move = cls.contract_bill()
        cls.consent = cls.mandate()

    def overdue(self, days):
        """The bill was due so many days ago."""
        self.move.invoice_date_due -= timedelta(days=days)

    def decline(self, message="expired_card"):
        self.answers = dict.fromkeys(range(1, 9), lambda tx: tx._set_error(message))
        self.charge()
        self.env.cr.precommit.run()

    def excluded(self):
        """Why the bill is not demanded, as a case would see it."""
        items = self.env["billing.case"]._read_items(self.company, self.today, self.customer.ids)
        [row] = items[self.customer.id, self.company.currency_id.id]
        return row["excluded"]

    # Not demanded while it is charged

    def test_no_reminder_before_the_automatic_payment(self):
        self.overdue(-2)  # the reminder before the due date is due
        self.night()
        self.assertFalse(self.case())
        self.consent.action_revoke()
        self.night()
        self.assertEqual(self.sent(), ["Before"])

    def test_no_reminder_until_the_job_has_had_its_day(self):
        self.company.billing_charge_days = 5
        self.overdue(4)
        self.assertEqual(self.excluded(), "charge")
        self.night()
        self.assertFalse(self.case())
        self.overdue(9)  # the job stands still: nobody waits for it any longer
        self.assertFalse(self.excluded())
        self.night()
        self.assertEqual(self.sent(), ["Friendly"])

    def test_a_retry_that_is_scheduled_keeps_it_out_of_dunning(self):
        self.overdue(4)
        self.decline("Insufficient funds")
        self.assertEqual((self.move.billing_charge_state, self.excluded()), ("retry", "charge"))
        self.night()
        self.assertFalse(self.case())
        self.consent.action_revoke()
        self.assertFalse(self.excluded(), "nobody charges it any more")

    def test_skipped_with_the_reason_where_there_is_a_case(self):
        self.overdue(4)
        self.consent.action_revoke()
        self.night(send=False)
        notice = self.case().notice_ids
        self.assertEqual(notice.state, "queued")
        self.mandate()
        self.send()
        self.assertEqual((notice.state, notice.reason_code), ("skipped", "charge"))
        self.assertEqual(notice.reason, "It is paid automatically.")
        self.assertIn("Automatic payment", self.case().items_html)
        self.night()
        self.assertEqual((notice.state, notice.reason_code), ("skipped", "charge"))
        self.assertEqual(self.env["billing.case"]._get_portal_labels()["charge"], "Paid automatically")

    def test_an_unknown_outcome_waits_for_a_person(self):
        self.overdue(4)
        self.answers = {1: lambda tx: None}  # it never answers
        self.charge()
        self.assertEqual(self.excluded(), "transit")
        attempt = self.attempts(self.move).sudo()
        attempt.date -= timedelta(days=9)
        self.charge()
        self.assertEqual((attempt.state, self.excluded()), ("unknown", "transit"))
        self.night()
        self.assertFalse(self.case())
        attempt.action_set_paid()
        self.night()
        self.assertFalse(self.case())

    # Handed over when it has failed

    def test_a_hard_decline_opens_the_case_at_once(self):
        self.decline("Your card was reported stolen.")
        case = self.case()
        self.assertEqual((case.state, case.amount_open), ("open", self.move.amount_total))
        self.assertEqual((case.collector_id, case.next_action_date), (self.collector, self.today))
        self.assertEqual(case.activity_ids.user_id, self.collector)
        self.assertIn(f"{self.move.name}: Your card was reported stolen.", str(case.activity_ids.note))
        self.assertIn(self.move.name, " ".join(case.message_ids.mapped("body")))
        self.night()
        self.assertEqual((self.case(), self.sent(case)), (case, ["Before"]), "the steps come on their days")
        self.move.action_billing_charge()
        case._refresh()
        self.assertEqual((case.state, self.excluded()), ("open", "charge"))
        self.answers = {}
        self.charge()
        self.env.cr.precommit.run()
        self.assertEqual((case.state, case.close_reason), ("closed", "paid"))
        self.assertFalse(case.activity_ids)

    def test_dunning_goes_on_when_the_retries_are_exhausted(self):
        self.company.billing_charge_retry_days = "3"
        self.overdue(4)
        self.decline("Insufficient funds")
        self.later(self.move, 3)
        self.charge()
        self.assertEqual((self.move.billing_charge_state, len(self.requests)), ("failed", 2))
        case = self.case()
        reason = case.priority_reason
        self.assertEqual(reason["charge_factor"], 1.5)
        plain = round(reason["amount"] * reason["age_factor"] * reason["behaviour_factor"])
        self.assertEqual(case.priority, round(plain * 1.5))
        self.assertIn("× 1.5 (automatic payment declined)", case.priority_text)
        self.night()
        notice = case.notice_ids.filtered(lambda notice: notice.state == "sent")
        self.assertEqual((notice.step_id.name, notice.amount), ("Friendly", self.move.amount_total))
        self.assertIn("Automatic payment declined on", notice.mail_message_id.body)

    def test_other_bills_are_listed_as_ever(self):
        self.overdue(4)
        other = self.open_bill(30, days=-4)
        self.decline()
        self.night()
        body = self.case().notice_ids.mail_message_id.body
        self.assertIn(other.name, body)
        self.assertEqual(body.count("Automatic payment declined on"), 1)

    def test_without_a_policy_there_is_no_case(self):
        self.company.billing_dunning_policy_id = False
        self.decline()
        self.assertEqual(self.move.billing_charge_state, "failed")
        self.assertFalse(self.case())

    def test_credits_that_cover_it_open_no_case(self):
        self.pay_in(self.move.amount_total)
        self.decline()
        self.assertFalse(self.case())

    def test_two_bills_of_a_customer_in_one_case(self):
        second = self.contract_bill()
        self.decline()
        case = self.case()
        self.assertEqual(len(case.activity_ids), 2)
        for move in self.move | second:
            self.assertIn(move.name, " ".join(case.message_ids.mapped("body")))

    def test_an_error_of_collections_does_not_stop_the_answer(self):
        model = self.registry["billing.case"]

        def fail(*_args):
            raise ValueError("broken")

        with patch.object(model, "_refresh_customers", fail), self.assertLogs(CHARGE, "ERROR"):
            self.decline()
        self.assertEqual(self.move.billing_charge_state, "failed")
        self.assertEqual(self.attempts(self.move).state, "declined")
        self.overdue(1)
        self.night()
        self.assertEqual(self.case().state, "open")

    def test_invariant_10_queries_do_not_grow_with_bills(self):
        def count(partner):
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            self.env["billing.case"]._read_items(self.company, self.today, partner.ids)
            return self.env.cr.sql_log_count - before

        self.mandate(self.new_token(self.other_customer), user=self.user_two)
        start = fields.Date.to_string(self.today)
        contracts = self.env["billing.contract"].union(
            *(
                self.new_contract(start, plan_id=self.plan_charge.id, partner_id=self.other_customer.id)
                for _number in range(6)
            )
        )
        self.bill(start, contracts)
        count(self.customer)
        self.assertLessEqual(count(self.other_customer), count(self.customer))

    def test_a_notice_links_to_the_payment_of_what_it_demands(self):
        self.consent.action_revoke()
        self.overdue(4)
        self.night(send=False)
        notice = self.case().notice_ids
        self.assertIn(f"/my/invoices/{self.move.id}?", notice._get_payment_url(), "all of one bill: its own page")
        self.open_bill(30, days=-4)
        self.pay_in(10)
        self.send()
        self.assertEqual(notice.amount, self.move.amount_total + 20)
        url = notice._get_payment_url()
        self.assertTrue(url.endswith(f"&amount={notice.amount:.2f}"), url)
        self.assertIn(escape(url), notice.mail_message_id.body)

    def test_the_next_part_of_an_agreement_is_paid_online(self):
        self.consent.action_revoke()
        self.overdue(4)
        self.night(send=False)
        agreement = self.env["billing.instalment"].create({"case_id": self.case().id})
        agreement.action_make_schedule(2, str(self.today + timedelta(days=1)))
        agreement.action_offer()
        self.assertFalse(agreement._get_payment_url(), "not confirmed yet")
        agreement.action_confirm("Ann Lee", "by telephone")
        part = agreement.line_ids[0].amount
        self.assertTrue(agreement._get_payment_url().endswith(f"&amount={part:.2f}"))
