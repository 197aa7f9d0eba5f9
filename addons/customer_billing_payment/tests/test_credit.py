from datetime import timedelta
from unittest.mock import patch

from odoo import Command
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, tagged

from .common import PaymentBillingCommon


@tagged("post_install", "-at_install")
class TestCredit(PaymentBillingCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.desk = cls.new_billing_contact(cls.customer)

    def run_job(self):
        with self.in_job() as commits:
            self.env["res.partner"].with_user(self.env.ref("base.user_root"))._cron_billing_credits()
        return commits

    def low_mails(self):
        return self.env["mail.mail"].search(
            [("model", "=", "res.partner"), ("res_id", "=", self.customer.id)]
        ).filtered(lambda mail: mail.recipient_ids == self.desk)

    # Credits by rule

    def test_credits_are_left_alone_unless_the_company_says_so(self):
        self.pay_in(50)
        move = self.open_bill(80)
        self.run_job()
        self.assertEqual(move.amount_residual, 80)
        self.assertEqual(self.customer.billing_credit_amount, 50)

    def test_a_credit_settles_the_oldest_bill_first(self):
        newer, older = self.open_bill(80, days=10), self.open_bill(80, days=-10)
        self.company.billing_credit_auto = True
        payment = self.pay_in(100)
        self.run_job()
        self.assertEqual((older.amount_residual, newer.amount_residual), (0, 60))
        self.assertTrue(payment.is_reconciled)
        self.assertEqual(self.customer.billing_credit_amount, 0)

    def test_a_bill_takes_credit_when_it_is_posted(self):
        self.company.billing_credit_auto = True
        self.pay_in(100)
        move = self.open_bill(80)
        self.assertEqual((move.amount_residual, self.customer.billing_credit_amount), (0, 20))

    def test_a_credit_note_settles_a_bill(self):
        self.company.billing_credit_auto = True
        move = self.open_bill(80)
        note = self.open_bill(30, move_type="out_refund")
        self.assertEqual((move.amount_residual, note.amount_residual), (50, 0))

    def test_other_customers_currencies_and_entries_are_left_alone(self):
        self.company.billing_credit_auto = True
        other_currency = self.setup_other_currency("EUR")
        entry = self.env["account.move"].create(
            {
                "line_ids": [
                    Command.create(
                        {
                            "account_id": self.company_data["default_account_receivable"].id,
                            "partner_id": self.customer.id,
                            "credit": 10.0,
                        }
                    ),
                    Command.create({"account_id": self.company_data["default_account_revenue"].id, "debit": 10.0}),
                ]
            }
        )
        entry.action_post()
        self.pay_in(10, self.other_customer)
        self.pay_in(10, currency_id=other_currency.id)
        move = self.open_bill(80)
        self.run_job()
        self.assertEqual(move.amount_residual, 80)

    def test_disputed_bills_and_bills_being_paid_are_left_alone(self):
        self.company.billing_credit_auto = True
        disputed, paid_now, free = self.open_bill(10), self.open_bill(20), self.open_bill(30)
        self.env["billing.dispute"].create({"move_id": disputed.id, "name": "Wrong"})
        self._create_transaction("direct", reference="now", state="pending", invoice_ids=paid_now.ids)
        self.pay_in(100)
        self.run_job()
        self.assertEqual((disputed | paid_now | free).mapped("amount_residual"), [10, 20, 0])

    def test_a_contact_pays_for_its_company(self):
        self.company.billing_credit_auto = True
        contact = self.env["res.partner"].create({"name": "Desk", "parent_id": self.customer.id})
        move = self.open_bill(80)
        self.pay_in(80, contact)
        self.run_job()
        self.assertEqual(move.amount_residual, 0)

    def test_queries_do_not_grow_with_customers(self):
        self.company.billing_credit_auto = True

        def count(customers):
            partners = self.env["res.partner"].create([{"name": f"C{n}"} for n in range(customers)])
            for partner in partners:
                self.pay_in(10, partner)
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            partners._filter_billing_auto_credit(self.company)._apply_billing_credit(self.company)
            return self.env.cr.sql_log_count - before

        count(2)
        self.assertEqual(count(3), count(9))

    # Prepaid

    def test_bills_draw_on_the_balance(self):
        self.customer.billing_prepaid = True
        self.pay_in(100)
        first, second = self.open_bill(60), self.open_bill(60)
        self.assertEqual((first.amount_residual, second.amount_residual), (0, 20))
        self.assertEqual(self.customer.billing_credit_amount, 0)
        other = self.open_bill(60, partner=self.other_customer)
        self.assertEqual(other.amount_residual, 60)

    def test_bills_of_a_run_draw_on_the_balance(self):
        self.customer.billing_prepaid = True
        self.pay_in(1000)
        move = self.contract_bill()
        self.assertEqual(move.amount_residual, 0)

    def test_a_top_up_settles_what_is_open(self):
        self.customer.billing_prepaid = True
        move = self.open_bill(60)
        tx = self._create_transaction(
            "direct", reference="PREPAID-1", amount=100.0, partner_id=self.customer.id, billing_is_topup=True
        )
        tx._set_done()
        tx._post_process()
        self.assertEqual(tx.payment_id.destination_account_id.account_type, "asset_receivable")
        self.assertEqual((move.amount_residual, self.customer.billing_credit_amount), (0, 40))

    def test_a_low_balance_is_told_once_until_it_is_topped_up(self):
        self.customer.write({"billing_prepaid": True, "billing_prepaid_threshold": 50.0})
        officer = self.new_staff("officer", login="credit_officer")
        self.customer.billing_officer_id = officer
        self.pay_in(60)
        self.run_job()
        self.assertFalse(self.low_mails())
        self.open_bill(20)
        self.run_job()
        self.run_job()
        [mail] = self.low_mails()
        self.assertIn("40.00", mail.subject)
        activities = self.customer.activity_ids
        self.assertEqual((len(activities), activities.user_id), (1, officer))
        self.pay_in(30)
        self.run_job()
        self.assertFalse(self.customer.billing_prepaid_alert_date)
        self.open_bill(30)
        self.run_job()
        self.assertEqual(len(self.low_mails()), 2)

    # Refunds

    def refund(self, amount=None, user=None, **values):
        wizard = self.env["billing.credit.refund"].with_user(user or self.env.user).create(
            {
                "partner_id": self.customer.id,
                "journal_id": self.company_data["default_journal_bank"].id,
                **({"amount": amount} if amount is not None else {}),
                **values,
            }
        )
        return wizard, wizard.action_refund()

    def test_a_credit_is_refunded(self):
        first, second = self.pay_in(30), self.pay_in(30)
        first.move_id.line_ids.write({"date_maturity": self.today - timedelta(days=9)})
        wizard, action = self.refund(40, self.new_staff("officer", login="refund_officer"))
        payment = self.env["account.payment"].browse(action["res_id"])
        self.assertEqual((payment.payment_type, payment.amount), ("outbound", 40))
        self.assertEqual(self.customer.billing_credit_amount, 20)
        self.assertEqual((first.is_reconciled, second.is_reconciled), (True, False))
        self.assertEqual((wizard.state, wizard.payment_id), ("done", payment))
        with self.assertRaises(UserError):
            wizard.action_refund()
        with self.assertRaises(UserError):
            wizard.amount = 1

    def test_a_credit_on_another_account_is_not_refunded_again_and_again(self):
        account = self.company_data["default_account_receivable"].copy()
        self.customer.property_account_receivable_id = account
        self.pay_in(30)
        self.customer.property_account_receivable_id = self.company_data["default_account_receivable"]
        with self.assertRaisesRegex(UserError, "by hand"), self.env.cr.savepoint():
            self.refund(30)
        self.assertEqual(self.customer.billing_credit_amount, 30)

    def test_no_more_than_the_credit_is_refunded(self):
        self.pay_in(30)
        for amount in (0, -5, 30.01):
            with self.subTest(amount=amount), self.assertRaises(UserError):
                self.refund(amount)
        with self.assertRaises(AccessError):
            self.refund(10, self.new_staff("collector", login="refund_collector"))

    def test_a_large_refund_takes_two(self):
        self.company.write({"billing_approval": True, "billing_approval_amount": 20.0})
        officer, manager = (self.new_staff(role, login=f"refund_{role}") for role in ("officer", "manager"))
        self.pay_in(100)
        small, _action = self.refund(20, officer)
        self.assertEqual(small.state, "done")
        large, action = self.refund(50, manager)
        self.assertEqual((large.state, action["res_model"], action["res_id"]), ("requested", large._name, large.id))
        for user in (officer, manager):
            with self.subTest(user=user.login), self.assertRaises(UserError):
                large.with_user(user).action_approve()
        self.assertEqual(self.customer.billing_credit_amount, 80)
        large.with_user(self.new_staff("manager", login="refund_other")).action_approve()
        self.assertEqual((large.state, large.payment_id.amount), ("done", 50))
        self.customer.invalidate_recordset()
        self.assertEqual(self.customer.billing_credit_amount, 30)
        with self.assertRaises(UserError):
            large.with_user(officer).action_refuse()

    def test_what_was_asked_for_is_checked_again(self):
        self.company.write({"billing_approval": True, "billing_approval_amount": 20.0})
        self.pay_in(100)
        first, _action = self.refund(70, self.new_staff("officer", login="refund_officer"))
        second, _action = self.refund(70, self.env.user)
        approver = self.new_staff("manager", login="refund_manager")
        first.with_user(approver).action_approve()
        with self.assertRaisesRegex(UserError, "The credit is"):
            second.with_user(approver).action_approve()
        second.with_user(approver).action_refuse()
        self.assertEqual((second.state, second.payment_id.id), ("refused", False))

    # To the card

    def paid_by_card(self, amount):
        """A payment by a provider that can refund; its answers to refunds are set by ``self.refund_answer``."""
        model, self.payment_method.support_refund = self.registry["payment.provider"], "partial"
        original = model._compute_feature_support_fields

        def compute(providers):
            original(providers)
            providers.support_refund = "partial"

        self.startPatcher(patch.object(model, "_compute_feature_support_fields", compute))
        self.provider.invalidate_recordset(["support_refund"])
        number = self.env["payment.transaction"].search_count([])
        tx = self._create_transaction(
            "direct", reference=f"PREPAID-{number}", amount=amount, partner_id=self.customer.id, billing_is_topup=True,
            state="done", currency_id=self.currency.id,
        )  # fmt: skip
        tx._post_process()
        self.refund_answer = lambda refund_tx: refund_tx._set_done()
        self.asked = []

        def send(refund_tx):
            self.asked.append(refund_tx.amount)
            self.refund_answer(refund_tx)

        self.startPatcher(patch.object(self.registry["payment.transaction"], "_send_refund_request", send))
        return tx.payment_id

    def test_back_to_the_card(self):
        payment = self.paid_by_card(60)
        refund, _action = self.refund(40, self.new_staff("officer", login="card_officer"), source_payment_id=payment.id)
        self.assertEqual((refund.state, self.asked, refund.payment_id.amount), ("done", [-40], 40))
        self.assertTrue(refund.payment_id.is_reconciled)
        self.customer.invalidate_recordset()
        self.assertEqual(self.customer.billing_credit_amount, 20)
        with self.assertRaises(UserError):
            self.refund(40, source_payment_id=payment.id)
        self.assertEqual(len(self.asked), 1)

    def test_a_provider_that_refuses_the_refund(self):
        payment = self.paid_by_card(60)
        self.refund_answer = lambda refund_tx: refund_tx._set_error("Card closed")
        with self.assertRaisesRegex(UserError, "Card closed"), self.env.cr.savepoint():
            self.refund(40, source_payment_id=payment.id)
        self.assertEqual(self.customer.billing_credit_amount, 60)

    def test_a_refund_without_an_answer_is_not_made_twice(self):
        payment = self.paid_by_card(60)

        def no_answer(refund_tx):
            refund_tx.env.context["billing_call"].is_unknown = True
            raise ValidationError("Could not establish the connection to the payment provider.")

        self.refund_answer = no_answer
        refund, _action = self.refund(40, source_payment_id=payment.id)
        self.assertEqual((refund.state, refund.activity_ids.summary), ("processing", "Was this refund made?"))
        with self.assertRaisesRegex(UserError, "The credit is"):
            self.refund(40, source_payment_id=payment.id)
        refund.transaction_id._set_done()
        refund.transaction_id._post_process()
        self.assertEqual((refund.state, len(self.asked)), ("done", 1))
        self.assertFalse(refund.activity_ids)
        self.customer.invalidate_recordset()
        self.assertEqual(self.customer.billing_credit_amount, 20)

    def test_a_provider_that_refuses_the_refund_later(self):
        payment = self.paid_by_card(60)
        self.refund_answer = lambda refund_tx: refund_tx._set_pending()
        refund, _action = self.refund(40, source_payment_id=payment.id)
        self.assertEqual((refund.state, len(refund.activity_ids)), ("processing", 0))
        refund.transaction_id._set_error("Card closed")
        self.assertEqual((refund.state, refund.activity_ids.summary), ("refused", "The refund was not made"))
        self.assertEqual(self.refund(60, source_payment_id=payment.id)[0].state, "processing")

    def test_a_refund_that_was_made_after_all(self):
        payment = self.paid_by_card(60)
        self.refund_answer = lambda refund_tx: refund_tx._set_pending()
        refund, _action = self.refund(40, source_payment_id=payment.id)
        refund.action_refuse()
        refund.transaction_id._set_done()
        refund.transaction_id._post_process()
        self.assertEqual((refund.state, refund.activity_ids.summary), ("done", "Refunded twice?"))
        self.customer.invalidate_recordset()
        self.assertEqual(self.customer.billing_credit_amount, 20)

    def test_the_form_of_officers(self):
        payment = self.paid_by_card(60)
        officer = self.new_staff("officer", login="form_officer")
        action = self.customer.with_user(officer).action_refund_billing_credit()
        with Form(self.env[action["res_model"]].with_user(officer).with_context(**action["context"])) as form:
            self.assertEqual((form.partner_id, form.amount), (self.customer, 60))
            form.amount = 25
            form.source_payment_id = payment
        form.record.action_refund()
        self.assertEqual((form.record.state, self.asked), ("done", [-25]))

    def test_payments_of_others_are_not_refunded(self):
        payment = self.paid_by_card(60)
        self.pay_in(60, self.other_customer)
        with self.assertRaises(UserError):
            self.refund(10, partner_id=self.other_customer.id, source_payment_id=payment.id)
        self.assertFalse(self.asked)
