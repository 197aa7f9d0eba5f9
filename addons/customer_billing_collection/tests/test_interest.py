from unittest.mock import patch

from freezegun import freeze_time
from psycopg2.errors import ExclusionViolation, SerializationFailure, UniqueViolation

from odoo import SUPERUSER_ID, Command, api, fields
from odoo.exceptions import AccessError, LockError, UserError, ValidationError
from odoo.tests import tagged
from odoo.tools import SQL, mute_logger

from .common import CollectionCommon
from .common_interest import InterestCommon


@tagged("post_install", "-at_install")
class TestAccrue(InterestCommon):
    def test_a_month(self):
        invoice = self.invoice(1000.0)
        entries = self.accrue("2026-02-28")
        self.assertEqual(self.rows(entries), [("2026-02-01", "2026-02-28", 0, 28.0)])
        self.assertEqual(entries.move_line_id, self.item(invoice))
        self.assertEqual((entries.case_id, entries.partner_id), (self.case, self.customer))
        self.assertEqual(entries.state, "pending")
        self.assertEqual(self.case.interest_through, fields.Date.to_date("2026-02-28"))
        self.assertEqual(self.case.amount_interest, 28.0)

    def test_invariant_15_a_second_run_books_nothing(self):
        self.invoice(1000.0)
        self.accrue("2026-02-28")
        self.assertFalse(self.accrue("2026-02-28"))
        self.assertFalse(self.accrue("2026-02-28", self.case))
        self.assertFalse(self.accrue("2026-02-10", self.case))

    def test_invariant_15_many_runs_give_what_one_run_gives(self):
        one, many = self.customer, self.other_customer
        self.policy.write({"interest_rate": 0.0799, "interest_grace_days": 3})
        cases = {one: self.case, many: self.new_case(many)}
        for partner in cases:
            invoice = self.invoice(777.77, partner=partner)
            self.pay(111.11, "2026-02-02", invoice, partner=partner)
            self.pay(222.22, "2026-02-17", invoice, partner=partner)
        for day in ("2026-02-01", "2026-02-03", "2026-02-04", "2026-02-16", "2026-02-17", "2026-03-31"):
            self.accrue(day, cases[many])
        self.accrue("2026-03-31", cases[one])
        whole = cases[one].interest_ids
        self.assertEqual(len(whole), 1)
        self.assertGreater(len(cases[many].interest_ids), 3)
        self.assertAlmostEqual(sum(cases[many].interest_ids.mapped("amount")), whole.amount, 2)
        days = cases[many].interest_ids.sorted("date_from")
        for before, after in zip(days, days[1:], strict=False):
            self.assertEqual(after.date_from, fields.Date.add(before.date_to, days=1))

    def test_payments_and_credit_notes_in_between(self):
        invoice = self.invoice(1000.0)
        self.pay(400.0, "2026-02-10", invoice)
        credit = self.invoice(-100.0, due="2026-02-20", day="2026-02-20")
        self.match(credit | invoice)
        [entry] = self.accrue("2026-02-28")
        self.assertEqual(entry.amount, 10.0 + 6.0 + 4.0)
        self.assertEqual([s["residual"] for s in entry.trace["stretches"]], ["1000.0", "600.0", "500.0"])
        self.assertEqual([s["days"] for s in entry.trace["stretches"]], [10, 10, 8])

    def test_unallocated_credit_counts_when_it_is_matched(self):
        invoice = self.invoice(1000.0)
        payment = self.pay(1000.0, "2026-02-10")
        entries = self.accrue("2026-02-28")
        self.assertEqual(entries.amount, 28.0)
        self.match(payment | invoice)
        corrections = self.accrue("2026-02-28")
        self.assertEqual(self.rows(corrections), [("2026-02-01", "2026-02-28", 1, -18.0)])

    def test_paid_in_time_or_in_the_grace_bears_nothing(self):
        self.policy.interest_grace_days = 5
        self.pay(100.0, "2026-01-31", self.invoice(100.0))
        self.pay(100.0, "2026-02-05", self.invoice(100.0))
        self.assertFalse(self.accrue("2026-02-28"))

    def test_late_but_paid_before_the_run(self):
        self.pay(1000.0, "2026-02-10", self.invoice(1000.0))
        entries = self.accrue("2026-02-28")
        self.assertEqual(self.rows(entries), [("2026-02-01", "2026-02-10", 0, 10.0)])
        self.assertFalse(self.accrue("2026-03-31"))

    def test_a_closed_case_is_finished_once(self):
        self.pay(1000.0, "2026-02-10", self.invoice(1000.0))
        self.case.sudo().write({"state": "closed", "date_closed": "2026-02-11"})
        self.assertEqual(sum(self.accrue("2026-02-28").mapped("amount")), 10.0)
        self.assertFalse(self.interest._get_due_cases(self.company, fields.Date.to_date("2026-12-31")))

    def test_what_was_settled_before_the_case_began_bears_nothing(self):
        self.pay(1000.0, "2026-02-10", self.invoice(1000.0))
        self.case.sudo().date_opened = "2026-02-11"
        self.assertFalse(self.accrue("2026-02-28"))

    def test_no_interest_before_the_agreed_day(self):
        self.policy.interest_date_from = "2026-02-20"
        self.invoice(1000.0)
        self.assertEqual(self.rows(self.accrue("2026-02-28")), [("2026-02-20", "2026-02-28", 0, 9.0)])

    def test_cap_over_the_life_of_an_item(self):
        self.policy.interest_cap_rate = 0.03
        self.invoice(1000.0)
        self.assertEqual(self.accrue("2026-02-28").amount, 28.0)
        self.assertEqual(self.accrue("2026-03-31").amount, 2.0)
        self.assertFalse(self.accrue("2026-04-30"))

    def test_a_new_rate_leaves_the_days_before(self):
        self.invoice(1000.0)
        self.accrue("2026-02-28")
        self.policy.write({"interest_rate": 0.73, "interest_grace_days": 60, "interest_basis": "actual_360"})
        later = self.accrue("2026-03-31")
        self.assertEqual(self.rows(later), [("2026-03-01", "2026-03-31", 0, 62.86)])

    def test_day_counts(self):
        self.policy.interest_basis = "thirty_360"
        self.invoice(1000.0, due="2026-01-30")
        self.assertEqual(self.accrue("2026-02-28").amount, round(1000 * 0.365 * 28 / 360, 2))

    def test_foreign_currency(self):
        euro = self.setup_other_currency("EUR", rates=[("2026-01-01", 2.0), ("2026-02-15", 4.0)])
        case = self.new_case(currency=euro)
        invoice = self.invoice(1000.0, currency=euro)
        self.pay(400.0, "2026-02-18", invoice, currency=euro)
        [entry] = self.accrue("2026-02-28")
        self.assertEqual((entry.case_id, entry.currency_id, entry.amount), (case, euro, 18.0 + 6.0))
        # the rest by a payment in dollars, with an exchange difference of a later day
        self.pay(150.0, "2026-03-10", invoice)
        self.assertEqual(invoice.payment_state, "paid")
        self.assertEqual(sum(self.accrue("2026-03-31").mapped("amount")), 6.0)

    def test_instalments_of_a_payment_term(self):
        term = self.env["account.payment.term"].create(
            {
                "name": "Halves",
                "line_ids": [
                    Command.create({"value": "percent", "value_amount": 50, "nb_days": 10}),
                    Command.create({"value": "percent", "value_amount": 50, "nb_days": 40}),
                ],
            }
        )
        invoice = self.invoice(1000.0, day="2026-01-01", invoice_payment_term_id=term.id)
        self.assertEqual(len(self.item(invoice)), 2)
        entries = self.accrue("2026-02-20")
        self.assertEqual(sorted(entries.mapped("amount")), [5.0, 20.0])

    def test_opening_entries_bear_interest_and_payments_do_not(self):
        receivable = self.company_data["default_account_receivable"]
        opening = self.env["account.move"].create(
            {
                "move_type": "entry",
                "date": "2025-12-31",
                "line_ids": [
                    Command.create({"account_id": receivable.id, "partner_id": self.customer.id, "debit": 1000.0,
                                    "date_maturity": "2026-01-31"}),
                    Command.create({"account_id": self.company_data["default_account_revenue"].id, "credit": 1000.0}),
                ],
            }
        )  # fmt: skip
        opening.action_post()
        back = self.env["account.payment"].create(
            {"payment_type": "outbound", "partner_type": "customer", "partner_id": self.customer.id, "amount": 50.0,
             "date": "2026-01-15", "journal_id": self.company_data["default_journal_bank"].id}
        )  # fmt: skip
        back.action_post()
        entries = self.accrue("2026-02-28")
        self.assertEqual((entries.move_line_id, entries.amount), (self.item(opening), 28.0))

    def test_two_companies_and_a_branch_with_the_same_customer(self):
        other = self.setup_other_company()["company"]
        branch = self.env["res.company"].create({"name": "Branch", "parent_id": self.company.id})
        self.env.user.company_ids |= branch
        self.cr.precommit.run()
        for company in (other, branch):
            Env = self.env(context={**self.env.context, "allowed_company_ids": company.ids})
            move = Env["account.move"].create(
                {
                    "move_type": "out_invoice", "company_id": company.id, "partner_id": self.customer.id,
                    "invoice_date": "2026-01-01", "invoice_date_due": "2026-01-31", "invoice_payment_term_id": False,
                    "invoice_line_ids": [Command.create({"name": "X", "price_unit": 500.0, "tax_ids": []})],
                }
            )  # fmt: skip
            move.action_post()
        self.invoice(1000.0)
        entries = self.accrue("2026-02-28")
        self.assertEqual(entries.case_id, self.case)
        self.assertEqual(sorted(entries.mapped("amount")), [14.0, 28.0], "its branch, not the other company")
        self.assertEqual(entries.move_line_id.company_id, self.company | branch)
        theirs = self.new_case(company_id=other.id, currency_id=other.currency_id.id)
        entries = self.interest._accrue(other, fields.Date.to_date("2026-02-28"))
        self.assertEqual((entries.case_id, entries.amount), (theirs, 14.0))

    def test_contacts_of_the_customer_count(self):
        contact = self.env["res.partner"].create({"name": "Branch office", "parent_id": self.customer.id})
        self.invoice(1000.0, partner=contact)
        self.assertEqual(self.accrue("2026-02-28").case_id, self.case)

    # Corrections

    def test_an_earlier_payment_comes_to_light(self):
        invoice = self.invoice(1000.0)
        self.accrue("2026-02-28")
        self.accrue("2026-03-31")
        self.pay(1000.0, "2026-03-11", invoice)
        self.assertFalse(self.case.interest_through)
        corrections = self.accrue("2026-03-31")
        self.assertEqual(self.rows(corrections), [("2026-03-01", "2026-03-31", 1, -20.0)])
        self.assertEqual(corrections.state, "pending")
        self.assertFalse(self.accrue("2026-04-30"))

    def test_a_match_taken_back(self):
        invoice = self.invoice(1000.0)
        self.pay(1000.0, "2026-02-10", invoice)
        self.accrue("2026-02-28")
        self.item(invoice).remove_move_reconcile()
        found = self.accrue("2026-02-28")
        self.assertEqual(self.rows(found), [("2026-02-11", "2026-02-28", 0, 18.0)])

    def test_corrections_keep_the_rate_of_their_days(self):
        invoice = self.invoice(1000.0)
        self.accrue("2026-02-28")
        self.policy.interest_rate = 0.73
        self.pay(500.0, "2026-02-18", invoice)
        corrections = self.accrue("2026-02-28")
        self.assertEqual(corrections.amount, -5.0)
        self.policy.interest_rate = 0.0
        self.pay(500.0, "2026-02-08", invoice)
        self.assertEqual(self.accrue("2026-02-28").amount, -10.0 - 5.0 + 5.0)

    def test_what_was_waived_is_not_given_back(self):
        invoice = self.invoice(1000.0)
        entries = self.accrue("2026-02-28")
        entries.action_waive("Good customer")
        self.pay(1000.0, "2026-02-10", invoice)
        [correction] = self.accrue("2026-02-28")
        self.assertEqual((correction.amount, correction.state), (-18.0, "waived"))

    def test_a_bill_reset_to_draft(self):
        invoice = self.invoice(1000.0)
        entries = self.accrue("2026-02-28")
        invoice.button_draft()
        self.assertEqual(entries.state, "void")
        self.assertFalse(self.accrue("2026-02-28"))
        invoice.action_post()
        self.assertEqual(sum(self.accrue("2026-02-28").mapped("amount")), 28.0)

    def test_a_cancelled_bill_gives_back_what_was_billed(self):
        invoice = self.invoice(1000.0)
        self.accrue("2026-02-28")
        self.charge()
        invoice.button_draft()
        invoice.button_cancel()
        [correction] = self.accrue("2026-02-28")
        self.assertEqual((correction.amount, correction.state), (-28.0, "pending"))
        self.assertEqual(self.charge().move_type, "out_refund")

    def test_a_bill_that_is_corrected_with_interest_on_it(self):
        """By hand: amount, due date and terms; whether its interest is billed or not."""
        halves = self.env["account.payment.term"].create(
            {
                "name": "Two halves",
                "line_ids": [
                    Command.create({"value": "percent", "value_amount": 50, "nb_days": days}) for days in (30, 44)
                ],
            }
        )
        for is_billed in (False, True):
            for vals, total in (
                ({"price": 500.0}, 19.0),
                ({"invoice_date_due": "2026-02-14"}, 24.0),
                ({"invoice_payment_term_id": halves.id}, 31.0),  # 500 from 1 February, 500 from 15 February
            ):
                with self.subTest(is_billed=is_billed, **vals):
                    self.case.sudo().interest_through = False
                    invoice = self.invoice(1000.0)
                    self.accrue("2026-02-28")
                    if is_billed:
                        self.charge()
                    invoice.button_draft()
                    if "price" in vals:
                        invoice.invoice_line_ids.price_unit = vals["price"]
                    else:
                        invoice.write(vals)
                    invoice.action_post()
                    self.accrue("2026-03-10")
                    entries = self.interest.search([("move_line_id", "in", self.item(invoice).ids)])
                    self.assertEqual(
                        sum(entries.filtered(lambda entry: entry.state != "void").mapped("amount")), total
                    )

    def test_items_with_billed_interest_are_not_deleted(self):
        invoice = self.invoice(1000.0)
        self.accrue("2026-02-28")
        self.charge()
        invoice.button_draft()
        with self.assertRaisesRegex(UserError, "credit note"):
            invoice.with_context(force_delete=True).unlink()

    def test_no_interest_on_an_invoice_that_says_so(self):
        invoice = self.invoice(1000.0)
        self.accrue("2026-02-28")
        invoice.billing_no_interest = True
        self.assertEqual(self.accrue("2026-02-28").amount, -28.0)

    # The database and two transactions

    def entry_values(self, **values):
        return {
            "case_id": self.case.id, "move_line_id": self.item(self.first).id, "date_from": "2026-02-01",
            "date_to": "2026-02-28", "amount": 1.0, **values,
        }  # fmt: skip

    @mute_logger("odoo.sql_db")
    def test_invariant_15_the_database_refuses_a_day_twice(self):
        self.first = self.invoice(1000.0)
        create = self.interest.sudo().create
        entry = create(self.entry_values())
        for values in (
            {"date_from": "2026-02-28", "date_to": "2026-03-31"},
            {"date_from": "2026-02-10", "date_to": "2026-02-10"},
            {"date_from": "2026-01-01", "date_to": "2026-02-01"},
        ):
            with self.subTest(values), self.assertRaises(ExclusionViolation), self.cr.savepoint():
                create(self.entry_values(**values))
        create(self.entry_values(date_from="2026-03-01", date_to="2026-03-31"))
        create(self.entry_values(move_line_id=self.item(self.invoice(5.0)).id))
        create(self.entry_values(revision=1, amount=-1.0))
        with self.assertRaises(UniqueViolation), self.cr.savepoint():
            create(self.entry_values(revision=1, amount=-1.0))
        entry.state = "void"
        self.env.flush_all()
        create(self.entry_values())

    def test_terms_are_checked(self):
        with self.assertRaises(ValidationError):
            self.policy.interest_product_id = False
        with self.assertRaises(ValidationError):
            self.policy.interest_grace_days = -1

    def test_queries_do_not_grow_with_items(self):
        partners = self.env["res.partner"].create([{"name": f"P{number}"} for number in range(12)])
        for partner in partners:
            self.new_case(partner)
            self.invoice(100.0, partner=partner)
            self.pay(10.0, "2026-02-10", self.invoice(50.0, partner=partner), partner=partner)
        cases = self.env["billing.case"].search([("partner_id", "in", partners.ids)])
        counts = []
        for size, day in ((4, "2026-02-28"), (8, "2026-02-28"), (12, "2026-03-31")):
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.cr.sql_log_count
            entries = self.accrue(day, cases[:size])
            self.env.flush_all()
            counts.append(self.cr.sql_log_count - before)
            self.assertGreaterEqual(len(entries), 8)
        self.assertLessEqual(counts[1], counts[0] + 2)
        self.assertLessEqual(counts[2], counts[0] + 4)


@tagged("post_install", "-at_install")
class TestInterestCollision(InterestCommon):
    """Two real transactions: whoever loses has booked nothing."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()

    def test_invariant_15_two_runs_at_once(self):
        """What another transaction sees is committed data only, so both use cases of their own cursors."""
        registry = self.env.registry
        with registry.cursor() as cr:
            env = api.Environment(cr, SUPERUSER_ID, {"tracking_disable": True})
            company = env["res.company"].search([], limit=1, order="id")
            partner = env["res.partner"].create({"name": "Interest collision"})
            policy = env["billing.dunning.policy"].create(
                {"name": "Collision", "interest_rate": 0.365, "company_id": company.id}
            )
            case = env["billing.case"].create(
                {"partner_id": partner.id, "company_id": company.id, "currency_id": company.currency_id.id,
                 "policy_id": policy.id, "date_opened": "2026-01-01"}
            )  # fmt: skip
            cr.commit()
            ids = (partner.id, policy.id, case.id)
        self.addCleanup(self.clean, *ids)
        day = fields.Date.to_date("2026-02-28")
        with registry.cursor() as first, registry.cursor() as second:
            one, two = (api.Environment(cr, SUPERUSER_ID, {}) for cr in (first, second))
            case_one, case_two = (env["billing.case"].browse(ids[2]) for env in (one, two))
            case_two.read(["state"])  # the second transaction has begun
            one["billing.interest"]._accrue(case_one.company_id, day, case_one)
            with self.assertRaises(LockError):  # while the first one is at work
                two["billing.interest"]._accrue(case_two.company_id, day, case_two)
            second.rollback()
            case_two.read(["state"])
            first.commit()
            with self.assertRaises(SerializationFailure), mute_logger("odoo.sql_db"):  # it read the ledger before
                two["billing.interest"]._accrue(case_two.company_id, day, case_two)

    def clean(self, partner_id, policy_id, case_id):
        with self.env.registry.cursor() as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            for table, record_id in (("billing_case", case_id), ("billing_dunning_policy", policy_id)):
                cr.execute(SQL("DELETE FROM %s WHERE id = %s", SQL.identifier(table), record_id))
            env["res.partner"].browse(partner_id).unlink()
            cr.commit()


@tagged("post_install", "-at_install")
class TestFee(InterestCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.step = cls.env["billing.dunning.step"].create(
            {"policy_id": cls.policy.id, "name": "Second reminder", "days": 20, "fee_amount": 5.0}
        )

    def new_notice(self, case=None):
        notice_sudo = self.env["billing.dunning.notice"].sudo().create(  # protected fields
            {"case_id": (case or self.case).id, "step_id": self.step.id, "date": "2026-02-20", "channel": "email"}
        )
        return notice_sudo.sudo(False)

    def test_once_for_each_notice(self):
        notices = self.new_notice() | self.new_notice(self.new_case(self.other_customer))
        fees = self.interest._add_fee(notices[0])
        self.assertEqual((fees.kind, fees.amount, fees.notice_id), ("fee", 5.0, notices[0]))
        self.assertEqual(self.interest._add_fee(notices).notice_id, notices[1])
        self.assertFalse(self.interest._add_fee(notices))

    @mute_logger("odoo.sql_db")
    def test_the_database_refuses_a_second_fee(self):
        fee = self.interest._add_fee(self.new_notice())
        with self.assertRaises(UniqueViolation), self.cr.savepoint():
            fee.sudo().copy()

    def test_in_the_currency_of_the_case(self):
        euro = self.setup_other_currency("EUR", rates=[("2026-01-01", 2.0)])
        fee = self.interest._add_fee(self.new_notice(self.new_case(currency=euro)))
        self.assertEqual((fee.currency_id, fee.amount), (euro, 10.0))

    def test_a_step_without_fee(self):
        self.step.fee_amount = 0.0
        self.assertFalse(self.interest._add_fee(self.new_notice()))

    def test_billed_with_the_interest(self):
        self.invoice(1000.0)
        self.interest._add_fee(self.new_notice())
        self.accrue("2026-02-28")
        bill = self.charge()
        self.assertEqual(bill.amount_untaxed, 33.0)
        self.assertIn("Second reminder", bill.invoice_line_ids[0].name)


@tagged("post_install", "-at_install")
class TestInterestBill(InterestCommon):
    def test_one_draft_for_a_customer_and_currency(self):
        first, second = self.invoice(1000.0), self.invoice(500.0, due="2026-02-18")
        self.accrue("2026-02-28")
        self.accrue("2026-03-31")
        bill = self.charge()
        self.assertEqual((bill.state, bill.move_type, bill.partner_id), ("draft", "out_invoice", self.customer))
        self.assertEqual(bill.invoice_line_ids.product_id, self.policy.interest_product_id)
        self.assertEqual(bill.invoice_line_ids.mapped("price_unit"), [28.0 + 31.0, 5.0 + 15.5])
        text = bill.invoice_line_ids[0].name
        for part in (first.name, "28 days", "31 days", "36.5%", "1,000.00"):
            self.assertIn(part, text)
        self.assertIn(second.name, bill.invoice_line_ids[1].name)
        self.assertEqual(set(self.case.interest_ids.mapped("state")), {"billed"})
        self.assertEqual(self.case.interest_ids.invoice_id, bill)
        self.assertFalse(self.charge())

    def test_texts_in_the_language_of_the_customer(self):
        self.env["res.lang"]._activate_lang("zh_CN")
        self.customer.lang = "zh_CN"
        self.invoice(1000.0)
        self.accrue("2026-02-28")
        self.assertIn("2026/02/01", self.charge().invoice_line_ids.name)

    def test_no_interest_on_interest(self):
        self.invoice(1000.0)
        self.accrue("2026-02-28")
        bill = self.charge()
        bill.invoice_date_due = "2026-03-01"
        bill.action_post()
        items = self.accrue("2026-03-31").move_line_id
        self.assertNotIn(self.item(bill), items)
        self.assertEqual(len(items), 1)
        copy = bill.copy({"invoice_date": "2026-03-01"})
        self.assertTrue(copy.billing_no_interest)
        self.assertFalse(copy.billing_interest_case_id)

    def test_it_is_an_item_that_is_demanded(self):
        self.invoice(1000.0)
        self.accrue("2026-02-28")
        bill = self.charge()
        bill.action_post()
        items = self.env["billing.receivable"]._get_open_items(self.company, fields.Date.to_date("2026-03-31"))
        self.assertIn(self.item(bill).id, [item["move_line_id"] for item in items])

    def test_the_minimum_in_company_currency(self):
        euro = self.setup_other_currency("EUR", rates=[("2026-01-01", 2.0)])
        self.policy.interest_minimum_amount = 20.0
        self.new_case(currency=euro)
        self.invoice(1000.0, currency=euro)  # 28 euros are 14 dollars
        self.invoice(1000.0)
        self.accrue("2026-02-28")
        bill = self.charge()
        self.assertEqual(bill.currency_id, self.usd)
        self.accrue("2026-03-31")
        self.assertEqual(self.charge(date="2026-04-01").currency_id, self.usd | euro)

    def test_in_dispute_it_accrues_and_is_not_billed(self):
        invoice = self.invoice(1000.0)
        dispute = self.env["billing.dispute"].create({"name": "Why", "move_id": invoice.id})
        self.accrue("2026-02-28")
        self.assertFalse(self.charge())
        dispute.write({"resolution": "It is right"})
        dispute.action_reject()
        self.assertEqual(self.charge().amount_untaxed, 28.0)

    def test_posted_when_the_company_wants_it(self):
        self.company.billing_interest_billing = "post"
        self.invoice(1000.0)
        self.accrue("2026-02-28")
        self.assertEqual(self.charge().state, "posted")

    def test_taxes_of_the_product(self):
        self.policy.interest_product_id = self.product
        self.invoice(1000.0)
        self.accrue("2026-02-28")
        self.assertEqual(self.charge().invoice_line_ids.tax_ids, self.company_data["default_tax_sale"])

    def test_a_policy_without_product(self):
        self.env["billing.dunning.step"].create(
            {"policy_id": self.policy.id, "name": "Fee", "days": 20, "fee_amount": 5.0}
        )
        self.invoice(1000.0)
        self.accrue("2026-02-28")
        self.policy.write({"interest_rate": 0.0, "interest_product_id": False})
        with self.assertRaisesRegex(UserError, "no product"):
            self.charge()

    def test_a_correction_is_a_credit_note(self):
        invoice = self.invoice(1000.0)
        self.accrue("2026-02-28")
        self.charge().action_post()
        self.pay(1000.0, "2026-02-10", invoice)
        self.accrue("2026-02-28")
        self.policy.interest_minimum_amount = 50.0  # what is owed to the customer is given whatever the minimum
        credit = self.charge()
        self.assertEqual((credit.move_type, credit.amount_total), ("out_refund", 18.0))

    # What happens to the bill

    def billed(self):
        self.invoice(1000.0)
        self.accrue("2026-02-28")
        return self.charge()

    def test_a_deleted_draft_is_billed_again(self):
        self.billed().unlink()
        self.assertEqual(self.case.interest_ids.state, "pending")
        self.assertEqual(self.charge().amount_untaxed, 28.0)

    def test_a_deleted_line_is_billed_again(self):
        bill = self.billed()
        bill.invoice_line_ids.unlink()
        self.assertEqual(self.case.interest_ids.state, "pending")

    def test_a_cancelled_bill_is_billed_again_and_does_not_come_back(self):
        bill = self.billed()
        bill.action_post()
        bill.button_draft()
        self.assertEqual(self.case.interest_ids.state, "billed")
        bill.button_cancel()
        self.assertEqual(self.case.interest_ids.state, "pending")
        with self.assertRaisesRegex(UserError, "cannot come back"):
            bill.button_draft()
        self.assertEqual(self.charge().amount_untaxed, 28.0)

    def test_a_full_credit_note_waives(self):
        bill = self.billed()
        bill.action_post()
        credit = bill._reverse_moves([{"date": "2026-03-05", "invoice_date": "2026-03-05"}])
        self.assertEqual(self.case.interest_ids.state, "billed")
        credit.action_post()
        self.assertEqual(self.case.interest_ids.state, "waived")
        self.assertFalse(self.charge())
        self.assertFalse(self.accrue("2026-02-28", self.case))
        credit.button_draft()
        self.assertEqual(self.case.interest_ids.state, "billed")

    def test_a_partial_credit_note_is_goodwill(self):
        bill = self.billed()
        bill.action_post()
        credit = bill._reverse_moves([{"date": "2026-03-05", "invoice_date": "2026-03-05"}])
        credit.invoice_line_ids.price_unit = 10.0
        credit.action_post()
        self.assertEqual(self.case.interest_ids.state, "billed")

    # The job

    def test_the_job_accrues_and_bills_the_last_month(self):
        self.invoice(1000.0)
        with self.in_job(), self.on("2026-03-07"):
            self.interest.with_user(SUPERUSER_ID)._cron_accrue()
            self.interest.with_user(SUPERUSER_ID)._cron_accrue()
        self.assertEqual(self.rows(self.case.interest_ids), [("2026-02-01", "2026-02-28", 0, 28.0)])
        self.assertEqual(self.case.interest_ids.invoice_id.state, "draft")
        self.company.billing_interest_billing = "none"
        with self.in_job(), self.on("2026-04-01"):
            self.interest.with_user(SUPERUSER_ID)._cron_accrue()
        self.assertEqual(sorted(self.case.interest_ids.mapped("state")), ["billed", "pending"])

    def on(self, day):
        """Let it be that day."""
        return patch.object(
            self.registry["res.company"], "_get_billing_today", lambda _company: fields.Date.to_date(day)
        )


@tagged("post_install", "-at_install")
class TestWaiver(InterestCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.company.write({"billing_approval": True, "billing_collection_approval_amount": 30.0})
        cls.invoice(1000.0)
        cls.accrue("2026-02-28")
        cls.accrue("2026-03-31")
        cls.february, cls.march = cls.case.interest_ids.sorted("date_from")

    def test_below_the_limit_at_once(self):
        self.february.with_user(self.officer).action_waive("Good customer")
        self.assertEqual((self.february.state, self.february.waive_requester_id), ("waived", self.officer))
        self.assertEqual(self.charge().amount_untaxed, 31.0)

    def test_invariant_18_small_waivers_add_up(self):
        self.february.with_user(self.officer).action_waive("Good customer")
        self.march.with_user(self.officer).action_waive("Again")
        self.assertEqual(self.march.state, "pending")

    def test_invariant_18_who_asked_does_not_approve(self):
        entries = self.february | self.march
        entries.with_user(self.manager).action_waive("Good customer")
        self.assertEqual(set(entries.mapped("state")), {"pending"})
        self.assertFalse(self.charge(), "what is about to be waived is not billed")
        for user in (self.manager, self.officer):
            with self.assertRaises(UserError):
                entries.with_user(user).action_approve_waiver()
        entries.with_user(self.second).action_approve_waiver()
        self.assertEqual(set(entries.mapped("state")), {"waived"})
        self.assertEqual(entries.waive_approver_id, self.second)
        self.assertFalse(self.accrue("2026-03-31", self.case))

    def test_refused(self):
        self.march.with_user(self.officer).action_waive("Good customer")
        self.march.with_user(self.manager).action_refuse_waiver()
        self.assertEqual(self.charge().amount_untaxed, 59.0)
        with self.assertRaisesRegex(UserError, "Nobody has asked"):
            self.march.with_user(self.manager).action_approve_waiver()

    def test_reasons_and_states_are_checked(self):
        with self.assertRaisesRegex(UserError, "Say why"):
            self.february.action_waive(" ")
        self.charge()
        with self.assertRaisesRegex(UserError, "credit note"):
            self.february.action_waive("Late")

    def test_by_the_wizard(self):
        wizard = (
            self.env["billing.interest.waiver"]
            .with_user(self.officer)
            .with_context(active_model="billing.interest", active_ids=self.february.ids)
            .create({"reason": "Good customer"})
        )
        wizard.action_waive()
        self.assertEqual((self.february.state, self.february.waive_reason), ("waived", "Good customer"))

    def test_the_limit_is_on_record(self):
        messages = self.company.partner_id.message_ids
        self.company.billing_collection_approval_amount = 1000.0
        self.assertIn("1,000.00", (self.company.partner_id.message_ids - messages).body)

    # Rights

    def test_invariant_16_roles(self):
        for user in (self.collector, self.new_staff("auditor"), self.new_staff("sales")):
            with self.subTest(user.login):
                interest = self.interest.with_user(user)
                with self.assertRaises(AccessError):
                    interest.accrue("2026-04-30")
                for call in (lambda e: e.action_waive("X"), lambda e: e.action_bill(),
                             lambda e: e.action_approve_waiver(), lambda e: e.action_refuse_waiver()):  # fmt: skip
                    with self.assertRaises(AccessError):
                        call(self.february.with_user(user))
        self.assertEqual(self.interest.with_user(self.officer).accrue("2026-04-30"), 1)
        other = self.setup_other_company()["company"]
        case = self.new_case(company_id=other.id, currency_id=other.currency_id.id)
        for cases in (None, case.with_user(self.officer)):
            with self.assertRaises(AccessError):
                self.interest.with_user(self.officer)._accrue(other, fields.Date.to_date("2026-04-30"), cases)

    def test_invariant_17_nothing_is_written_directly(self):
        for values in ({"amount": 0.0}, {"state": "waived"}, {"date_to": "2026-04-30"}, {"waive_approver_id": 1}):
            with self.subTest(values), self.assertRaises(AccessError):
                self.february.with_user(self.manager).write(values)
        with self.assertRaises(AccessError):
            self.interest.with_user(self.manager).create({"case_id": self.case.id})
        with self.assertRaises(AccessError):
            self.case.with_user(self.manager).write({"interest_through": False})


@tagged("post_install", "-at_install")
class TestInterestPreview(InterestCommon):
    def preview(self, user=None, **values):
        return self.env["billing.interest.preview"].with_user(user or self.env.user).create(
            {"case_id": self.case.id, "date": "2026-03-31", **values}
        )

    def test_invariant_7_preview_is_the_run(self):
        self.policy.interest_rate = 0.0987
        for number in range(5):
            invoice = self.invoice(333.33 + number)
            self.pay(100.01, f"2026-02-{10 + number}", invoice)
        self.accrue("2026-02-28")
        self.pay(50.0, "2026-02-20", invoice)
        preview = self.preview(self.collector)
        shown = [(line.move_line_id, line.is_correction, line.amount) for line in preview.line_ids if line.amount]
        count = len(self.case.interest_ids)
        preview.with_user(self.officer).action_accrue()
        entries = self.case.interest_ids.sorted("id")[count:]
        self.assertEqual(sorted(shown, key=str), sorted(
            ((entry.move_line_id, bool(entry.revision), entry.amount) for entry in entries), key=str))  # fmt: skip
        self.assertEqual(len(entries), 6)
        self.assertTrue(any(entry.revision for entry in entries))

    def test_the_calculation(self):
        invoice = self.invoice(1000.0)
        self.pay(400.0, "2026-03-10", invoice)
        lines = self.preview().line_ids
        self.assertEqual(lines.mapped("days"), [38, 21])
        self.assertEqual(lines.mapped("residual"), [1000.0, 600.0])
        self.assertEqual(lines.mapped("amount"), [0.0, 50.6])
        self.assertAlmostEqual(sum(lines.mapped("interest")), 50.6, 4)

    def test_of_a_policy(self):
        other = self.new_case(self.other_customer)
        self.invoice(1000.0)
        self.invoice(500.0, partner=self.other_customer)
        preview = self.preview(case_id=False, policy_id=self.policy.id, date="2026-02-28")
        self.assertEqual(preview.line_ids.case_id, self.case | other)
        action = preview.with_user(self.officer).action_bill()
        self.assertEqual(action["views"][0][1], "list")
        bills = self.env["account.move"].search(action["domain"])
        self.assertEqual(sorted(bills.mapped("amount_untaxed")), [14.0, 28.0])

    def test_nothing_to_book(self):
        preview = self.preview()
        self.assertFalse(preview.entry_count)
        with self.assertRaises(UserError):
            preview.action_accrue()
        with self.assertRaisesRegex(UserError, "nothing to bill"):
            preview.action_bill()

    def test_who_only_looks_books_nothing(self):
        self.invoice(1000.0)
        preview = self.preview(self.collector)
        self.assertEqual(preview.entry_count, 1)
        for button in (preview.action_accrue, preview.action_bill):
            with self.assertRaises(AccessError):
                button()


@tagged("post_install", "-at_install")
class TestFeeOfNotice(CollectionCommon):
    def test_a_notice_that_was_sent_is_charged_once(self):
        self.step("Second").fee_amount = 7.5
        self.invoice("2026-03-10", 100.0)
        for day, amounts in (("2026-03-13", []), ("2026-03-30", [7.5]), ("2026-03-31", [7.5])):
            with freeze_time(day):
                self.night()
                fees = self.case().interest_ids
                self.assertEqual(fees.mapped("amount"), amounts, day)
        self.assertEqual((fees.kind, fees.notice_id.step_id), ("fee", self.step("Second")))
