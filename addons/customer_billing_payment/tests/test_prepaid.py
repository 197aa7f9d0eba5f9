from unittest.mock import patch

from odoo import Command
from odoo.exceptions import ValidationError
from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import PaymentBillingCommon


@tagged("post_install", "-at_install")
class TestPrepaid(PaymentBillingCommon):
    """Prepaid balances as a liability."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.account = cls.env["account.account"].create(
            {
                "name": "Customer Prepayments", "code": "255001", "account_type": "liability_current",
                "reconcile": True, "company_ids": [Command.link(cls.company.id)],
            }
        )  # fmt: skip
        cls.company.billing_prepaid_account_id = cls.account
        cls.customer.write({"billing_prepaid": True, "billing_prepaid_threshold": 50.0})

    def run_job(self):
        with self.in_job():
            self.env["res.partner"].with_user(self.env.ref("base.user_root"))._cron_billing_credits()

    def top_up(self, amount, **values):
        """The customer tops up in the portal; returns the transaction."""
        number = self.env["payment.transaction"].search_count([])
        tx = self._create_transaction(
            "direct", reference=f"PREPAID-{number}", amount=amount, partner_id=self.user_one.partner_id.id,
            billing_is_topup=True, **values,
        )  # fmt: skip
        tx._set_done()
        tx._post_process()
        return tx

    def top_up_bills(self):
        return self.env["account.move"].search([("billing_prepaid_kind", "=", "topup")], order="id")

    def balance(self):
        self.customer.invalidate_recordset(["billing_credit_amount"])
        return self.customer.billing_credit_amount

    def ledger(self):
        """What the general ledger says of the customer: (liability, receivable)."""
        found = []
        for domain in ([("account_id", "=", self.account.id)], [("account_type", "=", "asset_receivable")]):
            lines = self.env["account.move.line"].search(
                [*domain, ("partner_id.commercial_partner_id", "=", self.customer.id), ("parent_state", "=", "posted")]
            )
            found.append(sum(lines.mapped("balance")))
        return tuple(found)

    # Top-up bills

    def test_a_top_up_has_a_bill_that_is_a_liability(self):
        tx = self.top_up(100.0)
        bill = self.top_up_bills()
        self.assertEqual((bill.amount_total, bill.amount_tax, bill.amount_residual), (100, 0, 0))
        self.assertEqual(bill.ref, tx.payment_id.move_id.name)
        self.assertTrue(bill.name and bill.name != "/")
        self.assertEqual(self.ledger(), (-100, 0))
        self.assertEqual(self.balance(), 100)
        self.assertIn("No tax is charged here", bill.narration)
        self.run_job()
        self.assertEqual(self.top_up_bills(), bill)
        html = self.env["ir.actions.report"]._render_qweb_html("account.account_invoices", bill.ids)[0].decode()
        self.assertIn("Top-Up Bill", html)
        self.assertIn(bill.name, html)

    def test_a_transfer_tops_up_too(self):
        self.pay_in(70)
        self.run_job()
        self.assertEqual((self.top_up_bills().amount_total, self.ledger()), (70, (-70, 0)))

    def test_what_is_open_is_settled_before(self):
        move = self.open_bill(60)
        self.top_up(100.0)
        self.assertEqual((move.amount_residual, self.top_up_bills().amount_total), (0, 40))
        self.open_bill(40)
        self.top_up(30.0)
        self.assertEqual(self.ledger(), (-30, 0))

    def test_without_an_account_it_stays_a_credit(self):
        self.company.billing_prepaid_account_id = False
        self.top_up(100.0)
        self.assertFalse(self.top_up_bills())
        self.assertEqual((self.balance(), self.ledger()), (100, (0, -100)))

    def test_only_customers_who_pay_in_advance(self):
        self.customer.billing_prepaid = False
        self.pay_in(70)
        self.open_bill(30, move_type="out_refund")
        self.run_job()
        self.assertFalse(self.top_up_bills())
        self.customer.billing_prepaid = True
        self.run_job()
        self.assertEqual(self.top_up_bills().amount_total, 70, "a credit note is no prepayment")
        self.assertEqual(self.balance(), 100)

    def test_the_account_is_a_liability_that_can_be_matched(self):
        for values in ({"account_type": "income"}, {"reconcile": False}):
            account = self.account.copy(values)
            with self.subTest(values=values), self.assertRaises(ValidationError):
                self.company.billing_prepaid_account_id = account

    def test_a_journal_of_their_own_has_their_numbers(self):
        bill = self.open_bill(10)
        journal = self.env["account.journal"].create({"name": "Top-ups", "code": "TOPUP", "type": "sale"})
        self.company.billing_prepaid_journal_id = journal
        self.top_up(110.0)
        self.top_up(20.0)
        first, second = self.top_up_bills()
        self.assertEqual((first | second).journal_id, journal)
        self.assertTrue(first.name.startswith("TOPUP/"), first.name)
        self.assertEqual(second.sequence_number, first.sequence_number + 1)
        self.assertEqual(self.ledger(), (-120, 0))
        later = self.open_bill(50)
        self.assertEqual((later.journal_id, later.sequence_number), (bill.journal_id, bill.sequence_number + 1))
        self.assertEqual(self.balance(), 70)
        with self.assertRaises(ValidationError):
            self.company.billing_prepaid_journal_id = self.company_data["default_journal_bank"]
        journal.active = False
        self.top_up(5.0)
        self.assertEqual(self.top_up_bills()[-1].journal_id, bill.journal_id)

    def test_its_receivable_is_that_of_the_payment(self):
        payment = self.pay_in(10)
        self.customer.property_account_receivable_id = self.company_data["default_account_receivable"].copy()
        self.run_job()
        self.assertEqual(self.top_up_bills().amount_residual, 0)
        self.assertTrue(payment.is_reconciled)

    def test_a_bill_that_cannot_be_made_stops_neither_the_payment_nor_others(self):
        model = self.registry["res.partner"]
        original = model._prepare_billing_topup

        def prepare(partner, *args):
            if partner.commercial_partner_id == self.customer:
                raise ValueError("broken")
            return original(partner, *args)

        self.other_customer.billing_prepaid = True
        self.pay_in(30, self.other_customer)
        with (
            patch.object(model, "_prepare_billing_topup", prepare),
            mute_logger("odoo.addons.customer_billing_payment.models.res_partner"),
        ):
            tx = self.top_up(100.0)
            self.assertTrue(tx.payment_id.move_id)
            self.run_job()
        self.assertEqual((self.top_up_bills().amount_total, self.balance()), (30, 100))
        self.run_job()
        self.assertEqual(self.top_up_bills().mapped("amount_total"), [30, 100])

    # Draw-down

    def test_later_bills_draw_on_it_the_oldest_first(self):
        self.top_up(100.0)
        newer, older = self.open_bill(80, days=10, post=False), self.open_bill(50, days=-10, post=False)
        (newer | older).action_post()
        self.assertEqual((older.amount_residual, newer.amount_residual), (0, 30))
        self.assertEqual((self.ledger(), self.balance()), ((0, 30), 0))
        self.top_up(50.0)
        self.assertEqual((newer.amount_residual, self.balance()), (0, 20))
        self.assertEqual(self.top_up_bills().mapped("amount_total"), [100, 20])

    def test_bills_of_a_run_draw_on_it(self):
        self.top_up(1000.0)
        move = self.contract_bill()
        self.assertEqual(move.amount_residual, 0)
        self.assertEqual(self.balance(), 1000 - move.amount_total)
        draw = self.env["account.move"].search([("billing_prepaid_kind", "=", "draw")])
        self.assertIn(move.name, draw.ref)

    def test_disputed_bills_others_and_other_currencies_are_left_alone(self):
        self.top_up(100.0)
        self.customer.billing_prepaid = False
        move = self.open_bill(10)
        self.env["billing.dispute"].create({"move_id": move.id, "name": "Wrong"})
        self.customer.billing_prepaid = True
        other = self.open_bill(20, partner=self.other_customer)
        foreign = self.open_bill(30, currency=self.setup_other_currency("EUR"))
        self.run_job()
        self.assertEqual((move | other | foreign).mapped("amount_residual"), [10, 20, 30])
        self.assertEqual(self.balance(), 100)

    def test_what_a_bill_does_not_need_any_more_is_balance_again(self):
        self.top_up(100.0)
        first = self.open_bill(60)
        first._reverse_moves(cancel=True)
        self.assertEqual(self.balance(), 100)
        second = self.open_bill(90)
        self.assertEqual((second.amount_residual, self.balance()), (0, 10))

    def test_a_payment_that_is_taken_back_is_no_balance(self):
        payment = self.pay_in(100)
        self.run_job()
        self.open_bill(30)
        payment.move_id.line_ids.remove_move_reconcile()
        payment.action_draft()
        self.assertEqual((self.balance(), self.top_up_bills().amount_residual), (0, 100))
        move = self.open_bill(20)
        self.run_job()
        self.assertEqual((move.amount_residual, self.top_up_bills().amount_residual), (20, 100))

    def test_amounts_in_another_currency_are_a_balance_in_it(self):
        euro = self.setup_other_currency("EUR")
        self.pay_in(40, currency_id=euro.id)
        self.run_job()
        move = self.open_bill(30, currency=euro)
        self.assertEqual(move.amount_residual, 0)
        [(amount, _company_amount)] = self.customer._get_billing_credits(self.company)[self.customer.id].values()
        self.assertEqual(amount, 10)

    def test_revenue_is_what_is_billed_not_what_is_paid_in_advance(self):
        self.top_up(500.0)
        before = self.customer.billing_revenue_year
        self.open_bill(60)
        self.customer.invalidate_recordset()
        self.assertEqual((before, self.customer.billing_revenue_year), (0, 60))

    def test_queries_do_not_grow_with_customers(self):
        def count(customers):
            partners = self.env["res.partner"].create(
                [{"name": f"P{n}", "billing_prepaid": True} for n in range(customers)]
            )
            for partner in partners:
                self.pay_in(10, partner)
            partners._bill_billing_prepayments(self.company)
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            self.assertEqual(len(partners._get_billing_low(self.company)[1]), customers)
            return self.env.cr.sql_log_count - before

        count(1)
        self.assertEqual(count(2), count(5))

    # Alerts

    def test_told_once_per_crossing(self):
        def mails():
            self.run_job()
            return self.env["mail.mail"].search_count([("subject", "like", "prepaid balance is low")])

        self.top_up(60.0)
        counts = [mails()]
        for amount in (20, 5):
            self.open_bill(amount)
            counts += [mails(), mails()]
        self.top_up(30.0)
        counts.append(mails())
        self.open_bill(30)
        counts.append(mails())
        self.assertEqual(counts, [0, 1, 1, 1, 1, 1, 2])

    # Refunds

    def test_a_prepaid_balance_is_refunded(self):
        self.top_up(100.0)
        self.open_bill(30)
        refund = self.env["billing.credit.refund"].create(
            {"partner_id": self.customer.id, "journal_id": self.company_data["default_journal_bank"].id}
        )
        self.assertEqual(refund.amount, 70)
        refund.amount = 50
        refund.action_refund()
        self.assertEqual((refund.state, self.balance(), self.ledger()), ("done", 20, (-20, 0)))

    # Access

    def test_invariant_16_top_up_bills_are_for_their_customer(self):
        self.top_up(100.0)
        bill = self.top_up_bills()
        bill.invalidate_recordset()
        for user, expected in ((self.user_one, True), (self.user_two, False)):
            with self.subTest(user=user.login):
                self.assertEqual(bill.with_user(user).has_access("read"), expected)
                self.assertEqual(bill.line_ids[:1].with_user(user).has_access("read"), expected)
