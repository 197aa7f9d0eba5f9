from datetime import timedelta

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
