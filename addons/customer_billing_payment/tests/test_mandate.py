from datetime import timedelta
from unittest.mock import patch

from freezegun import freeze_time

from odoo import fields
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import tagged

from .common import PaymentBillingCommon


@tagged("post_install", "-at_install")
class TestMandate(PaymentBillingCommon):
    def test_consent_is_kept(self):
        mandate = self.mandate()
        self.assertEqual(mandate.partner_id, self.customer)
        self.assertEqual((mandate.consent_text, mandate.consent_ip), ("I agree", "127.0.0.1"))
        self.assertEqual((mandate.consent_user_id, mandate.company_id), (self.user_one, self.company))
        self.assertTrue(mandate.consent_date)
        self.assertEqual(mandate.state, "active")

    def test_a_new_consent_replaces_the_one_for_the_same(self):
        contracts = self.contract_bill().billing_contract_ids
        first, special = self.mandate(), self.mandate(contracts=contracts)
        second = self.mandate()
        self.assertEqual((first | special | second).mapped("state"), ["revoked", "active", "active"])
        self.assertEqual(first.revoked_by_id, self.user_one)

    def test_only_with_a_method_of_ones_own(self):
        with self.assertRaises(AccessError):
            self.mandate(user=self.user_two)
        self.token.active = False
        with self.assertRaises(AccessError):
            self.mandate()

    def test_only_for_contracts_of_ones_own(self):
        other = self.contract_bill(partner_id=self.other_customer.id).billing_contract_ids
        with self.assertRaises(AccessError):
            self.mandate(contracts=other)

    def test_a_deleted_method_ends_its_mandates(self):
        mandate = self.mandate()
        self.assertEqual(self.token.get_linked_records_info()[0]["id"], mandate.id)
        self.token.active = False
        self.assertEqual(mandate.state, "revoked")

    def test_invariant_16_what_a_method_is_used_for_is_told_to_its_owner(self):
        mandate = self.mandate()
        own = self.token.with_user(self.user_one).get_linked_records_info()
        self.assertEqual(own[0]["id"], mandate.id)
        for user in (self.user_two, self.new_staff(login="mandate_nobody")):
            with self.subTest(user=user.login), self.assertRaises(AccessError):
                self.token.with_user(user).get_linked_records_info()

    def test_nobody_else_writes_consent(self):
        mandate = self.mandate()
        officer = self.new_staff("officer", login="mandate_officer")
        values = {
            "partner_id": self.customer.id, "company_id": self.company.id, "token_id": self.token.id,
            "consent_text": "X", "consent_date": "2026-01-01", "consent_user_id": self.user_one.id,
        }  # fmt: skip
        for user in (officer, self.user_one):
            with self.subTest(user=user.login):
                with self.assertRaises(AccessError):
                    self.env["billing.payment.mandate"].with_user(user).create(values)
                for name in mandate._billing_protected:
                    with self.assertRaises(AccessError):
                        mandate.with_user(user).write({name: values.get(name, False)})
                    with self.assertRaises(AccessError):
                        mandate.with_user(user).write({name: values.get(name, False), "expiry_date": self.today})
        mandate.with_user(officer).expiry_date = self.today
        with self.assertRaises(AccessError):
            mandate.with_user(self.user_one).expiry_date = self.today
        mandate.with_user(officer).action_revoke()
        self.assertEqual(mandate.revoked_by_id, officer)

    def test_notice_30_and_7_days_before(self):
        mandate = self.mandate(expiry_date=self.today + timedelta(days=31))
        desk = self.new_billing_contact(self.customer)

        def mails():
            with self.in_job():
                self.env["billing.payment.mandate"].with_user(self.env.ref("base.user_root"))._cron_notify_expiry()
            found = self.env["mail.mail"].search(
                [("model", "=", mandate._name), ("res_id", "=", mandate.id), ("subject", "like", "expires")]
            )
            return len(found.filtered(lambda mail: mail.recipient_ids == desk))

        counts = [mails()]
        for days in (30, 29, 8, 7, 6, 0, -1):
            self.env["billing.payment.mandate"].browse(mandate.id).invalidate_recordset()
            notice = mandate.notice_days
            mandate.sudo().write({"expiry_date": self.today + timedelta(days=days), "notice_days": notice})
            counts.append(mails())
        self.assertEqual(counts, [0, 1, 1, 1, 2, 2, 2, 2])

    def notices(self, mandate):
        """The mails that the job sends today."""
        found = self.env["mail.mail"].search([("subject", "like", "expires soon")])
        with self.in_job():
            self.env["billing.payment.mandate"].with_user(self.env.ref("base.user_root"))._cron_notify_expiry()
        return len(self.env["mail.mail"].search([("subject", "like", "expires soon")]) - found)

    def test_day_by_day_there_are_two_notices(self):
        days = (32, 31, 30, 29, 28, 9, 8, 7, 6, 5, 0, -1)
        for missed in ((), (30, 29), (7,), days[:-5]):
            mandate = self.mandate(expiry_date=fields.Date.to_date("2031-06-30"))
            told = {}
            for left in days:
                with freeze_time(fields.Date.to_date("2031-06-30") - timedelta(days=left)):
                    if left not in missed and (count := self.notices(mandate)):
                        told[left] = count
            expected = {(): {30: 1, 7: 1}, (30, 29): {28: 1, 7: 1}, (7,): {30: 1, 6: 1}}.get(missed, {7: 1})
            with self.subTest(missed=missed):
                self.assertEqual(told, expected)

    def test_one_notice_for_a_card_with_several_mandates(self):
        contracts = self.contract_bill().billing_contract_ids
        day = self.today + timedelta(days=20)
        mandates = self.mandate(expiry_date=day) | self.mandate(contracts=contracts, expiry_date=day)
        self.assertEqual((self.notices(mandates), self.notices(mandates)), (1, 0))
        self.assertEqual(mandates.mapped("notice_days"), [30, 30])

    def process(self, code, data):
        """The provider answers to a payment with the saved method."""
        number = self.env["payment.transaction"].search_count([])
        tx = self._create_transaction("token", reference=f"{code}-{number}", token_id=self.token.id)
        model = self.registry["payment.transaction"]
        extract = getattr(model, f"_extract_billing_expiry_{code}")
        with (
            patch.object(model, f"_extract_billing_expiry_{tx.provider_code}", extract, create=True),
            patch.object(model, "_validate_amount", lambda *_args: None),
        ):
            tx._process(tx.provider_code, data)

    @staticmethod
    def worldline(expiry):
        output = {"cardPaymentMethodSpecificOutput": {"card": {"expiryDate": expiry}}}
        return {"payment": {"paymentOutput": output}}

    def test_what_the_provider_says_goes_first(self):
        typed = fields.Date.to_date("2032-01-31")
        for code, data in (
            ("stripe", {"payment_method": {"card": {"exp_month": 6, "exp_year": 2033}}}),
            ("flutterwave", {"card": {"expiry": "07/33"}}),
            ("demo", {"payment_details": "4242 08/33"}),
            ("adyen", {"additionalData": {"expiryDate": "9/2033"}}),
            ("mercado_pago", {"card": {"expiration_month": 10, "expiration_year": 2033}}),
            ("worldline", self.worldline("1133")),
        ):
            mandate = self.mandate(expiry_date=typed)
            mandate.sudo().notice_days = 30
            self.process(code, data)
            with self.subTest(provider=code):
                self.assertEqual(mandate.expiry_date, self.token.billing_expiry_date)
                self.assertEqual((mandate.expiry_date.year, mandate.notice_days), (2033, 0))
                self.assertEqual(self.mandate(expiry_date=typed).expiry_date, self.token.billing_expiry_date)
        known = self.token.billing_expiry_date
        for code, data in (
            ("stripe", {}), ("stripe", {"payment_method": "pm_1"}), ("stripe", {"payment_method": {"card": None}}),
            ("flutterwave", {}), ("flutterwave", {"card": {"expiry": "?"}}), ("demo", {}),
            ("demo", {"payment_details": "4242"}), ("adyen", {}), ("adyen", {"additionalData": {"cardSummary": "1"}}),
            ("mercado_pago", {"card": {}}), ("mercado_pago", {}), ("worldline", {}), ("worldline", self.worldline("")),
        ):  # fmt: skip
            self.process(code, data)
            self.assertEqual(self.token.billing_expiry_date, known)

    def test_an_expired_method_is_not_taken(self):
        with self.assertRaisesRegex(UserError, "expired"):
            self.mandate(expiry_date=self.today - timedelta(days=1))
        self.token.billing_expiry_date = self.today - timedelta(days=1)
        with self.assertRaisesRegex(UserError, "expired"):
            self.mandate(expiry_date=self.today + timedelta(days=99))

    def test_the_same_date_is_not_told_again(self):
        mandate = self.mandate(expiry_date=self.today)
        mandate.sudo().notice_days = 7
        mandate.with_user(self.new_staff("officer", login="mandate_officer")).expiry_date = self.today
        self.assertEqual(mandate.notice_days, 7)

    def test_a_new_date_is_told_again(self):
        mandate = self.mandate(expiry_date=self.today)
        mandate.sudo().notice_days = 7
        officer = self.new_staff("officer", login="mandate_officer")
        mandate.with_user(officer).expiry_date = self.today + timedelta(days=20)
        self.assertEqual(mandate.notice_days, 0)

    def test_the_standard_text_says_when(self):
        self.assertIn("on their due date", self.company._get_billing_mandate_text())
        self.company.billing_charge_days = 3
        self.assertIn("3 days after", self.company._get_billing_mandate_text())
        self.company.billing_mandate_text = "Our own words"
        self.assertEqual(self.company._get_billing_mandate_text(), "Our own words")

    def test_a_retry_schedule_is_days(self):
        for text in ("soon", "0", "3, 61", ",".join("1" * 11)):
            with self.subTest(text=text), self.assertRaises(ValidationError):
                self.company.billing_charge_retry_days = text

    def test_charging_by_hand_needs_a_mandate(self):
        move = self.contract_bill()
        with self.assertRaises(UserError):
            move.action_billing_charge()

    def test_notices_share_the_limit_of_mails(self):
        self.company.billing_mails_per_hour = 1
        mandate = self.mandate(expiry_date=self.today + timedelta(days=20))
        template = self.env.ref("customer_billing_payment.mail_template_expiry")
        first, second = (template._send_billing(mandate, self.company) for _number in range(2))
        self.assertFalse(first.scheduled_date)
        self.assertEqual(second.scheduled_date, fields.Datetime.add(first.date, hours=1))
        self.assertEqual((first.auto_delete, second.state), (False, "outgoing"))
