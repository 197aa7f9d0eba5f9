from odoo import Command
from odoo.tests import tagged

from odoo.addons.customer_billing_collection.tests.facts_common import FactsCommon
from odoo.addons.sms.tests.common import MockSMS


@tagged("post_install", "-at_install")
class TestSms(FactsCommon, MockSMS):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["iap.account"].get("sms")
        cls.customer.write({"phone": "+32 456 00 11 22", "lang": "en_US"})
        cls.policy.step_ids = [
            Command.clear(), Command.create({"name": "Text", "days": 5, "channel": "sms"})
        ]  # fmt: skip
        cls.bill_move = cls.invoice(1234.5, due=-10)
        cls.case = cls.new_case()

    def notice(self):
        self.case.action_propose()
        notice = self.case.notice_ids
        self.assertEqual((len(notice), notice.channel, notice.state), (1, "sms", "queued"))
        return notice

    def process(self, **mock):
        with self.mockSMSGateway(**mock), self.in_job():
            self.env["sms.sms"]._process_queue()

    def test_a_reminder(self):
        notice = self.notice()
        with self.mockSMSGateway():
            notice._deliver()
            self.assertFalse(self._sms, "through the queue: a rolled back transaction sends nothing")
        self.assertEqual((notice.state, notice.error), ("sent", False))
        self.assertEqual(notice.mail_message_id.message_type, "sms")
        with self.mockSMSGateway(), self.in_job():
            self.env["sms.sms"]._process_queue()
            [sms] = self._sms
        self.assertEqual(sms["number"].replace(" ", ""), "+32456001122")
        self.assertIn("1,234.50", sms["body"])
        self.assertIn("access_token", sms["body"])
        self.assertEqual(self.case.step_id.name, "Text")

    def test_two_currencies_are_one_text(self):
        self.invoice(777.0, due=-10, currency=self.other_currency)
        case = self.new_case(currency=self.other_currency, name="CASE-TEST-EUR")
        (self.case | case).action_propose()
        notices = (self.case | case).notice_ids
        notices._deliver()
        self.assertEqual((notices.mapped("state"), len(notices.mail_message_id)), (["sent", "sent"], 1))
        sms = self.env["sms.sms"].search([("mail_message_id", "=", notices.mail_message_id.id)])
        for text in ("1,234.50", "777.00"):
            self.assertIn(text, sms.body)

    def test_a_text_of_its_own_in_the_customers_language(self):
        self.env["res.lang"]._activate_lang("fr_FR")
        template = self.env["sms.template"].create(
            {
                "name": "Own", "model_id": self.env["ir.model"]._get_id("billing.dunning.notice"),
                "body": "Pay {{ object.amount }}",
            }
        )  # fmt: skip
        template.with_context(lang="fr_FR").body = "Payez {{ object.amount }}"
        self.policy.step_ids.sms_template_id = template
        self.customer.lang = "fr_FR"
        notice = self.notice()
        notice._deliver()
        sms = self.env["sms.sms"].search([("mail_message_id", "=", notice.mail_message_id.id)])
        self.assertEqual(sms.body, "Payez 1234.5")

    def test_without_a_number_it_is_a_call(self):
        self.customer.phone = False
        notice = self.notice()
        notice._deliver()
        self.assertEqual((notice.state, notice.channel, notice.reason_code), ("sent", "call", "no_contact"))
        self.assertEqual(self.case.activity_ids.user_id, self.collector)
        self.assertIn("Customer One", notice.reason)

    def test_refused_later_it_is_a_call_too(self):
        notice = self.notice()
        notice._deliver()
        self.process(sim_error="wrong_number_format")
        self.env["billing.dunning.notice"]._note_delivery_failures()
        self.assertEqual(notice.state, "sent")
        self.assertIn("+32", notice.error)
        self.assertEqual(self.case.activity_ids.user_id, self.collector)
        self.env["billing.dunning.notice"]._note_delivery_failures()
        self.assertEqual(len(self.case.activity_ids), 1, "told once")

    def test_a_bill(self):
        self.customer.with_company(self.company).billing_channel = "sms"
        contract = self.new_contract(str(self.today))
        move = self.bill(str(self.today), contract).move_ids
        move.action_billing_deliver()
        self.assertEqual((move.billing_delivery_state, move.billing_delivery_channel), ("sent", "sms"))
        sms = self.env["sms.sms"].search([("mail_message_id", "in", move.message_ids.ids)])
        self.assertIn(move.name, sms.body)
        self.assertIn("access_token", sms.body)
        self.process(sim_error="credit")
        self.env["account.move"]._note_delivery_failures()
        self.assertEqual(move.billing_delivery_state, "failed")
        self.assertTrue(move.activity_ids)

    def test_a_bill_without_a_number(self):
        self.customer.write({"phone": "no number"})
        self.customer.with_company(self.company).billing_channel = "sms"
        move = self.bill(str(self.today), self.new_contract(str(self.today))).move_ids
        move.action_billing_deliver()
        self.assertEqual(move.billing_delivery_state, "failed")
        self.assertIn("phone number", move.billing_delivery_error)
        move.partner_id.phone = "+32456001122"
        move.action_billing_deliver()
        self.assertEqual(move.billing_delivery_state, "sent")

    def test_removing_the_channel_leaves_the_step(self):
        field = self.env["ir.model.fields.selection"].search(
            [("field_id.model", "=", "billing.dunning.step"), ("field_id.name", "=", "channel"), ("value", "=", "sms")]
        )
        field._process_ondelete()
        self.assertEqual(self.policy.step_ids.channel, "email")

    def test_the_number_of_the_customer_when_its_contact_has_none(self):
        self.env["res.partner"].create({"name": "Bills", "parent_id": self.customer.id, "type": "invoice"})
        notice = self.notice()
        notice._deliver()
        self.assertEqual((notice.state, notice.channel), ("sent", "sms"))

    def test_archived_customers_get_no_message(self):
        notice = self.notice()
        self.customer.active = False
        notice._deliver()
        self.assertEqual((notice.state, notice.channel, notice.reason_code), ("sent", "call", "no_contact"))
