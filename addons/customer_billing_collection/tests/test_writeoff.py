from odoo import Command, fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged

from .common_interest import InterestCommon


class WriteoffCommon(InterestCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.bad_debt = cls.env["account.account"].create(
            {"name": "Bad debt", "code": "699900", "account_type": "expense"}
        )
        cls.company.write(
            {"billing_approval": True, "billing_collection_approval_amount": 100.0,
             "billing_bad_debt_account_id": cls.bad_debt.id}
        )  # fmt: skip

    def ask(self, items, amount=None, user=None, case=None, date="2026-06-30", **values):
        """A write-off that ``user`` asked for."""
        items = self.item(items) if items._name == "account.move" else items
        writeoff = self.env["billing.writeoff"].with_user(user or self.collector).create(
            {
                "case_id": (case or self.case).id,
                "move_line_ids": [Command.set(items.ids)],
                "amount": sum(items.mapped("amount_residual_currency")) if amount is None else amount,
                "date": date,
                "reason": "Cannot be found",
                **values,
            }
        )
        writeoff.action_request()
        return writeoff.with_user(self.env.user)

    def approve(self, writeoff):
        writeoff.with_user(self.manager).action_approve()
        return writeoff


@tagged("post_install", "-at_install")
class TestWriteoff(WriteoffCommon):
    def test_the_entry(self):
        first, second = self.invoice(1000.0), self.invoice(500.0, due="2026-02-28")
        self.pay(300.0, "2026-03-01", first)
        writeoff = self.ask(first | second)
        self.assertEqual((writeoff.state, writeoff.requester_id), ("requested", self.collector))
        self.assertFalse(writeoff.move_id)
        self.approve(writeoff)
        self.assertEqual((writeoff.state, writeoff.approver_id), ("posted", self.manager))
        move = writeoff.move_id
        self.assertEqual((move.state, str(move.date), move.company_id), ("posted", "2026-06-30", self.company))
        debit = move.line_ids.filtered(lambda line: line.account_id == self.bad_debt)
        self.assertEqual((debit.balance, debit.tax_ids), (1200.0, self.env["account.tax"]))
        self.assertEqual(sorted(self.item(move).mapped("balance")), [-700.0, -500.0])
        self.assertEqual(set((first | second).mapped("amount_residual")), {0.0})
        self.assertTrue(writeoff.name.startswith("WO/"))

    def test_a_part_of_the_oldest_first(self):
        old, new = self.invoice(1000.0), self.invoice(500.0, due="2026-02-28")
        self.approve(self.ask(old | new, 1100.0))
        self.assertEqual((old.amount_residual, new.amount_residual), (0.0, 400.0))

    def test_taxes_are_included(self):
        invoice = self.invoice(0.0, post=False)
        invoice.invoice_line_ids = [
            Command.clear(),
            Command.create(
                {"name": "X", "price_unit": 100.0, "tax_ids": [Command.set(self.company_data["default_tax_sale"].ids)]}
            ),
        ]
        invoice.action_post()
        self.assertGreater(invoice.amount_tax, 0)
        writeoff = self.approve(self.ask(invoice))
        debit = writeoff.move_id.line_ids.filtered(lambda line: line.account_id == self.bad_debt)
        self.assertEqual(debit.balance, invoice.amount_total)

    def test_foreign_currency_at_book_value(self):
        euro = self.setup_other_currency("EUR", rates=[("2026-01-01", 2.0), ("2026-06-01", 5.0)])
        self.company.billing_collection_approval_amount = 0.0
        case = self.new_case(currency=euro)
        invoice = self.invoice(1000.0, currency=euro)
        self.approve(self.ask(invoice, 400.0, case=case))
        self.assertEqual(invoice.amount_residual, 600.0)
        writeoff = self.approve(self.ask(invoice, case=case))
        self.assertEqual(invoice.amount_residual, 0.0)
        debit = writeoff.move_id.line_ids.filtered(lambda line: line.account_id == self.bad_debt)
        self.assertEqual((debit.currency_id, debit.amount_currency, debit.balance), (euro, 600.0, 300.0))
        self.assertFalse(self.item(invoice).matched_credit_ids.exchange_move_id)

    def test_up_to_the_limit_at_once_without_rights_in_accounting(self):
        invoice = self.invoice(60.0)
        writeoff = self.ask(invoice)
        self.assertEqual((writeoff.state, writeoff.approver_id), ("posted", self.env["res.users"]))
        self.assertEqual(invoice.amount_residual, 0.0)
        with self.assertRaises(AccessError):
            self.env["account.move"].with_user(self.collector).create({"move_type": "entry"})

    def test_invariant_18_small_ones_add_up(self):
        self.ask(self.invoice(60.0))
        self.assertEqual(self.ask(self.invoice(60.0)).state, "requested")

    def test_invariant_18_who_asked_does_not_approve(self):
        writeoff = self.ask(self.invoice(1000.0), user=self.manager)
        self.assertEqual(writeoff.state, "requested")
        for user in (self.manager, self.collector):
            with self.assertRaises(UserError):
                writeoff.with_user(user).action_approve()
        writeoff.with_user(self.second).action_approve()
        self.assertEqual(writeoff.approver_id, self.second)

    def test_approval_switched_off(self):
        self.company.billing_approval = False
        self.assertEqual(self.ask(self.invoice(1000.0)).state, "posted")

    def test_refused(self):
        invoice = self.invoice(1000.0)
        writeoff = self.ask(invoice)
        with self.assertRaises(UserError):
            writeoff.with_user(self.collector).action_refuse()
        writeoff.with_user(self.manager).action_refuse()
        self.assertEqual((writeoff.state, invoice.amount_residual), ("refused", 1000.0))
        with self.assertRaisesRegex(UserError, "Refused"):
            self.approve(writeoff)

    def test_paid_while_it_waited(self):
        invoice = self.invoice(1000.0)
        writeoff = self.ask(invoice)
        self.pay(100.0, "2026-06-30", invoice)
        with self.assertRaisesRegex(UserError, "900.00"):
            self.approve(writeoff)
        self.pay(900.0, "2026-06-30", invoice)
        with self.assertRaisesRegex(UserError, "has been paid"):
            self.approve(writeoff)

    def test_what_is_asked_for_is_checked(self):
        invoice = self.invoice(1000.0)
        for values, words in (
            ({"amount": 1000.01}, "1,000.00"),
            ({"amount": 0.0}, "not"),
            ({"reason": " "}, "Say why"),
        ):
            with self.subTest(values), self.assertRaisesRegex(UserError, words):
                self.ask(invoice, **values)
        with self.assertRaisesRegex(UserError, "no open item"):
            self.ask(self.invoice(5.0, partner=self.other_customer))
        self.company.billing_bad_debt_account_id = False
        with self.assertRaisesRegex(UserError, "bad debt account"):
            self.ask(invoice)

    def test_closed_books_are_named(self):
        invoice = self.invoice(1000.0)
        writeoff = self.ask(invoice)
        self.company.fiscalyear_lock_date = "2026-06-30"
        with self.assertRaisesRegex(UserError, "06/30/2026"):
            self.approve(writeoff)
        self.approve(self.ask(invoice, date="2026-07-01"))
        self.assertEqual(invoice.amount_residual, 0.0)

    def test_invariant_17_what_was_asked_for_does_not_change(self):
        writeoff = self.ask(self.invoice(1000.0))
        for values in ({"amount": 1.0}, {"date": "2026-07-01"}, {"move_line_ids": [Command.clear()]}):
            with self.subTest(values), self.assertRaises(UserError):
                writeoff.with_user(self.manager).write(values)
        for values in ({"state": "posted"}, {"approver_id": self.manager.id}):
            with self.subTest(values), self.assertRaises(AccessError):
                writeoff.with_user(self.manager).write(values)

    def test_invariant_16_roles(self):
        writeoff = self.ask(self.invoice(1000.0))
        for user in (self.officer, self.new_staff("auditor"), self.new_staff("sales")):
            with self.subTest(user.login):
                for call in ("action_request", "action_approve", "action_refuse", "action_take_back"):
                    with self.assertRaises(AccessError):
                        getattr(writeoff.with_user(user), call)()

    def test_interest_ends_with_the_write_off(self):
        invoice = self.invoice(1000.0)
        self.approve(self.ask(invoice, date="2026-02-10"))
        self.assertEqual(self.rows(self.accrue("2026-02-28")), [("2026-02-01", "2026-02-10", 0, 10.0)])

    def test_a_branch_has_its_own_books(self):
        branch = self.env["res.company"].create({"name": "Branch", "parent_id": self.company.id})
        self.env.user.company_ids |= branch
        for user in (self.collector, self.manager):
            user.company_ids |= branch
        self.cr.precommit.run()
        Env = self.env(context={**self.env.context, "allowed_company_ids": (self.company | branch).ids})
        theirs = Env["account.move"].create(
            {
                "move_type": "out_invoice", "company_id": branch.id, "partner_id": self.customer.id,
                "invoice_date": "2026-01-01", "invoice_date_due": "2026-01-31", "invoice_payment_term_id": False,
                "invoice_line_ids": [Command.create({"name": "X", "price_unit": 500.0, "tax_ids": []})],
            }
        )  # fmt: skip
        theirs.action_post()
        ours = self.invoice(1000.0)
        companies = {"allowed_company_ids": (self.company | branch).ids}
        wizard = (
            self.env["billing.writeoff.wizard"].with_user(self.collector).with_context(**companies)
            .create({"case_id": self.case.id, "reason": "Gone", "date": "2026-06-30"})
        )  # fmt: skip
        self.assertEqual(wizard.amount, 1500.0)
        with self.assertRaisesRegex(UserError, "branches"):
            self.ask(self.item(ours | theirs.with_env(self.env)))
        wizard.action_request()
        writeoffs = self.case.writeoff_ids.filtered(lambda writeoff: writeoff.state == "requested")
        self.assertEqual(len(writeoffs), 2)
        writeoffs.with_user(self.manager).with_context(**companies).action_approve()
        self.assertEqual(writeoffs.move_id.company_id, self.company | branch)
        self.assertEqual((ours.amount_residual, theirs.amount_residual), (0.0, 0.0))
        for writeoff in writeoffs:
            self.assertEqual(writeoff.move_id.company_id, writeoff.move_line_ids.company_id)

    # The case

    def test_the_case_ends_as_written_off(self):
        invoice = self.invoice(1000.0, due="2020-01-31")
        self.case._refresh()
        self.approve(self.ask(invoice, 400.0))
        self.cr.precommit.run()
        self.assertNotIn(self.case.state, ("closed", "written_off"))
        self.approve(self.ask(invoice))
        self.cr.precommit.run()
        self.assertEqual((self.case.state, self.case.close_reason), ("written_off", "written_off"))

    # The wizard

    def wizard(self, **values):
        return self.env["billing.writeoff.wizard"].with_user(self.collector).create(
            {"case_id": self.case.id, "reason": "Too little to ask for", "date": "2026-06-30", **values}
        )

    def test_small_rests(self):
        small, large = self.invoice(0.8), self.invoice(1000.0)
        wizard = self.wizard(selection="small")
        self.assertEqual((wizard.move_line_ids, wizard.amount), (self.item(small), 0.8))
        self.assertFalse(wizard.approval_needed)
        wizard.action_request()
        self.assertEqual((small.amount_residual, large.amount_residual), (0.0, 1000.0))

    def test_the_wizard_says_that_approval_is_needed(self):
        self.invoice(1000.0)
        wizard = self.wizard()
        self.assertTrue(wizard.approval_needed)
        action = wizard.action_request()
        self.assertEqual(self.env["billing.writeoff"].browse(action["res_id"]).state, "requested")


@tagged("post_install", "-at_install")
class TestMoneyCame(WriteoffCommon):
    def test_the_payment_settles_the_oldest_first(self):
        old, new = self.invoice(1000.0), self.invoice(500.0, due="2026-02-28")
        writeoff = self.approve(self.ask(old | new))
        self.pay(1200.0, "2026-07-15")
        writeoff.with_user(self.collector).action_take_back("2026-07-20")
        self.assertEqual(writeoff.state, "reversed")
        self.assertEqual((old.amount_residual, new.amount_residual), (0.0, 300.0))
        reversal = writeoff.reversal_move_id
        self.assertEqual((reversal.state, str(reversal.date)), ("posted", "2026-07-20"))
        lines = (writeoff.move_id | reversal).line_ids.filtered(lambda line: line.account_id == self.bad_debt)
        self.assertEqual(sum(lines.mapped("balance")), 0.0)
        self.assertTrue(all(self.item(writeoff.move_id | reversal).mapped("reconciled")))
        with self.assertRaisesRegex(UserError, "Taken back"):
            writeoff.action_take_back()

    def test_in_another_currency(self):
        euro = self.setup_other_currency("EUR", rates=[("2026-01-01", 2.0), ("2026-06-01", 5.0)])
        case = self.new_case(currency=euro)
        invoice = self.invoice(1000.0, currency=euro)
        other = self.invoice(70.0)
        writeoff = self.approve(self.ask(invoice, 600.0, case=case))
        self.pay(1000.0, "2026-07-15", currency=euro)
        self.pay(70.0, "2026-07-15")
        writeoff.action_take_back("2026-07-20")
        self.assertEqual((invoice.amount_residual, other.amount_residual), (0.0, 70.0))

    def test_without_a_payment_the_items_are_open_again(self):
        invoice = self.invoice(1000.0)
        self.pay(300.0, "2026-03-01", invoice)
        writeoff = self.approve(self.ask(invoice))
        writeoff.action_take_back("2026-07-20")
        self.assertEqual(invoice.amount_residual, 700.0)
        again = self.approve(self.ask(invoice))
        self.assertEqual((again.state, invoice.amount_residual), ("posted", 0.0))

    def test_closed_books(self):
        writeoff = self.approve(self.ask(self.invoice(1000.0)))
        self.company.fiscalyear_lock_date = "2026-07-31"
        with self.assertRaisesRegex(UserError, "07/31/2026"):
            writeoff.action_take_back("2026-07-20")
        writeoff.action_take_back("2026-08-01")
        self.assertEqual(writeoff.state, "reversed")

    def test_money_is_noticed_once(self):
        writeoff = self.approve(self.ask(self.invoice(1000.0)))
        elsewhere = self.approve(self.ask(self.invoice(1000.0, partner=self.other_customer),
                                          case=self.new_case(self.other_customer)))  # fmt: skip
        find = self.env["billing.writeoff"].sudo()._cron_find_money
        find()
        self.assertFalse(writeoff.activity_ids)
        self.pay(1000.0, "2026-07-15")
        self.pay(5.0, "2026-01-15", partner=self.other_customer)  # before it was written off
        find()
        self.assertEqual(writeoff.activity_ids.user_id, self.collector)
        self.assertFalse(elsewhere.activity_ids)
        writeoff.activity_ids.sudo().action_feedback(feedback="It is for something else")
        writeoff.sudo().date_suggested = fields.Datetime.add(fields.Datetime.now(), seconds=1)
        find()
        self.assertFalse(writeoff.activity_ids)

    def test_the_activity_is_done_when_it_is_taken_back(self):
        writeoff = self.approve(self.ask(self.invoice(1000.0)))
        self.pay(1000.0, "2026-07-15")
        self.env["billing.writeoff"].sudo()._cron_find_money()
        self.assertTrue(writeoff.activity_ids)
        writeoff.with_user(self.collector).action_take_back("2026-07-20")
        self.assertFalse(writeoff.activity_ids)

    # Whatever is done in accounting

    def test_a_match_that_is_removed_takes_it_back(self):
        old, new = self.invoice(1000.0, due="2020-01-31"), self.invoice(500.0, due="2020-02-28")
        writeoff = self.approve(self.ask(old | new))
        self.cr.precommit.run()
        self.assertEqual(self.case.state, "written_off")
        accountant = self.new_staff("officer", login="writeoff_accountant")
        self.item(new).with_user(accountant).remove_move_reconcile()
        self.cr.precommit.run()
        self.assertEqual(writeoff.state, "reversed")
        self.assertIn(accountant.name, writeoff.reversal_reason)
        self.assertEqual((old.amount_residual, new.amount_residual), (1000.0, 500.0))
        self.assertTrue(all(self.item(writeoff.move_id | writeoff.reversal_move_id).mapped("reconciled")))
        self.assertEqual((self.case.state, self.case.close_reason, self.case.date_closed), ("open", False, False))
        self.assertIn("open again", "".join(self.case.message_ids.mapped("body")))

    def test_a_match_that_is_removed_in_closed_books(self):
        invoice = self.invoice(1000.0)
        writeoff = self.approve(self.ask(invoice))
        self.company.fiscalyear_lock_date = fields.Date.add(self.company._get_billing_today(), days=1)
        with self.assertRaisesRegex(UserError, "books are closed"), self.env.cr.savepoint():
            self.item(invoice).remove_move_reconcile()
        self.assertEqual((writeoff.state, invoice.amount_residual), ("posted", 0.0))

    def test_an_entry_that_accounting_reverses(self):
        invoice = self.invoice(1000.0, due="2020-01-31")
        writeoff = self.approve(self.ask(invoice))
        self.cr.precommit.run()
        wizard = (
            self.env["account.move.reversal"]
            .with_context(active_model="account.move", active_ids=writeoff.move_id.ids)
            .create({"journal_id": writeoff.move_id.journal_id.id, "date": "2026-07-20"})
        )
        wizard.refund_moves()
        self.cr.precommit.run()
        self.assertEqual((writeoff.state, str(writeoff.reversal_move_id.date)), ("reversed", "2026-07-20"))
        self.assertEqual(self.env["account.move"].search([("reversed_entry_id", "=", writeoff.move_id.id)]),
                         writeoff.reversal_move_id)  # fmt: skip
        self.assertEqual((invoice.amount_residual, self.case.state), (1000.0, "open"))

    def test_the_debt_of_a_case_that_goes_on_elsewhere(self):
        invoice = self.invoice(1000.0, due="2020-01-31")
        writeoff = self.approve(self.ask(invoice))
        self.cr.precommit.run()
        other = self.new_case()
        self.invoice(5.0, due="2020-01-31")
        writeoff.action_take_back("2026-07-20")
        self.cr.precommit.run()
        self.assertEqual((self.case.state, other.state), ("written_off", "open"))
        self.assertEqual(other.amount_overdue, 1005.0)


@tagged("post_install", "-at_install")
class TestCashBasis(WriteoffCommon):
    """Taxes that are due on payment."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.company.write({"billing_approval": False, "tax_exigibility": True})
        cls.company.tax_cash_basis_journal_id = cls.company_data["default_journal_misc"]
        cls.transition = cls.env["account.account"].create(
            {"name": "Tax to come", "code": "259900", "account_type": "liability_current", "reconcile": True}
        )
        cls.tax = cls.env["account.tax"].create(
            {
                "name": "On payment", "amount": 20.0, "tax_exigibility": "on_payment",
                "cash_basis_transition_account_id": cls.transition.id,
                "tax_group_id": cls.company_data["default_tax_sale"].tax_group_id.id,
                "country_id": cls.company_data["default_tax_sale"].country_id.id,
            }
        )  # fmt: skip

        lines = cls.tax.invoice_repartition_line_ids | cls.tax.refund_repartition_line_ids
        lines.filtered(lambda line: line.repartition_type == "tax").account_id = cls.company_data[
            "default_account_tax_sale"
        ]

    def taxed(self):
        invoice = self.invoice(0.0, post=False)
        invoice.invoice_line_ids = [
            Command.clear(), Command.create({"name": "X", "price_unit": 100.0, "tax_ids": [Command.set(self.tax.ids)]})
        ]  # fmt: skip
        invoice.action_post()
        self.assertEqual(invoice.amount_total, 120.0)
        return invoice

    def waiting(self):
        """Tax that is not due yet."""
        lines = self.env["account.move.line"].search(
            [("account_id", "=", self.transition.id), ("parent_state", "=", "posted")]
        )
        return -sum(lines.mapped("balance"))

    def test_only_what_is_paid_makes_tax_due(self):
        invoice = self.taxed()
        self.assertEqual(self.waiting(), 20.0)
        writeoff = self.ask(invoice, 60.0)
        self.assertEqual((writeoff.state, self.waiting()), ("posted", 20.0))
        self.pay(60.0, "2026-07-01", invoice)
        self.assertEqual((invoice.amount_residual, self.waiting()), (0.0, 10.0), "half is paid")
        writeoff.action_take_back("2026-07-20")
        self.pay(60.0, "2026-07-21", invoice)
        self.assertEqual((invoice.amount_residual, self.waiting()), (0.0, 0.0))

    def test_the_payment_before_the_write_off(self):
        invoice = self.taxed()
        self.pay(60.0, "2026-03-01", invoice)
        self.ask(invoice)
        self.assertEqual((invoice.amount_residual, self.waiting()), (0.0, 10.0))
