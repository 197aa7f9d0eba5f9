from freezegun import freeze_time
from markupsafe import escape
from psycopg2 import IntegrityError

from odoo import Command
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, tagged
from odoo.tools import mute_logger

from .facts_common import FactsCommon

# a PNG of one pixel
SIGNATURE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@tagged("post_install", "-at_install")
class TestInstalment(FactsCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.old, cls.new = cls.invoice(100, due=-30), cls.invoice(200, due=-10)
        cls.later = cls.invoice(70, due=30)
        cls.case = cls.new_case()

    def protected(self):
        return self.env["billing.instalment"]._get_protected_items(self.case)[self.case]

    def mails(self, record):
        return self.env["mail.mail"].sudo().search([("model", "=", record._name), ("res_id", "=", record.id)])

    def evaluate(self, offset):
        with freeze_time(self.day(offset)):
            self.case._refresh()

    def test_schedule_adds_up(self):
        agreement = self.env["billing.instalment"].create({"case_id": self.case.id})
        self.assertEqual(agreement.move_line_ids, self.item(self.old, self.new), "all that is overdue")
        agreement.action_make_schedule(7, "2027-01-31", 1, "month")
        days = [str(line.date) for line in agreement.line_ids[:3]]
        self.assertEqual(days, ["2027-01-31", "2027-02-28", "2027-03-31"])
        self.assertEqual(agreement.line_ids.mapped("amount"), [42.85] * 6 + [42.9])
        self.assertEqual(agreement.amount, 300)
        first = "2027-01-31"
        for bad in ((0, first), (200, first), (3, False), (3, first, 0), (3, first, 1, "day")):
            with self.subTest(bad), self.assertRaises(UserError):
                agreement.action_make_schedule(*bad)

    def test_from_offer_to_the_last_part(self):
        agreement = self.new_agreement(confirm=False)
        dues = (self.item(self.old, self.new)).mapped("date_maturity")
        agreement.action_offer()
        self.assertEqual(agreement.state, "offered")
        self.assertFalse(self.protected(), "an offer is no agreement")
        mail = self.mails(agreement)
        self.assertIn("100", mail.body_html)
        self.assertIn(agreement.access_token, mail.body_html)
        agreement.action_confirm("Ann Lee", "by telephone")
        self.assertEqual((agreement.state, agreement.confirmed_by), ("running", "Ann Lee"))
        self.assertEqual(self.protected(), set(self.item(self.old, self.new).ids))
        self.assertNotIn(self.item(self.later).id, self.protected(), "later bills are not covered")
        self.assertEqual((agreement.next_date, agreement.next_amount), (self.day(7), 100))
        self.pay(150, self.old, self.new)
        self.assertEqual(agreement.line_ids.mapped("amount_paid"), [100, 50, 0])
        self.assertEqual((agreement.next_date, agreement.next_amount), (self.day(14), 50))
        self.pay(150, self.new, self.old)
        self.assertEqual(agreement.state, "completed")
        self.assertEqual(self.item(self.old, self.new).mapped("date_maturity"), dues, "nothing in the books changes")

    def test_the_case_is_looked_at_when_a_part_falls_due(self):
        self.new_agreement(grace_days=2)
        self.assertEqual((self.case.state, self.case.next_action_date), ("instalment", self.day(7)))
        self.evaluate(8)
        self.assertEqual(self.case.next_action_date, self.day(10), "it is missed then")
        self.pay(100, self.old)
        self.evaluate(9)
        self.assertEqual(self.case.next_action_date, self.day(14))

    def test_a_missed_part_breaks_it(self):
        agreement = self.new_agreement()
        self.pay(40, self.old)
        self.evaluate(10)  # three days of grace
        self.assertEqual(agreement.state, "running")
        before = self.mails(agreement)
        self.evaluate(11)
        self.assertEqual((agreement.state, agreement.date_broken), ("broken", self.day(11)))
        self.assertFalse(self.protected(), "the original dates count again")
        self.assertEqual(self.case.activity_ids.user_id, self.collector)
        self.assertIn("has ended", (self.mails(agreement) - before).subject)
        self.assertTrue(self.case.message_ids.filtered(lambda m: agreement.name in (m.body or "")))
        self.evaluate(12)
        self.assertEqual(len(self.case.activity_ids), 1, "told once")

    def test_a_credit_note_is_less_to_pay(self):
        agreement = self.new_agreement()
        self.match(self.new, self.invoice(-200, due=0))
        self.evaluate(20)
        self.assertEqual(agreement.state, "running", "two parts are settled")
        self.evaluate(25)
        self.assertEqual(agreement.state, "broken")

    def test_less_is_open_than_the_first_part(self):
        agreement = self.new_agreement(confirm=False)
        agreement.action_offer()
        self.match(self.new, self.invoice(-200, due=0))
        self.match(self.old, self.invoice(-70, due=0))
        agreement.action_confirm("Ann Lee", "by telephone")
        self.assertEqual((agreement.state, agreement.next_amount, agreement.next_date), ("running", 30, self.day(21)))
        self.assertEqual(self.protected(), set(self.item(self.old, self.new).ids))
        with self.assertRaises(UserError):
            agreement.action_confirm("Ann Lee", "in another tab")
        self.pay(30, self.old)
        self.assertEqual(agreement.state, "completed")

    def test_parts_are_never_negative(self):
        agreement = self.env["billing.instalment"].create({"case_id": self.case.id})
        with self.assertRaises(IntegrityError), mute_logger("odoo.sql_db"), self.env.cr.savepoint():
            agreement.line_ids = [
                Command.create({"date": self.day(7), "amount": amount}) for amount in (350.0, -50.0)
            ]
            self.env.flush_all()

    def test_terms_that_have_changed_are_not_confirmed_from_an_old_page(self):
        agreement = self.new_agreement(confirm=False)
        agreement.action_offer()
        seen = agreement._get_terms_key()
        agreement.action_draft()
        agreement.action_make_schedule(2, str(self.day(3)), 1, "week")
        agreement.action_offer()
        visitor = agreement.with_user(self.new_portal(self.customer, "facts_visitor")).sudo()
        with self.assertRaisesRegex(UserError, "has changed"):
            visitor._confirm_from_portal("Ann Lee", SIGNATURE, "127.0.0.1", seen)
        self.assertEqual(agreement.state, "offered")
        for _tab in range(2):  # the second tab shows the same terms
            visitor._confirm_from_portal("Ann Lee", SIGNATURE, "127.0.0.1", agreement._get_terms_key())
        self.assertEqual(agreement.state, "running")
        self.assertEqual(len([m for m in agreement.message_ids if "on the page" in (m.body or "")]), 1)

    def test_no_reminder_of_parts_after_a_hand_over(self):
        agreement = self.new_agreement()
        self.case.sudo().date_legal = self.today
        before = self.mails(agreement)
        self.evaluate(5)
        self.assertEqual(self.mails(agreement), before)
        self.case.sudo().date_legal = False
        self.evaluate(5)
        self.assertTrue(self.mails(agreement) - before)

    def test_cancelled_bills(self):
        agreement = self.new_agreement()
        self.old.button_cancel()
        self.evaluate(12)
        self.assertEqual(agreement.state, "running", "what is left goes on")
        self.assertEqual(agreement.amount_open, self.item(self.new).amount_residual_currency)
        self.new.button_cancel()
        self.evaluate(60)
        self.assertEqual(agreement.state, "cancelled", "nobody is told that he has broken it")
        self.assertFalse(agreement.date_broken)

    def test_a_payment_taken_back(self):
        agreement = self.new_agreement()
        self.invoice(10, due=-5)  # the case goes on
        payment = self.pay(300, self.old, self.new)
        self.assertEqual(agreement.state, "completed")
        self.unmatch(payment)
        self.assertEqual(agreement.state, "running")

    def test_an_agreement_outlives_its_case(self):
        agreement = self.new_agreement()
        credit = self.invoice(-300, due=0)
        self.case._refresh()
        self.assertEqual((self.case.state, agreement.state), ("closed", "running"), "the credit is not matched yet")
        self.env.flush_all()
        other = self.new_case()
        protected = self.env["billing.instalment"]._get_protected_items(other)[other]
        self.assertEqual(protected, set(self.item(self.old, self.new).ids))
        self.match(credit, self.old, self.new)
        with self.in_job():
            self.env["billing.case"]._work_night(self.company)
        self.assertEqual(agreement.state, "completed")

    def test_reminded_once_per_part(self):
        agreement = self.new_agreement()
        before = self.mails(agreement)
        self.evaluate(3)
        self.assertEqual(self.mails(agreement), before)
        self.evaluate(4)
        self.evaluate(5)
        new = self.mails(agreement) - before
        self.assertEqual(len(new), 1)
        self.assertIn("100", new.body_html)
        self.assertEqual(agreement.line_ids.mapped("date_reminded"), [self.day(4), False, False])
        with freeze_time(self.day(5)):
            url = agreement._get_payment_url(100.0)
        self.assertIn(escape(url), new.body_html, "it leads to the payment of the part, and to no more")
        self.assertRegex(new.body_html, r'src="[^"]*/web/image/\d+\?access_token=', "a code that mail programs show")
        self.assertNotIn("data:image", new.body_html)
        self.pay(200, self.old, self.new)
        self.evaluate(12)
        self.assertEqual(self.mails(agreement) - before, new, "a paid part needs no reminder")

    def test_a_reminder_asks_for_all_parts_that_are_due(self):
        agreement = self.new_agreement()
        agreement.sudo().reminder_days = 400
        with self.subTest("what is paid of a part is not asked for again"):
            self.pay(30, self.old)
            text = agreement._render_payment()
            self.assertEqual([round(left, 2) for _line, left in agreement._get_due_parts()], [70.0, 100.0, 100.0])
            self.assertIn("270.00", text)
            self.assertIn(escape(agreement._get_payment_url(270.0)), text)
        agreement.sudo().reminder_days = 0
        with freeze_time(self.day(4)):
            self.assertNotIn("Pay ", agreement._render_payment())

    def test_terms_are_fixed_once_offered(self):
        agreement = self.new_agreement(confirm=False)
        agreement.action_offer()
        for change in (
            lambda: agreement.write({"grace_days": 30}),
            lambda: agreement.write({"move_line_ids": [Command.clear()]}),
            lambda: agreement.line_ids[0].write({"amount": 1}),
            lambda: agreement.line_ids[0].unlink(),
            lambda: agreement.line_ids.create({"instalment_id": agreement.id, "date": self.day(9), "amount": 1}),
            lambda: agreement.action_make_schedule(2, str(self.day(9))),
            lambda: agreement.unlink(),
        ):
            with self.assertRaises(UserError):
                change()
        agreement.action_draft()
        agreement.action_make_schedule(2, str(self.day(9)))
        self.assertEqual(len(agreement.line_ids), 2)

    def test_parts_must_add_up(self):
        agreement = self.new_agreement(confirm=False)
        agreement.line_ids[0].amount += 1
        with self.assertRaisesRegex(UserError, "add up"):
            agreement.action_offer()

    def test_first_part_in_the_past(self):
        agreement = self.new_agreement(confirm=False, first=-1)
        with self.assertRaisesRegex(UserError, "in the past"):
            agreement.action_offer()

    def test_an_offer_that_is_too_old(self):
        agreement = self.new_agreement(confirm=False)
        agreement.action_offer()
        with freeze_time(self.day(11)), self.assertRaises(UserError):
            agreement.action_confirm("Ann Lee", "by telephone")

    def test_no_item_under_two_agreements(self):
        self.new_agreement()
        other = self.env["billing.instalment"].create(
            {"case_id": self.case.id, "move_line_ids": [Command.set(self.item(self.old).ids)]}
        )
        other.action_make_schedule(2, str(self.day(9)))
        with self.assertRaisesRegex(UserError, "under agreement"):
            other.action_offer()

    def test_items_of_others_are_refused(self):
        stranger = self.item(self.invoice(10, partner=self.other_customer))
        with self.assertRaises(ValidationError):
            self.env["billing.instalment"].create(
                {"case_id": self.case.id, "move_line_ids": [Command.set(stranger.ids)]}
            )

    def test_cancelled(self):
        agreement = self.new_agreement()
        agreement.action_cancel()
        self.assertFalse(self.protected())
        with self.assertRaises(UserError):
            agreement.action_confirm("Ann", "phone")

    def test_confirming_needs_a_name_and_a_note(self):
        agreement = self.new_agreement(confirm=False)
        agreement.action_offer()
        for arguments in (("", "phone"), ("Ann", " "), (False, False)):
            with self.assertRaises(UserError):
                agreement.action_confirm(*arguments)

    def test_collector_does_all_of_it(self):
        agreements = self.env["billing.instalment"].with_user(self.collector)
        with Form(agreements) as form:
            form.case_id = self.case
        agreement = form.record
        action = agreement.action_open_schedule()
        with Form(self.env[action["res_model"]].with_user(self.collector).with_context(**action["context"])) as wizard:
            wizard.count = 2
            wizard.first_date = self.day(3)
        wizard.record.action_apply()
        agreement.action_offer()
        action = agreement.action_open_confirm()
        with Form(self.env[action["res_model"]].with_user(self.collector).with_context(**action["context"])) as wizard:
            wizard.name, wizard.note = "Ann Lee", "Letter of today"
        wizard.record.action_confirm()
        self.assertEqual(agreement.state, "running")
        self.assertEqual(agreement.confirm_user_id, self.collector)
        with self.assertRaises(AccessError):
            agreement.write({"state": "completed"})
        with self.assertRaises(AccessError):
            agreement.write({"confirmed_by": "Bob"})

    def test_document(self):
        agreement = self.new_agreement()
        html = self.env["ir.actions.report"]._render_qweb_html(
            "customer_billing_collection.report_instalment_action", agreement.ids
        )[0].decode()
        for text in (agreement.name, self.old.name, "Ann Lee", "300.00", "100.00"):
            self.assertIn(text, html)

    def test_without_an_address_somebody_tells_him(self):
        self.customer.email = False
        agreement = self.new_agreement(confirm=False)
        agreement.action_offer()
        self.assertFalse(self.mails(agreement))
        self.assertEqual(self.case.activity_ids.user_id, self.collector)
