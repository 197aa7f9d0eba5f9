from datetime import date, timedelta
from unittest.mock import patch

from freezegun import freeze_time

from odoo import Command, fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import CollectionCommon

DELIVERY = "odoo.addons.customer_billing_collection.models.billing_dunning_notice_delivery"


@tagged("post_install", "-at_install")
class TestSending(CollectionCommon):
    """What is read again at the moment of sending."""

    def propose(self, due="2026-03-10", amount=100.0, **values):
        """A bill, and its first reminder in the queue."""
        bill = self.invoice(due, amount, **values)
        self.night(send=False)
        self.notice = self.case().notice_ids
        self.assertEqual(self.notice.state, "queued")
        return bill

    def assert_left_out(self, reason):
        self.send()
        self.assertEqual((self.notice.state, self.notice.reason_code), ("skipped", reason))
        self.assertTrue(self.notice.reason)
        self.assertFalse(self.notice.mail_message_id)

    @freeze_time("2026-03-14")
    def test_invariant_14_paid_between_proposal_and_sending(self):
        bill = self.propose()
        self.pay("2026-03-14", 100.0, invoices=bill)
        self.assert_left_out("paid")
        self.env.cr.precommit.run()
        self.assertEqual(self.case().state, "closed")

    @freeze_time("2026-03-14")
    def test_invariant_14_partial_payment_is_deducted(self):
        bill = self.propose()
        self.pay("2026-03-14", 30.0, invoices=bill)
        self.send()
        self.assertEqual((self.notice.state, self.notice.amount), ("sent", 70.0))
        self.assertEqual(self.notice.line_ids.mapped("amount"), [70.0])

    @freeze_time("2026-03-14")
    def test_invariant_14_credit_note_larger_than_the_debt(self):
        self.propose()
        self.invoice("2026-03-14", -150.0, date="2026-03-14")
        self.assert_left_out("credits")

    @freeze_time("2026-03-14")
    def test_invariant_14_open_credits_are_netted_and_shown(self):
        self.propose()
        self.invoice("2026-03-14", -40.0, date="2026-03-14")
        self.send()
        self.assertEqual(self.notice.amount, 60.0)
        self.assertEqual(self.notice.line_ids.mapped("amount"), [100.0, -40.0])

    @freeze_time("2026-03-14")
    def test_invariant_14_unallocated_payment(self):
        self.propose()
        self.pay("2026-03-14", 100.0)
        self.assert_left_out("credits")

    @freeze_time("2026-03-14")
    def test_invariant_14_dispute_since_the_proposal(self):
        bill = self.propose()
        dispute = self.env["billing.dispute"].create({"name": "Why", "move_id": bill.id})
        self.assert_left_out("dispute")
        self.assertEqual(self.case().state, "disputed")
        dispute.write({"state": "rejected", "resolution": "All right"})
        self.night()
        self.assertEqual((self.notice.state, self.case().state), ("sent", "open"))

    def prepare_transit(self, amount, bill, **values):
        """A payment that was announced, as ``_get_in_transit`` tells it."""
        return {
            "kind": "announced", "partner_id": self.customer.id, "date": fields.Date.today(), "name": "P",
            "company_id": self.company.id, "currency_id": self.company.currency_id.id,
            "amount": amount, "move_ids": bill.ids, **values,
        }  # fmt: skip

    @freeze_time("2026-03-14")
    def test_invariant_14_payment_on_its_way(self):
        bill = self.propose()
        payment = self.env["account.payment"].create(
            {
                "payment_type": "inbound", "partner_type": "customer", "partner_id": self.customer.id, "amount": 100.0,
                "date": "2026-03-14", "journal_id": self.company_data["default_journal_bank"].id,
                "invoice_ids": [Command.set(bill.ids)],
            }
        )  # fmt: skip
        found = [self.prepare_transit(100.0, bill, payment_id=payment.id)]
        with patch.object(self.registry["billing.receivable"], "_get_in_transit", lambda _self, _lines: found):
            self.assert_left_out("transit")
        found[0]["amount"] = 60.0
        self.night(send=False)
        with patch.object(self.registry["billing.receivable"], "_get_in_transit", lambda _self, _lines: found):
            self.send()
        self.assertEqual((self.notice.state, self.notice.amount), ("sent", 40.0))

    @freeze_time("2026-03-14")
    def test_invariant_14_below_the_minimum_after_a_payment(self):
        self.policy.minimum_amount = 20.0
        bill = self.propose()
        self.pay("2026-03-14", 90.0, invoices=bill)
        self.assert_left_out("minimum")

    @freeze_time("2026-03-14")
    def test_invariant_14_the_older_item_is_paid(self):
        bill = self.propose()
        self.invoice("2026-03-13", 50.0)
        self.pay("2026-03-14", 100.0, invoices=bill)
        self.assert_left_out("paid")
        self.assertEqual(self.case().state, "open")

    @freeze_time("2026-03-14")
    def test_invariant_14_one_message_lists_all_items(self):
        first, second = self.invoice("2026-03-10", 100.0), self.invoice("2026-03-12", 20.0)
        self.invoice("2026-05-30", 7.0)
        self.night()
        notice = self.case().notice_ids
        self.assertEqual(notice.line_ids.move_id, first | second)
        self.assertEqual(notice.amount, 120.0)
        mails = self.env["mail.mail"].search([("mail_message_id", "=", notice.mail_message_id.id)])
        self.assertEqual(len(mails), 1)
        self.assertEqual(mails.state, "outgoing")
        for text in ("Collection Case", "/mail/view", "data:image"):
            self.assertNotIn(text, mails.body_html)
        self.assertIn("/web/image/", mails.body_html)  # the QR code
        self.assertEqual(notice.mail_message_id.partner_ids, self.customer)
        for text in (first.name, second.name, "120.00"):
            self.assertIn(text, notice.mail_message_id.body)

    @freeze_time("2026-03-14 12:00:00")
    def test_reminders_share_the_limit_of_mails(self):
        self.company.billing_mails_per_hour = 1
        for partner in (self.customer, self.other_customer):
            self.invoice("2026-03-10", 100.0, partner=partner)
        self.night()
        notices = (self.case() | self.case(self.other_customer)).notice_ids
        self.assertEqual(sorted(notices.mapped("state")), ["queued", "sent"])
        self.send()
        self.assertEqual(notices.mapped("state").count("sent"), 1)
        notices.filtered(lambda notice: notice.state == "queued").action_send()
        self.assertEqual(notices.mapped("state").count("sent"), 1)
        with freeze_time("2026-03-14 13:00:01"):
            self.send()
        self.assertEqual(set(notices.mapped("state")), {"sent"})
        self.assertEqual(len(notices.mail_message_id), 2)

    @freeze_time("2026-03-14")
    def test_each_recipient_reads_the_own_language(self):
        self.env["res.lang"]._activate_lang("zh_CN")
        contacts = self.env["res.partner"].create(
            [
                {"name": lang, "parent_id": self.customer.id, "email": f"{lang}@customer.example", "lang": lang,
                 "billing_role_collection": True}
                for lang in ("en_US", "zh_CN")
            ]
        )  # fmt: skip
        self.propose()
        template = self.notice._get_template()
        template.with_context(lang="en_US").subject = "In English"
        template.with_context(lang="zh_CN").subject = "中文"
        self.send()
        messages = self.notice._get_messages()
        self.assertEqual(
            {(message.subject, message.partner_ids) for message in messages},
            {("In English", contacts[0]), ("中文", contacts[1])},
        )
        other = self.notice.other_message_ids
        other.notification_ids.sudo().write({"notification_status": "bounce", "failure_reason": "no such user"})
        self.env["billing.dunning.notice"]._note_delivery_failures()
        self.assertIn("no such user", self.notice.error)
        proof = self.case()._write_handover_notices().decode()
        for message in messages:
            self.assertIn(message.message_id, proof)

    def test_invariant_14_never_back_to_an_earlier_step(self):
        old = self.invoice("2026-03-10", 100.0)
        with freeze_time("2026-03-31"):
            self.night()
        self.assertEqual(self.sent(), ["Second"])
        case = self.case()
        self.invoice("2026-03-30", 50.0)
        self.pay("2026-04-01", 99.0, invoices=old)
        for day in ("2026-04-03", "2026-04-09"):
            with freeze_time(day):
                self.night()
        self.assertEqual((self.case(), self.sent()), (case, ["Second"]))
        with freeze_time("2026-05-01"):
            self.night()
        self.assertEqual(case.notice_ids.filtered(lambda n: n.state == "queued").step_id.name, "Final")

    def test_invariant_14_a_later_debt_begins_at_its_own_step(self):
        old = self.invoice("2026-03-10", 100.0)
        with freeze_time("2026-03-31"):
            self.night()
        case = self.case()
        case.with_user(self.collector).collector_id = second = self.new_staff("collector", login="col_second")
        late = self.invoice("2026-03-30", 50.0)
        self.invoice("2026-04-04", 70.0)  # was reminded of before it is due
        with freeze_time("2026-04-01"):
            self.night()
            self.assertEqual(self.sent(), ["Second", "Before"])
            self.pay("2026-04-01", 100.0, invoices=old)
            self.env.cr.precommit.run()
        new = self.case()
        self.assertEqual((case.state, case.close_reason), ("closed", "paid"))
        self.assertNotEqual(new, case)
        self.assertEqual((new.state, new.amount_overdue, new.collector_id), ("open", 50.0, second))
        self.assertEqual((new.next_step_id.name, str(new.next_step_date)), ("Friendly", "2026-04-02"))
        with freeze_time("2026-04-02"):
            self.night()
            self.night()
        self.assertEqual(self.sent(new), ["Friendly"])
        self.assertEqual(new.notice_ids.line_ids.move_id, late)

    def work_nights(self, *days):
        for day in days:
            with freeze_time(f"2026-{day}"):
                self.night()

    def test_invariant_14_what_was_demanded_keeps_its_step_in_another_case(self):
        old = self.invoice("2026-03-10", 100.0)
        self.work_nights("03-21")
        case = self.case()
        credit = self.pay("2026-03-22", 100.0)  # nobody knows yet what it is for
        self.work_nights("03-22")
        self.assertEqual((case.state, case.close_reason, self.sent()), ("closed", "paid", ["Call"]))
        late = self.invoice("2026-03-23", 50.0)
        self.work_nights("03-24", "03-25", "03-26")
        new = self.case()
        self.assertNotEqual(new, case)
        self.assertEqual((self.sent(new), new.notice_ids.amount), (["Friendly"], 50.0), "what the credit leaves over")
        self.assertEqual(new.notice_ids.line_ids.move_id, old | late | credit)
        with freeze_time("2026-03-27"):
            self.match(credit, late)  # so the older bill is not paid
            self.env.cr.precommit.run()
        self.assertEqual((new.state, new.step_id.name, new.step_days), ("open", "Call", 10))
        self.work_nights("03-27", "03-28")
        self.assertEqual(self.sent(new), ["Friendly"])
        self.assertEqual((new.next_step_id.name, str(new.next_step_date)), ("Second", "2026-03-30"))
        self.work_nights("03-30")
        self.assertEqual(self.sent(new), ["Friendly", "Second"])
        with freeze_time("2026-03-31"):
            self.invoice("2026-03-28", 30.0)
            self.match(credit, old)
            self.pay("2026-03-31", 50.0, invoices=old)
            self.env.cr.precommit.run()
        self.assertEqual((new.state, self.case().next_step_id.name), ("closed", "Friendly"), "all of that is settled")

    def test_invariant_14_what_a_credit_covers_hands_on_no_step(self):
        old = self.invoice("2026-03-10", 100.0)
        self.work_nights("03-21")
        self.pay("2026-03-22", 100.0)
        self.work_nights("03-22")
        late = self.invoice("2026-03-23", 50.0)
        self.work_nights("03-26")
        case = self.case()
        self.assertEqual(self.sent(), ["Friendly"])
        with freeze_time("2026-03-27"):  # of the older bill too, which was demanded by “Call”
            values = {"amount": 150.0, "date": "2026-03-28", "move_line_ids": self.item(old) | self.item(late)}
            promise = self.env["billing.promise"].create({"case_id": case.id, "grace_days": 0, **values})
            case.action_propose()
        self.assertEqual((case.state, case.step_id.name), ("promised", "Friendly"))
        self.work_nights("03-29")
        self.assertEqual((promise.state, case.step_id.name, case.next_step_id.name), ("broken", "Friendly", "Call"))
        self.work_nights("04-02")
        self.assertEqual(self.sent(), ["Friendly", "Call"])

    def test_invariant_14_a_payment_that_came_back(self):
        old = self.invoice("2026-03-10", 100.0)
        self.work_nights("03-21")
        case = self.case()
        payment = self.pay("2026-03-22", 100.0, invoices=old)
        self.env.cr.precommit.run()
        self.assertEqual(case.state, "closed")
        self.invoice("2026-03-23", 50.0)
        with freeze_time("2026-03-26"):
            self.night(send=False)
            notice = self.case().notice_ids
            self.assertEqual((notice.step_id.name, notice.state), ("Friendly", "queued"))
            payment.button_draft()
            self.send()  # before the case was looked at again
        self.assertEqual(notice.state, "skipped", "the older bill had its reminder")
        self.work_nights("03-27", "03-29")
        self.assertEqual((self.sent(), self.case().step_id.name), ([], "Call"))
        self.work_nights("03-30")
        self.assertEqual(self.sent(), ["Second"])

    def test_invariant_14_an_older_debt_goes_on_at_its_own_step(self):
        old = self.invoice("2026-03-10", 100.0)
        self.work_nights("03-13")
        payment = self.pay("2026-03-14", 100.0, invoices=old)
        self.env.cr.precommit.run()
        late = self.invoice("2026-03-15", 100.0)
        self.work_nights("04-04")
        case = self.case()
        self.assertEqual(self.sent(), ["Second"])
        with freeze_time("2026-04-05"):
            self.item(payment).remove_move_reconcile()
            self.match(payment, late)
            self.env.cr.precommit.run()
        self.assertEqual(case.state, "closed", "all is settled that was demanded with its step")
        self.assertEqual((self.case().step_id.name, self.case().next_step_id.name), ("Friendly", "Second"))
        self.work_nights("04-05", "04-06")
        self.assertEqual(self.sent(), ["Second"])
        self.assertEqual(self.case().notice_ids.line_ids.move_id, old)

    @freeze_time("2026-03-31")
    def test_what_is_on_its_way_settles_nothing(self):
        old = self.invoice("2026-03-10", 100.0)
        self.night()
        case = self.case()
        self.invoice("2026-03-30", 50.0)
        for amount in (100.0, 60.0):
            found = [self.prepare_transit(amount, old)]
            with patch.object(self.registry["billing.receivable"], "_get_in_transit", lambda _self, _l, f=found: f):
                case.sudo()._refresh()
            self.assertEqual((self.case(), case.state, case.step_id.name), (case, "open", "Second"))

    @freeze_time("2026-03-31")
    def test_a_step_waits_for_what_credits_leave_over(self):
        old = self.invoice("2026-03-01", 100.0)
        self.pay("2026-03-05", 100.0)
        self.invoice("2026-03-30", 50.0)
        self.night()
        self.assertEqual((self.skipped(), self.sent()), (["credits"], []))
        self.assertEqual((self.case().next_step_id.name, str(self.case().next_step_date)), ("Friendly", "2026-04-02"))
        self.work_nights("04-02")
        self.assertEqual(self.sent(), ["Friendly"])
        self.assertIn(old, self.case().notice_ids.line_ids.move_id)

    @freeze_time("2026-03-31")
    def test_a_later_debt_waits_for_what_is_agreed_or_in_dispute(self):
        old, late = self.invoice("2026-03-10", 100.0), self.invoice("2026-04-02", 50.0)
        self.night()
        case = self.case()
        with freeze_time("2026-04-06"):
            dispute = self.env["billing.dispute"].create({"name": "Why", "move_id": late.id})
            self.pay("2026-04-06", 100.0, invoices=old)
            self.env.cr.precommit.run()
            self.assertEqual(case.state, "disputed")
            dispute.write({"state": "rejected", "resolution": "All right"})
            self.env.cr.precommit.run()
            self.assertEqual(case.state, "closed")
            self.night()
            self.assertEqual(self.sent(), ["Friendly"])

    @freeze_time("2026-03-14")
    def test_a_step_that_a_person_left_out_settles_nothing(self):
        self.propose()
        case = self.case()
        self.notice.with_user(self.collector).action_cancel()
        self.night()
        self.assertEqual((self.case(), case.state, self.sent()), (case, "open", []))

    @freeze_time("2026-03-31")
    def test_a_later_debt_after_a_merge_of_customers(self):
        old = self.invoice("2026-03-10", 100.0)
        self.invoice("2026-03-29", 50.0, partner=self.other_customer)
        self.night()
        self.env["base.partner.merge.automatic.wizard"]._merge(
            (self.customer | self.other_customer).ids, self.other_customer
        )
        case = self.case(self.other_customer)
        case.sudo()._refresh()
        self.assertEqual((case.state, case.step_id.name), ("open", "Second"), "the demanded debt is open")
        self.pay("2026-03-31", 100.0, self.other_customer, invoices=old)
        self.env.cr.precommit.run()
        self.assertEqual(case.state, "closed")
        self.assertEqual(self.case(self.other_customer).next_step_id.name, "Friendly")

    def test_invariant_14_ten_days_without_the_job(self):
        self.invoice("2026-03-10", 100.0)
        with freeze_time("2026-03-13"):
            self.night()
        with freeze_time("2026-03-31"):
            self.night()
            self.night()
        self.assertEqual(self.sent(), ["Friendly", "Second"])

    def test_invariant_14_a_later_step_takes_the_place_of_one_that_waits(self):
        self.policy.review = True
        self.invoice("2026-03-10", 100.0)
        with freeze_time("2026-03-13"):
            self.night()
        with freeze_time("2026-03-31"):
            self.night()
        notices = {notice.step_id.name: notice for notice in self.case().notice_ids}
        self.assertEqual((notices["Friendly"].state, notices["Friendly"].reason_code), ("cancelled", "superseded"))
        self.assertEqual(notices["Second"].state, "proposed")

    @freeze_time("2026-03-14")
    def test_why_a_lower_step_does_not_go_out_any_more(self):
        self.policy.review = True
        self.invoice("2026-03-10", 100.0)
        self.invoice("2026-03-16", 100.0, partner=self.other_customer)
        self.night()
        friendly, before = self.case().notice_ids, self.case(self.other_customer).notice_ids
        self.assertEqual((friendly.step_id, before.step_id), (self.step("Friendly"), self.step("Before")))
        friendly.case_id.sudo().step_days = 10  # by another case of the customer
        friendly.with_user(self.collector).action_send()
        self.assertEqual((friendly.state, friendly.reason_code), ("skipped", "done"))
        self.assertEqual(friendly.reason, "This step, or a later one, was carried out already.")
        with freeze_time("2026-03-17"):
            self.night()
        self.assertEqual((before.state, before.reason_code), ("skipped", "date_passed"))

    @freeze_time("2026-03-14")
    def test_invariant_14_running_twice_sends_once(self):
        self.propose()
        self.send()
        message = self.notice.mail_message_id
        self.send()
        self.night()
        with self.assertRaises(UserError):
            self.notice.with_user(self.collector).action_send()
        self.assertEqual(self.case().notice_ids, self.notice)
        self.assertEqual(self.notice.mail_message_id, message)

    @freeze_time("2026-03-14")
    def test_a_reminder_comes_once_for_a_due_date(self):
        self.policy.step_ids[0].copy({"policy_id": self.policy.id, "name": "Earlier", "days": -10})
        self.invoice("2026-03-20", 100.0)
        self.invoice("2026-03-21", 10.0)
        self.night()
        self.assertEqual(self.sent(), ["Earlier"])
        self.invoice("2026-03-20", 5.0)  # the same due date: reminded already
        for day, steps in (("2026-03-15", 1), ("2026-03-17", 2), ("2026-03-18", 3), ("2026-03-20", 3)):
            with freeze_time(day):
                self.night()
                self.assertEqual(len(self.sent()), steps, day)
        self.assertEqual(self.case().step_days, 0)

    @freeze_time("2026-03-16")
    def test_customer_without_address_is_called(self):
        self.customer.email = False
        self.invoice("2026-03-10", 100.0)
        self.night()
        case, notice = self.case(), self.case().notice_ids
        self.assertEqual((notice.state, notice.channel, notice.reason_code), ("sent", "call", "no_address"))
        self.assertIn("Customer One", notice.reason)
        self.assertEqual(case.activity_ids.user_id, self.collector)
        self.assertEqual((str(case.next_action_date), case.next_action_manual), ("2026-03-16", True))

    @freeze_time("2026-03-16")
    @mute_logger(DELIVERY)
    def test_a_template_error_stops_no_other_customer(self):
        self.invoice("2026-03-10", 100.0)
        self.invoice("2026-03-10", 100.0, partner=self.other_customer)
        template = self.env.ref("customer_billing_collection.mail_template_reminder")
        template.body_html = """<p><t t-out="1 / (object.partner_id.name != 'Customer One')"/></p>"""
        self.night()
        for _try in range(3):
            self.send()
        notice = self.case().notice_ids
        self.assertEqual((notice.state, notice.tries), ("failed", 3))
        self.assertTrue(notice.error)
        self.assertTrue(self.case().activity_ids)
        self.assertEqual(self.case(self.other_customer).notice_ids.state, "sent")
        template.body_html = "<p>Right</p>"
        notice.with_user(self.collector).action_send()
        self.assertEqual((notice.state, notice.error), ("sent", False))

    @freeze_time("2026-03-16")
    def test_a_deleted_text_is_told(self):
        template = self.env.ref("customer_billing_collection.mail_template_reminder")
        own = template.copy()
        self.step("Friendly").template_id = own
        with self.assertRaisesRegex(UserError, "is the text of step “Friendly”"):
            own.unlink()
        self.step("Friendly").template_id = False
        steps = self.env["billing.dunning.step"].sudo().with_context(active_test=False)
        steps.search([("template_id", "=", template.id)]).template_id = own
        self.invoice("2026-03-10", 100.0)
        self.night(send=False)
        template.unlink()
        self.send()
        notice = self.case().notice_ids
        self.assertIn("“Friendly” was deleted", notice.error)
        self.step("Friendly").template_id = own
        notice.with_user(self.collector).action_send()
        self.assertEqual((notice.state, notice.error), ("sent", False))

    def test_policy_changed_and_archived_in_mid_case(self):
        self.invoice("2026-03-10", 100.0)
        with freeze_time("2026-03-13"):
            self.night()
        other = self.new_policy({"name": "Other", "days": 1})
        self.company.billing_dunning_policy_id = other
        self.policy.active = False
        self.step("Call").active = False
        self.step("Second").days = 2  # before the step that was carried out
        with freeze_time("2026-03-31"):
            self.night()
        self.assertEqual((self.case().policy_id, self.sent()), (self.policy, ["Friendly"]))
        with freeze_time("2026-04-10"):
            self.night()
            self.assertEqual(self.case().notice_ids.filtered(lambda n: n.state == "queued").step_id.name, "Final")
        with self.assertRaises(UserError):
            self.policy.unlink()
        with self.assertRaises(UserError):
            self.step("Friendly").unlink()

    @freeze_time("2026-03-14")
    def test_an_archived_step_that_waits(self):
        self.propose()
        self.step("Friendly").active = False
        self.assert_left_out("archived")

    @freeze_time("2026-03-14")
    def test_instalments_of_a_bill_fall_due_one_by_one(self):
        terms = self.env["account.payment.term"].create(
            {
                "name": "Half and half",
                "line_ids": [
                    Command.create({"value": "percent", "value_amount": 50, "nb_days": days}) for days in (30, 90)
                ],
            }
        )
        self.invoice("2026-02-08", 100.0, date="2026-02-08", invoice_payment_term_id=terms.id,
                     invoice_date_due=False)  # fmt: skip
        self.night()
        self.assertEqual(self.case().amount_overdue, 50.0)
        self.assertEqual(self.case().notice_ids.filtered(lambda n: n.state == "sent").amount, 50.0)

    @freeze_time("2026-03-14")
    def test_invariant_14_two_due_dates_deduct_a_credit_once(self):
        self.policy.step_ids[0].copy({"policy_id": self.policy.id, "name": "Earlier", "days": -20})
        self.invoice("2026-03-16", 100.0)
        self.invoice("2026-04-01", 50.0)
        self.invoice("2026-03-10", -30.0)
        self.night()
        amounts = {notice.step_id.name: notice.amount for notice in self.case().notice_ids}
        self.assertEqual(amounts, {"Before": 70.0, "Earlier": 50.0})
        self.assertEqual(set(self.case().notice_ids.mapped("state")), {"sent"})

    @freeze_time("2026-03-14")
    def test_foreign_currency_has_a_case_of_its_own(self):
        euro = self.setup_other_currency("EUR", rates=[("2016-01-01", 2.0)])
        self.policy.minimum_amount = 40.0
        self.invoice("2026-03-10", 60.0, currency=euro)  # 30 in company currency
        self.invoice("2026-03-10", 60.0)
        self.night()
        foreign = self.case(currency_id=euro.id)
        own = self.case(currency_id=self.company.currency_id.id)
        self.assertEqual((foreign.amount_overdue, foreign.amount_overdue_company), (60.0, 30.0))
        self.assertEqual(self.skipped(foreign), ["minimum"])
        self.assertEqual(self.sent(own), ["Friendly"])

    @freeze_time("2026-03-14")
    def test_invariant_14_two_currencies_one_message(self):
        euro = self.setup_other_currency("EUR", rates=[("2016-01-01", 2.0)])
        bills = self.invoice("2026-03-10", 60.0, currency=euro) | self.invoice("2026-03-10", 70.0)
        self.invoice("2026-03-10", 5.0, partner=self.other_customer)
        self.night()
        own, foreign = self.case(currency_id=self.company.currency_id.id), self.case(currency_id=euro.id)
        notices = own.notice_ids + foreign.notice_ids
        self.assertEqual(notices.mapped("state"), ["sent", "sent"])
        message = notices.mail_message_id
        self.assertEqual((len(message), message.res_id), (1, own.id))
        self.assertEqual(len(self.env["mail.mail"].search([("mail_message_id", "=", message.id)])), 1)
        for text in ("70.00", "60.00", "In EUR", "In USD", *bills.mapped("name")):
            self.assertIn(text, message.body)
        self.assertEqual(message.body.count("See and pay everything"), 2)
        for text in ("70.00", "60.00"):
            self.assertIn(text, message.subject)
        self.assertEqual([notice.amount for notice in notices], [70.0, 60.0])
        self.assertIn("sent in one message with", "".join(foreign.message_ids.mapped("body")))
        self.assertEqual((own.step_id, foreign.step_id), (self.step("Friendly"), self.step("Friendly")))
        self.assertEqual(len(self.case(self.other_customer).notice_ids.mail_message_id - message), 1)

    @freeze_time("2026-03-14")
    def test_invariant_14_of_two_currencies_one_is_paid_before_sending(self):
        euro = self.setup_other_currency("EUR", rates=[("2016-01-01", 2.0)])
        self.invoice("2026-03-10", 60.0, currency=euro)
        bill = self.invoice("2026-03-10", 70.0)
        self.night(send=False)
        own, foreign = self.case(currency_id=self.company.currency_id.id), self.case(currency_id=euro.id)
        self.pay("2026-03-14", 70.0, invoices=bill)
        self.send()
        self.assertEqual((own.notice_ids.state, foreign.notice_ids.state), ("skipped", "sent"))
        message = foreign.notice_ids.mail_message_id
        self.assertEqual(message.res_id, foreign.id)
        self.assertNotIn(bill.name, message.body)
        self.assertNotIn("In EUR", message.body)

    @freeze_time("2026-04-14")
    def test_two_currencies_are_one_letter(self):
        euro = self.setup_other_currency("EUR", rates=[("2016-01-01", 2.0)])
        bills = self.invoice("2026-03-10", 60.0, currency=euro) | self.invoice("2026-03-10", 70.0)
        self.night()
        cases = self.case(currency_id=self.company.currency_id.id) | self.case(currency_id=euro.id)
        letters = cases.notice_ids.filtered(lambda notice: notice.channel == "letter")
        self.assertEqual(letters.mapped("state"), ["queued", "queued"])
        report = self.env.ref("customer_billing_collection.report_dunning_letter_action")
        [preview] = self.streams(letters[1])
        for bill in bills:
            self.assertIn(bill.name, preview, "before it is printed, of either currency")
        html = report.with_user(self.collector)._render_qweb_html(report.report_name, letters.ids)[0].decode()
        self.assertEqual(html.count("<h1"), 1)
        letters[1].with_user(self.collector).action_print()
        self.assertEqual(letters.mapped("state"), ["sent", "sent"], "the other currency goes out with it")
        for notice in letters:
            [file] = self.env["ir.attachment"].search([("res_model", "=", notice._name), ("res_id", "=", notice.id)])
            for bill in bills:
                self.assertIn(bill.name, file.raw.decode())
            self.assertTrue(notice.case_id.message_attachment_count)
        self.assertEqual(len(self.streams(letters)), 1, "it is printed once")

    def streams(self, notices):
        """The letters of notices, as the collector downloads them."""
        report = "customer_billing_collection.report_dunning_letter"
        streams = self.env["ir.actions.report"].with_user(self.collector)._render_qweb_pdf_prepare_streams(
            report, {}, notices.ids
        )
        return [stream["stream"].getvalue().decode() for stream in streams.values()]

    @freeze_time("2026-03-14")
    def test_two_currencies_go_out_together_on_a_click(self):
        euro = self.setup_other_currency("EUR", rates=[("2016-01-01", 2.0)])
        self.invoice("2026-03-10", 60.0, currency=euro)
        self.invoice("2026-03-10", 70.0)
        self.policy.review = True
        self.night()
        own, foreign = self.case(currency_id=self.company.currency_id.id), self.case(currency_id=euro.id)
        self.assertEqual(foreign.notice_ids.state, "proposed")
        own.notice_ids.with_user(self.collector).action_send()
        self.assertEqual(foreign.notice_ids.state, "proposed", "what nobody has released waits")
        third = self.invoice("2026-03-10", 10.0, partner=self.other_customer)
        self.invoice("2026-03-10", 20.0, partner=self.other_customer, currency=euro)
        self.night(send=False)
        notices = self.env["billing.dunning.notice"].search([("partner_id", "=", third.partner_id.id)])
        notices[0].sudo().state = "queued"  # released by somebody
        notices[1].with_user(self.collector).action_send()
        self.assertEqual(notices.mapped("state"), ["sent", "sent"])
        self.assertEqual(len(notices.mail_message_id), 1)

    @freeze_time("2026-03-14")
    def test_two_currencies_without_an_address_are_two_calls(self):
        euro = self.setup_other_currency("EUR", rates=[("2016-01-01", 2.0)])
        self.customer.email = False
        self.invoice("2026-03-10", 60.0, currency=euro)
        self.invoice("2026-03-10", 70.0)
        self.night()
        for currency in (euro, self.company.currency_id):
            case = self.case(currency_id=currency.id)
            self.assertEqual((case.notice_ids.channel, len(case.activity_ids)), ("call", 1))

    @freeze_time("2026-03-14")
    def test_two_companies_with_the_same_customer(self):
        other = self.setup_other_company()["company"]
        env = self.env(context={**self.env.context, "allowed_company_ids": (other | self.company).ids})
        other.billing_dunning_policy_id = env["billing.dunning.policy"].create(
            {"name": "Other", "company_id": other.id, "calendar_id": False}
        )
        self.invoice("2026-03-10", 100.0)
        self.night()
        with self.in_job():
            env["billing.case"].with_context(allowed_company_ids=other.ids)._work_night(other)
        self.assertEqual(env["billing.case"].search([("partner_id", "=", self.customer.id)]).company_id, self.company)

    @freeze_time("2026-03-14")
    def test_days_off(self):
        calendar = self.env["resource.calendar"].create({"name": "Week", "tz": "UTC"})  # Monday to Friday
        self.policy.calendar_id = calendar
        self.invoice("2026-03-10", 100.0)
        self.night()  # a Saturday
        self.assertFalse(self.case().notice_ids)
        self.env["resource.calendar.leaves"].create(
            {
                "name": "Holiday", "calendar_id": calendar.id,
                "date_from": "2026-03-16 00:00:00", "date_to": "2026-03-16 23:59:59",
            }
        )  # fmt: skip
        with freeze_time("2026-03-16"):
            self.night()
            self.assertFalse(self.case().notice_ids)
        with freeze_time("2026-03-17"):
            self.night(send=False)
            self.assertEqual(self.case().notice_ids.state, "queued")
        self.env["resource.calendar.leaves"].create(
            {
                "name": "Holiday", "calendar_id": calendar.id,
                "date_from": "2026-03-18 00:00:00", "date_to": "2026-03-18 23:59:59",
            }
        )  # fmt: skip
        with freeze_time("2026-03-18"):
            self.send()
            self.assertEqual(self.case().notice_ids.state, "queued")
            self.case().notice_ids.with_user(self.collector).action_send()
            self.assertEqual(self.case().notice_ids.state, "sent")

    def test_invariant_14_each_step_once_where_the_clock_changes(self):
        """Nights shortly before and after local midnight, and in the hour that is missing or comes twice."""
        self.company.billing_dunning_policy_id = self.new_policy(
            {"name": "On the day", "days": 3}, {"name": "A day later", "days": 4}
        )
        for zone, day, times in (
            # 2:00 EST is 3:00 EDT
            ("America/New_York", "03-08", ("08 04:55", "08 05:05", "08 06:30", "08 07:30", "09 03:55", "09 04:05")),
            ("Europe/Berlin", "03-29", ("28 22:55", "28 23:05", "29 00:30", "29 01:30", "29 21:55", "29 22:05")),
            ("Europe/Berlin", "10-25", ("24 21:55", "24 22:05", "25 00:30", "25 01:30", "25 22:55", "25 23:05")),
            # 2:00 EDT is 1:00 EST
            ("America/New_York", "11-01", ("01 03:55", "01 04:05", "01 05:30", "01 06:30", "02 04:55", "02 05:05")),
        ):
            self.company.partner_id.tz = zone
            changed = fields.Date.to_date(f"2026-{day}")
            partner = self.env["res.partner"].create({"name": f"{zone} {day}", "email": "clock@test.example"})
            self.invoice(changed - timedelta(days=3), 100.0, partner)
            sent = []
            for time in times:
                with freeze_time(f"2026-{day[:3]}{time}:00"):
                    self.night()
                sent.append([str(notice.date)[5:] for notice in self.case(partner).notice_ids.sorted("id")])
            after = str(changed + timedelta(days=1))[5:]
            with self.subTest(zone=zone, day=day):
                self.assertEqual(sent, [[], [day], [day], [day], [day], [day, after]])
                self.assertEqual(self.sent(self.case(partner)), ["On the day", "A day later"])

    @freeze_time("2026-03-14")
    def test_a_bill_that_was_reminded_of_can_be_corrected(self):
        bill = self.invoice("2026-03-10", 100.0)
        self.night()
        line = self.case().notice_ids.line_ids
        bill.button_draft()
        bill.invoice_line_ids.price_unit = 80.0
        bill.invoice_date_due = "2026-04-30"
        bill.action_post()
        self.env.invalidate_all()
        self.assertEqual((line.number, line.amount), (bill.name, 100.0))
        self.night()
        self.assertEqual(self.case().state, "closed")


@tagged("post_install", "-at_install")
class TestDecisions(CollectionCommon):
    """Review and approval."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.manager, cls.other_manager = (cls.new_staff("manager", login=f"col_m{n}") for n in (1, 2))

    @freeze_time("2026-03-14")
    def test_review_before_sending(self):
        self.policy.review = True
        self.invoice("2026-03-10", 100.0)
        self.night()
        notice = self.case().notice_ids
        self.assertEqual(notice.state, "proposed")
        notice.with_user(self.collector).action_send()
        self.assertEqual(notice.state, "sent")

    @freeze_time("2026-03-14")
    def test_invariant_18_hard_steps_need_another_person(self):
        self.step("Friendly").approval = True
        self.invoice("2026-03-10", 100.0)
        self.env["billing.case"]._refresh_customers(self.company, self.customer.ids)
        self.case().with_user(self.manager).action_propose()
        notice = self.case().notice_ids
        self.assertEqual((notice.state, notice.needs_approval, notice.preparer_id), ("proposed", True, self.manager))
        for user, error in ((self.collector, AccessError), (self.manager, UserError)):
            with self.assertRaises(error):
                notice.with_user(user).action_approve()
            with self.assertRaises(UserError):
                notice.with_user(user).action_send()
        self.send()
        self.assertEqual(notice.state, "proposed")
        notice.with_user(self.other_manager).action_approve()
        self.assertEqual((notice.state, notice.approver_id), ("sent", self.other_manager))

    def test_leaving_a_step_out(self):
        self.policy.review = True
        self.invoice("2026-03-10", 100.0)
        with freeze_time("2026-03-14"):
            self.night()
            notice = self.case().notice_ids
            notice.with_user(self.collector).action_cancel()
            self.assertIn(self.collector.name, notice.reason)
            self.night()
        self.assertEqual(self.case().notice_ids, notice)
        with freeze_time("2026-03-20"):
            self.night()
        self.assertEqual((self.case().notice_ids - notice).step_id.name, "Call")

    def test_switching_an_approval_off_is_logged(self):
        before = self.policy.message_ids
        self.step("Final").approval = True
        self.step("Final").approval = False
        self.assertEqual(len(self.policy.message_ids - before), 2)


@tagged("post_install", "-at_install")
class TestPolicy(CollectionCommon):
    def test_the_most_specific_policy(self):
        tag = self.env["res.partner.category"].create({"name": "VIP"})
        segment = self.new_policy(category_ids=[Command.set(tag.ids)])
        own = self.new_policy()
        partners = self.customer | self.other_customer
        get = self.env["billing.dunning.policy"]._get_for
        self.assertEqual(set(get(partners, self.company).values()), {self.policy})
        self.customer.category_id = tag
        self.assertEqual(get(partners, self.company)[self.customer], segment)
        self.customer.billing_dunning_policy_id = own
        self.assertEqual(
            get(partners, self.company), {self.customer: own, self.other_customer: self.policy}
        )
        own.active = False
        self.assertEqual(get(partners, self.company)[self.customer], segment)

    def test_debts_from_before_begin_with_the_first_step(self):
        self.policy.date_from = "2026-03-01"
        self.invoice("2025-11-30", 100.0)
        self.invoice("2026-03-05", 50.0)
        for day, steps in (
            ("2026-03-03", []), ("2026-03-04", ["Friendly"]), ("2026-03-10", ["Friendly"]),
            ("2026-03-11", ["Friendly", "Call"]), ("2026-03-21", ["Friendly", "Call", "Second"]),
        ):  # fmt: skip
            with freeze_time(day), self.subTest(day):
                self.night()
                reminders = self.case().notice_ids.filtered(lambda n: n.state == "sent" and n.step_id.days > 0)
                self.assertEqual(reminders.sorted("id").step_id.mapped("name"), steps)
                self.assertEqual(self.case().days_overdue, (fields.Date.to_date(day) - date(2025, 11, 30)).days)

    def test_the_policy_of_a_tier_goes_before_that_of_a_segment(self):
        tag = self.env["res.partner.category"].create({"name": "VIP"})
        self.new_policy(category_ids=[Command.set(tag.ids)])
        tier = self.env["billing.tier"].create({"name": "Gold", "dunning_policy_id": self.new_policy().id})
        self.customer.category_id = tag
        self.customer.sudo()._set_billing_tier(self.company, tier, {self.customer.id: "Test"})
        found = self.env["billing.dunning.policy"]._get_for(self.customer, self.company)
        self.assertEqual(found[self.customer], tier.dunning_policy_id)

    @freeze_time("2026-03-14")
    def test_reminders_go_to_the_contacts_for_collection(self):
        contact = self.env["res.partner"].create(
            {
                "name": "Books", "parent_id": self.customer.id, "email": "books@customer.example",
                "billing_role_collection": True,
            }
        )  # fmt: skip
        self.invoice("2026-03-10", 100.0)
        self.night()
        self.assertEqual(self.case().notice_ids.mail_message_id.partner_ids, contact)

    def test_without_a_policy_customers_are_left_alone(self):
        self.company.billing_dunning_policy_id = False
        self.invoice("2026-03-10", 100.0)
        with freeze_time("2026-03-14"):
            self.night()
        self.assertFalse(self.case())

    @freeze_time("2026-03-14")
    def test_collectors_share_the_work(self):
        self.company.billing_collector_id = False
        own = self.new_staff("collector", login="col_own")
        self.customer.with_company(self.company).billing_collector_id = own
        names = [f"Customer {n}" for n in range(4)]
        partners = self.env["res.partner"].create([{"name": name} for name in names])
        for partner in partners | self.customer:
            self.invoice("2026-03-10", 10.0, partner=partner)
        self.night(send=False)
        self.assertEqual(self.case().collector_id, own)
        cases = self.env["billing.case"].search([("company_id", "=", self.company.id)])
        self.assertEqual(sorted(len(found) for found in cases.grouped("collector_id").values()), [2, 3])
