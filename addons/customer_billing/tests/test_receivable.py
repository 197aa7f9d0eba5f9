import random
from datetime import date, timedelta
from io import BytesIO

from openpyxl import load_workbook

from odoo import Command, fields
from odoo.exceptions import AccessError, ValidationError
from odoo.tests import HttpCase, tagged

from .common import BillingCommon


class ReceivableCommon(BillingCommon):
    """A company in USD with customers that pay in EUR, CHF and USD at rates that change."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.usd = cls.company.currency_id
        days = ("2025-01-01", "2026-02-01", "2026-03-01")
        cls.eur = cls.setup_other_currency("EUR", rates=list(zip(days, (0.80, 0.90, 0.70), strict=True)))
        cls.chf = cls.setup_other_currency("CHF", rates=list(zip(days, (0.85, 0.95, 0.78), strict=True)))
        cls.receivable = cls.env["billing.receivable"]
        cls.receivable_account = cls.company_data["default_account_receivable"]

    @classmethod
    def invoice(cls, amount, day, partner=None, currency=None, move_type="out_invoice", due=None, **values):
        move = cls.env["account.move"].create(
            {
                "move_type": move_type,
                "partner_id": (partner or cls.customer).id,
                "currency_id": (currency or cls.usd).id,
                "invoice_date": day,
                "date": day,
                "invoice_date_due": due or day,
                "invoice_payment_term_id": False,
                "invoice_line_ids": [
                    Command.create({"product_id": cls.product.id, "price_unit": amount, "tax_ids": []})
                ],
                **values,
            }
        )
        move.action_post()
        return move

    @classmethod
    def pay(cls, amount, day, partner=None, currency=None):
        """A payment in the books; a negative amount is paid back."""
        payment = cls.env["account.payment"].create(
            {
                "payment_type": "inbound" if amount > 0 else "outbound",
                "partner_type": "customer",
                "partner_id": (partner or cls.customer).id,
                "currency_id": (currency or cls.usd).id,
                "amount": abs(amount),
                "date": day,
                "journal_id": cls.company_data["default_journal_bank"].id,
            }
        )
        payment.action_post()
        return payment.move_id

    @classmethod
    def lines(cls, moves):
        return moves.line_ids.filtered(lambda line: line.account_id.account_type == "asset_receivable")

    @classmethod
    def match(cls, moves):
        cls.lines(moves).filtered(lambda line: not line.reconciled).reconcile()


@tagged("post_install", "-at_install")
class TestReceivable(ReceivableCommon):
    def balance(self, day, currency=None, partner=None):
        day = fields.Date.to_date(day)
        found = self.receivable._get_balances(self.company, day, (partner or self.customer).ids)
        return found.get(((partner or self.customer).id, (currency or self.usd).id))

    def movements(self, day_from="2025-01-01", day_to="2027-12-31", currency=None):
        rows = self.receivable._get_movements(
            self.company, fields.Date.to_date(day_from), fields.Date.to_date(day_to), self.customer.ids,
            currency and currency.ids,
        )  # fmt: skip
        return [(row["kind"], str(row["date"]), row["amount"]) for row in rows]

    def assert_identity(self, day):
        found = self.receivable._check_identity(self.company, fields.Date.to_date(day))
        for key, values in found.items():
            with self.subTest(day=day, key=key):
                self.assertEqual((values["difference"], values["difference_company"]), (0.0, 0.0), values)
        ledger = sum(values["ledger"] for values in found.values())
        lines = self.env["account.move.line"].search(
            [("account_id.account_type", "=", "asset_receivable"), ("parent_state", "=", "posted"),
             ("company_id", "=", self.company.id), ("date", "<=", day)]
        )  # fmt: skip
        self.assertAlmostEqual(ledger, sum(lines.mapped("balance")), 2)
        self.assertAlmostEqual(sum(values["moved_company"] for values in found.values()), 0.0, 2)
        return found

    def test_invariant_11_a_euro_invoice_paid_in_dollars_is_settled_in_both(self):
        invoice = self.invoice(100, "2026-01-10", currency=self.eur)
        payment = self.pay(111.11, "2026-02-10")
        self.match(invoice | payment)
        for day, eur, usd in (
            ("2026-01-09", 0.0, 0.0), ("2026-01-10", 100.0, 0.0), ("2026-02-09", 100.0, 0.0),
            ("2026-02-10", 0.0, 0.0), ("2026-02-28", 0.0, 0.0), ("2026-12-31", 0.0, 0.0),
        ):  # fmt: skip
            self.assert_identity(day)
            self.assertEqual((self.balance(day, self.eur) or {"balance": 0.0})["balance"], eur)
            self.assertEqual((self.balance(day) or {"balance": 0.0})["balance"], usd)
        self.assertEqual(
            self.movements(),
            [("invoice", "2026-01-10", 100.0), ("conversion", "2026-02-10", -100.0),
             ("payment", "2026-02-10", -111.11), ("conversion", "2026-02-10", 111.11)],
        )  # fmt: skip

    def test_invariant_11_two_foreign_currencies_settle_each_other(self):
        invoice = self.invoice(100, "2026-01-10", currency=self.eur)
        payments = self.env["account.move"]
        for number, amount in enumerate((33.33, 33.33, 33.33, 100.0)):
            payments |= self.pay(amount, date(2026, 2, 10 + number), currency=self.chf)
            self.match(invoice | payments[-1])
        exchange = self.env["account.partial.reconcile"].search([]).exchange_move_id.filtered(
            lambda move: any(self.lines(move).mapped("amount_currency"))
        )
        self.assertEqual(exchange.mapped("date"), [date(2026, 2, 28)], "the case that this test is about")
        for day in ("2026-02-13", "2026-02-27", "2026-02-28", "2026-12-31"):
            found = self.assert_identity(day)
            self.assertEqual(found[self.customer.id, self.eur.id]["closing"], 0.0, day)
        self.assertFalse([row for row in self.movement_rows() if row["move_id"] in exchange.ids])
        euro = [row for row in self.conversions() if row["currency_id"] == self.eur.id]
        self.assertEqual([row["counterpart_number"] for row in euro], payments.mapped("name"))
        self.assertAlmostEqual(sum(row["amount"] for row in euro), -100.0, 2)

    def movement_rows(self):
        return self.receivable._get_movements(self.company, date(2025, 1, 1), date(2027, 12, 31), self.customer.ids)

    def conversions(self):
        return [row for row in self.movement_rows() if row["kind"] == "conversion"]

    def test_invariant_11_instalments_are_items_of_their_own(self):
        term = self.env["account.payment.term"].create(
            {"name": "Two", "line_ids": [
                Command.create({"value": "percent", "value_amount": 40, "nb_days": 10}),
                Command.create({"value": "percent", "value_amount": 60, "nb_days": 45}),
            ]}
        )  # fmt: skip
        invoice = self.invoice(100, "2026-01-01", invoice_payment_term_id=term.id)
        self.match(invoice | self.pay(50, "2026-01-20"))
        items = self.receivable.get_open_items("2026-02-20", self.company.id, self.customer.id)
        self.assertEqual([(item["date_maturity"], item["amount"], item["residual"]) for item in items],
                         [("2026-02-15", 60.0, 50.0)])  # fmt: skip
        self.assertEqual(self.balance("2026-01-15")["buckets"], [60.0, 40.0, 0.0, 0.0, 0.0, 0.0])
        self.assertEqual(self.balance("2026-01-15")["overdue"], 40.0)
        self.assert_identity("2026-02-20")

    def test_invariant_12_day_30_is_in_the_first_bucket(self):
        self.invoice(100, "2026-01-01", due="2026-01-31")
        for days, bucket in ((-1, 0), (0, 0), (1, 1), (30, 1), (31, 2), (120, 4), (121, 5)):
            values = self.balance(date(2026, 1, 31) + timedelta(days=days))
            self.assertEqual(values["buckets"].index(100.0), bucket, days)
            self.assertEqual(values["overdue"], 100.0 if days > 0 else 0.0)
        by_invoice = self.receivable.get_balances(
            "2026-01-31", self.company.id, self.customer.id, basis="invoice", bounds=[10, 20]
        )
        self.assertEqual(by_invoice[0]["buckets"], [0.0, 0.0, 0.0, 100.0])
        self.assertEqual(by_invoice[0]["overdue"], 0.0, "overdue goes by the due date always")

    def test_unallocated_payments_and_credits_are_shown_as_such(self):
        self.invoice(100, "2026-01-01")
        self.invoice(30, "2026-01-05", move_type="out_refund")
        payment = self.pay(25, "2026-01-06")
        items = self.receivable._get_open_items(self.company, date(2026, 2, 1))
        kinds = {item["kind"]: item["residual"] for item in items}
        self.assertEqual(kinds, {"invoice": 100.0, "refund": -30.0, "payment": -25.0})
        values = self.balance("2026-02-01")
        self.assertEqual((values["balance"], values["overdue"], values["unallocated"]), (45.0, 100.0, -55.0))
        self.assertEqual(values["open_count"], 3)
        transit = self.receivable._get_in_transit(self.lines(payment))
        self.assertEqual([(row["kind"], row["amount"]) for row in transit], [("unallocated", 25.0)])

    def test_payments_without_an_entry_are_in_transit(self):
        invoice = self.invoice(100, "2026-01-01")
        payment = self.env["account.payment"].create(
            {"payment_type": "inbound", "partner_type": "customer", "partner_id": self.customer.id, "amount": 60.0,
             "date": "2026-01-10", "journal_id": self.company_data["default_journal_bank"].id}
        )  # fmt: skip
        payment.outstanding_account_id = False  # as where a bank reconciliation is installed
        payment.invoice_ids = invoice
        payment.action_post()
        self.assertFalse(payment.move_id)
        [row] = self.receivable._get_in_transit(self.lines(invoice))
        self.assertEqual((row["kind"], row["amount"], row["move_ids"]), ("announced", 60.0, invoice.ids))
        self.assertEqual(self.balance("2026-02-01")["balance"], 100.0)
        payment.action_cancel()
        self.assertFalse(self.receivable._get_in_transit(self.lines(invoice)))

    def test_drafts_count_for_nothing_even_when_matched(self):
        invoice = self.invoice(100, "2026-01-01")
        payment = self.pay(100, "2026-01-10")
        self.match(invoice | payment)
        self.assertFalse(self.balance("2026-02-01"))
        payment.button_draft()
        self.assertTrue(self.lines(invoice).reconciled, "account keeps the match of a draft")
        self.assertEqual(self.balance("2026-02-01")["balance"], 100.0)
        self.assert_identity("2026-02-01")
        payment.action_post()
        self.assertFalse(self.balance("2026-02-01"))
        invoice.button_draft()
        invoice.button_cancel()
        self.assertEqual(self.balance("2026-02-01")["balance"], -100.0)

    def test_undoing_a_match_changes_the_past(self):
        invoice = self.invoice(100, "2026-01-01")
        payment = self.pay(100, "2026-01-10")
        self.match(invoice | payment)
        self.assertEqual(self.balance("2026-01-09")["open_count"], 1)
        self.assertFalse(self.balance("2026-01-10"))
        self.lines(invoice).remove_move_reconcile()
        self.assertEqual(self.balance("2026-01-10")["open_count"], 2)

    def test_invariant_11_contacts_are_their_company_and_nobody_is_nobody(self):
        contact = self.env["res.partner"].create({"name": "Branch office", "parent_id": self.customer.id})
        invoice = self.invoice(100, "2026-01-01", partner=contact)
        entry = self.env["account.move"].create(
            {"journal_id": self.company_data["default_journal_misc"].id, "date": "2026-01-02", "line_ids": [
                Command.create({"account_id": self.receivable_account.id, "partner_id": contact.id, "debit": 7.0}),
                Command.create({"account_id": self.receivable_account.id, "debit": 5.0}),
                Command.create({"account_id": self.company_data["default_account_revenue"].id, "credit": 12.0}),
            ]}
        )  # fmt: skip
        entry.action_post()
        items = self.receivable._get_open_items(self.company, date(2026, 2, 1))
        self.assertEqual(
            {(item["partner_id"], item["kind"], item["residual"]) for item in items},
            {(self.customer.id, "invoice", 100.0), (self.customer.id, "entry", 7.0), (None, "entry", 5.0)},
        )
        self.assertEqual(items[0]["contact_id"], contact.id)
        self.assertEqual(self.receivable._get_open_items(self.company, date(2026, 2, 1), contact.ids), items[:2])
        self.assertEqual(invoice.partner_id, contact)
        self.assert_identity("2026-02-01")

    def test_invariant_11_a_payment_for_another_customer_is_a_transfer(self):
        invoice = self.invoice(100, "2026-01-01")
        payment = self.pay(100, "2026-01-10", partner=self.other_customer)
        self.match(invoice | payment)
        self.assert_identity("2026-02-01")
        self.assertEqual(
            self.movements(), [("invoice", "2026-01-01", 100.0), ("transfer", "2026-01-10", -100.0)]
        )

    def test_invariant_10_queries_do_not_grow(self):
        def count():
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            self.receivable._get_balances(self.company, date(2026, 2, 1))
            self.receivable._get_open_items(self.company, date(2026, 2, 1))
            self.receivable._get_movements(self.company, date(2026, 1, 1), date(2026, 2, 1))
            self.receivable._check_identity(self.company, date(2026, 2, 1))
            return self.env.cr.sql_log_count - before

        def grow(number):
            partners = self.env["res.partner"].create([{"name": f"Customer {index}"} for index in range(number)])
            for partner in partners:
                self.match(self.invoice(10, "2026-01-01", partner=partner) | self.pay(5, "2026-01-02", partner=partner))

        grow(5)
        count()
        first = count()
        grow(10)
        self.assertEqual(count(), first)
        self.assertLess(first, 40)

    def test_a_branch_belongs_to_its_company(self):
        branch = self.env["res.company"].create({"name": "Branch", "parent_id": self.company.id})
        self.env.user.company_ids |= branch
        self.env["account.chart.template"].try_loading("generic_coa", branch, install_demo=False)
        here = self.with_branch(branch)
        invoice = here.invoice(100, "2026-01-01", company_id=branch.id)
        self.assertEqual(invoice.company_id, branch)
        self.assertEqual(self.balance("2026-02-01")["balance"], 100.0)
        self.assertEqual(
            self.receivable.get_balances("2026-02-01", branch.id, self.customer.id)[0]["balance"], 100.0
        )

    def with_branch(self, branch):
        self.addCleanup(setattr, type(self), "env", self.env)
        type(self).env = self.env(context={**self.env.context, "allowed_company_ids": [branch.id, self.company.id]})
        return self


@tagged("post_install", "-at_install")
class TestReceivableAccess(ReceivableCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.users = {role: cls.new_staff(role, login=f"rec_{role}") for role in
                     ("sales", "collector", "auditor", "officer", "manager")}  # fmt: skip
        cls.users["nobody"] = cls.new_staff(login="rec_nobody")
        cls.users["portal"] = cls.new_portal(cls.customer, "rec_portal")
        cls.customer.user_id = cls.users["sales"]
        for partner in (cls.customer, cls.other_customer):
            cls.invoice(100, "2026-01-01", partner=partner)
            cls.pay(30, "2026-01-02", partner=partner)

    def ask(self, role, company=None):
        receivable = self.receivable.with_user(self.users[role]).with_context(allowed_company_ids=self.company.ids)
        return receivable.get_balances("2026-02-01", (company or self.company).id)

    def test_invariant_16_roles(self):
        both = {self.customer.id: 70.0, self.other_customer.id: 70.0}
        for role in ("collector", "auditor", "officer", "manager"):
            with self.subTest(role=role):
                self.assertEqual({row["partner_id"]: row["balance"] for row in self.ask(role)}, both)
        self.assertEqual({row["partner_id"]: row["balance"] for row in self.ask("sales")}, {self.customer.id: 70.0})
        with self.assertRaises(AccessError):
            self.ask("nobody")

    def test_invariant_16_other_companies_are_refused(self):
        other = self.setup_other_company()["company"]
        for role in ("sales", "collector", "auditor", "officer", "manager", "portal"):
            with self.subTest(role=role), self.assertRaisesRegex(AccessError, "no access to company"):
                self.ask(role, other)

    def report(self, role, **values):
        Report = self.env["billing.aged.report"].with_user(self.users[role])
        report = Report.with_context(allowed_company_ids=self.company.ids).create({"date": "2026-02-01", **values})
        action = report.action_show()
        return report, report.env["billing.aged.line"].search(action["domain"])

    def test_invariant_16_aged_report_by_role(self):
        for role in ("collector", "auditor", "officer", "manager"):
            with self.subTest(role=role):
                report, lines = self.report(role)
                self.assertEqual(lines.partner_id, self.customer | self.other_customer)
                self.assertEqual(sum(lines.mapped("residual_company")), 140.0)
        report, lines = self.report("sales")
        self.assertEqual(lines.partner_id, self.customer)
        self.assertFalse(lines.with_user(self.users["manager"]).has_access("read"), "reports are their owner's")
        for role in ("nobody", "portal"):
            with self.subTest(role=role), self.assertRaises(AccessError):
                self.report(role)
        with self.assertRaises(AccessError):
            lines.write({"residual": 0.0})
        with self.assertRaises(AccessError):
            report.with_user(self.users["manager"]).action_show()

    def test_aged_report_drills_down(self):
        for role, models in (("officer", {"account.move"}), ("collector", {"account.move", "account.move.line"})):
            _report, lines = self.report(role, partner_ids=[Command.set(self.customer.ids)])
            self.assertEqual(sorted(lines.mapped("residual")), [-30.0, 100.0])
            for line in lines:
                action = line.action_open_document()
                self.assertIn(action["res_model"], models)
                line.env[action["res_model"]].browse(action["res_id"]).check_access("read")
                self.assertEqual(line[f"bucket_{line.bucket}"], line.residual_company)
                self.assertEqual(line.bucket, "1" if line.kind == "payment" else line.bucket)

    def test_balance_on_the_customer(self):
        self.invoice(11, "2026-01-01", due="2050-01-01")
        for role in ("sales", "collector", "officer"):
            partner = self.customer.with_user(self.users[role]).with_context(allowed_company_ids=self.company.ids)
            partner.invalidate_recordset()
            self.assertEqual((partner.billing_balance_amount, partner.billing_overdue_amount), (81.0, 100.0))
            action = partner.action_view_billing_receivable()
            lines = partner.env["billing.aged.line"].search(action["domain"])
            self.assertEqual(sum(lines.mapped("residual")), 81.0)
        with self.assertRaises(AccessError):
            self.customer.with_user(self.users["nobody"]).read(["billing_balance_amount"])

    def test_xlsx_has_numbers_that_add_up(self):
        self.invoice(50, "2026-01-20", currency=self.eur)
        self.customer.name = "=1+1"
        report, lines = self.report("officer")
        book = load_workbook(BytesIO(report._get_xlsx()), data_only=True)
        customers, items = book.worksheets
        headings = [cell.value for cell in customers[3]]
        self.assertEqual(headings[2:8], ["Not due", "1–30", "31–60", "61–90", "91–120", "Over 120 days"])
        rows = [dict(zip(headings, row, strict=True)) for row in customers.iter_rows(min_row=4, values_only=True)]
        own = [row for row in rows if row["Customer"] == "=1+1"]
        self.assertEqual({(row["Currency"], row["Balance"], row["Overdue"], row["Unallocated"]) for row in own},
                         {("USD", 70, 100, -30), ("EUR", 50, 50, 0)})  # fmt: skip
        for row in rows[:-1]:
            self.assertAlmostEqual(sum(row[label] for label in headings[2:8]), row["Balance"])
        self.assertAlmostEqual(rows[-1]["Balance in USD"], sum(lines.mapped("residual_company")), 2)
        self.assertEqual(items.max_row - 3, len(lines))
        self.assertIsInstance(items.cell(4, 13).value, int | float)

    def test_ageing_bounds_ascend(self):
        self.company.billing_ageing_bounds = "10,20,30,40"
        self.assertEqual(self.company._get_billing_bucket_labels()[1:3], ["1–10", "11–20"])
        described = self.env["billing.aged.line"].fields_get(["bucket_1", "bucket"])
        self.assertEqual(described["bucket_1"]["string"], "1–10")
        self.assertIn(("1", "1–10"), described["bucket"]["selection"])
        for text in ("30, 20, 60, 90", "30, 60, 90", "a, b, c, d", "0, 1, 2, 3"):
            with self.subTest(text=text), self.assertRaisesRegex(ValidationError, "ascending"):
                self.company.billing_ageing_bounds = text


@tagged("post_install", "-at_install")
class TestAgedReportDownload(ReceivableCommon, HttpCase):
    def test_the_file_is_for_its_owner(self):
        officer, collector = (
            self.new_staff(role, login=f"download_{role}") for role in ("officer", "collector")
        )
        (officer | collector).password = "download"
        self.invoice(100, "2026-01-01")
        report = self.env["billing.aged.report"].with_user(officer).with_context(
            allowed_company_ids=self.company.ids
        ).create({"date": "2026-02-01"})  # fmt: skip
        action = report.action_show()
        lines = report.env["billing.aged.line"].with_context(action["context"])
        for button in (report.action_download(), lines.action_download()):
            self.authenticate(officer.login, "download")
            response = self.url_open(button["url"])
            self.assertEqual(response.status_code, 200)
            self.assertEqual(load_workbook(BytesIO(response.content)).worksheets[1].max_row, 4)
            self.authenticate(collector.login, "download")
            self.assertEqual(self.url_open(button["url"]).status_code, 404)


@tagged("post_install", "-at_install")
class TestReceivableHistories(ReceivableCommon):
    """Random histories, compared with a walk over the matches in Python, and with what was seen at the time."""

    FIRST = date(2026, 1, 5)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.term = cls.env["account.payment.term"].create(
            {
                "name": "Two instalments",
                "line_ids": [
                    Command.create({"value": "percent", "value_amount": 40, "nb_days": 10}),
                    Command.create({"value": "percent", "value_amount": 60, "nb_days": 45}),
                ],
            }
        )
        cls.exchange_journal = cls.company.currency_exchange_journal_id

    def all_lines(self):
        return self.env["account.move.line"].search(
            [("account_id.account_type", "=", "asset_receivable"), ("company_id", "=", self.company.id)]
        )

    def expected(self, day, lines):
        """Residuals on a day by line, from amounts and matches alone."""
        found = {}
        for line in lines.filtered(lambda line: line.parent_state == "posted" and line.date <= day):
            if line.journal_id == self.exchange_journal:
                continue
            residual = line.amount_currency
            for partial in line.matched_credit_ids | line.matched_debit_ids:
                is_debit = partial.debit_move_id == line
                other = partial.credit_move_id if is_debit else partial.debit_move_id
                when = max(line.date, other.date)
                if other.journal_id == self.exchange_journal:
                    causes = self.env["account.partial.reconcile"].search([("exchange_move_id", "=", other.move_id.id)])
                    if causes:
                        when = min(when, max(causes.debit_move_id.date, causes.credit_move_id.date))
                        if set((causes.debit_move_id | causes.credit_move_id).mapped("parent_state")) != {"posted"}:
                            continue
                if other.parent_state == "posted" and when <= day:
                    residual -= partial.debit_amount_currency if is_debit else -partial.credit_amount_currency
            found[line.id] = line.currency_id.round(residual)
        return {line: residual for line, residual in found.items() if residual}

    def seen(self, day):
        """Residuals on a day by line, from the queries."""
        items = self.receivable._get_open_items(self.company, day)
        self.assertEqual(len({item["move_line_id"] for item in items}), len(items))
        return {item["move_line_id"]: item["residual"] for item in items if item["residual"]}

    def act(self, chance, day):
        """Do one thing that happens on a day; return the first day whose balances it may change."""
        currency = chance.choice([self.usd, self.eur, self.chf])
        partner = chance.choice([self.customer, self.other_customer])
        amount = chance.choice([10.0, 33.33, 100.0, 99.99, 250.0])
        posted = self.all_lines().filtered(
            lambda line: line.parent_state == "posted" and line.journal_id != self.exchange_journal
        )
        action = chance.choice(
            [*["invoice"] * 4, *["pay"] * 4, "refund", *["match"] * 6, "undo", "draft"]
        )  # fmt: skip
        if action == "invoice":
            self.invoice(amount, day, partner, currency, invoice_payment_term_id=chance.choice([False, self.term.id]))
        elif action == "refund":
            self.invoice(amount / 2, day, partner, currency, move_type="out_refund")
        elif action == "pay":
            self.pay(chance.choice([amount, amount / 3, -amount / 4]), day, partner, currency)
        elif action == "match":
            return self.match_some(chance, posted, day)
        elif action == "undo":
            return self.undo_some(chance, posted, day)
        else:
            return self.draft_some(chance, posted, day)
        return day

    def match_some(self, chance, posted, day):
        lines = posted.filtered(lambda line: not line.reconciled)
        debits = lines.filtered(lambda line: line.amount_currency > 0)
        credits = lines - debits
        before = self.env["account.partial.reconcile"].search([])
        if debits and credits:
            chosen = [
                *chance.sample(debits.ids, min(len(debits), chance.choice([1, 1, 2]))),
                *chance.sample(credits.ids, min(len(credits), chance.choice([1, 1, 2]))),
            ]
            lines.browse(chosen).reconcile()
        made = self.env["account.partial.reconcile"].search([]) - before
        return min([day, *made.mapped("max_date")])

    def undo_some(self, chance, posted, day):
        lines = posted.filtered(lambda line: line.matched_debit_ids or line.matched_credit_ids)
        if not lines:
            return day
        line = chance.choice(lines)
        dates = (line.matched_debit_ids | line.matched_credit_ids).mapped("max_date")
        line.remove_move_reconcile()
        return min([day, *dates])

    def draft_some(self, chance, posted, day):
        """Take a payment out of the books, or put one back."""
        drafts = self.env["account.payment"].search([("move_id.state", "=", "draft")]).move_id
        moves = drafts or posted.filtered("payment_id").move_id
        if not moves:
            return day
        move = chance.choice(moves)
        move.action_post() if drafts else move.button_draft()
        return min(day, move.date)

    def test_invariant_11_random_histories(self):
        for seed in range(6):
            with self.subTest(seed=seed):
                savepoint = self.env.cr.savepoint()
                self.check_history(random.Random(seed))
                savepoint.close(rollback=True)
                self.env.invalidate_all()

    def check_history(self, chance):
        day, remembered = self.FIRST, {}
        for _step in range(30):
            changed = self.act(chance, day)
            remembered = {when: seen for when, seen in remembered.items() if when < changed}
            remembered[day] = self.seen(day)
            day += timedelta(days=chance.choice([0, 1, 3, 9]))
        lines = self.all_lines()
        for when, seen in remembered.items():
            self.assertEqual(self.seen(when), seen, f"{when} changed afterwards")
        for _check in range(6):
            start = self.FIRST + timedelta(days=chance.randrange((day - self.FIRST).days + 1))
            self.check_day(start, start + timedelta(days=chance.randrange(60)), lines)

    def check_day(self, start, end, lines):
        expected = self.expected(end, lines)
        self.assertEqual(self.seen(end), expected, end)
        opening = self.receivable._get_balances(self.company, start - timedelta(days=1))
        closing = self.receivable._get_balances(self.company, end, bounds=[7, 14], basis="invoice")
        moved = {}
        for row in self.receivable._get_movements(self.company, start, end):
            key = (row["partner_id"], row["currency_id"])
            moved[key] = moved.get(key, 0.0) + row["amount"]
        for key in {*opening, *closing, *moved}:
            values = closing.get(key, {"balance": 0.0, "buckets": []})
            owed = sum(
                residual for line, residual in expected.items()
                if (lines.browse(line).partner_id.commercial_partner_id.id, lines.browse(line).currency_id.id) == key
            )  # fmt: skip
            self.assertAlmostEqual(values["balance"], owed, 2)
            self.assertAlmostEqual(values["balance"], sum(values["buckets"]), 2)
            start_balance = opening.get(key, {"balance": 0.0})["balance"]
            self.assertAlmostEqual(start_balance + moved.get(key, 0.0), values["balance"], 2, (key, start, end))
        self.check_accounts(start, end, opening, closing)
        ledger = sum(
            line.balance for line in lines if line.parent_state == "posted" and line.date <= end
        )
        found = self.receivable._check_identity(self.company, end, date_from=start)
        for key, row in found.items():
            self.assertEqual(row["opening_by_sums"], opening.get(key, {"balance": 0.0})["balance"], (key, start))
        self.assertFalse({key: row for key, row in found.items() if row["difference"] or row["difference_company"]})
        self.assertAlmostEqual(sum(row["balance_company"] + row["exchange_rest"] for row in found.values()), ledger, 2)

    def check_accounts(self, start, end, opening, closing):
        """What statements read at once is what the other queries say one by one."""
        partners = (self.customer | self.other_customer).ids
        arguments = (self.company, start, end, partners)
        listed = self.receivable._get_accounts(*arguments, bounds=[7, 14], basis="invoice")
        summed = self.receivable._get_accounts(*arguments, bounds=[7, 14], basis="invoice", list_movements=False)
        movements, items = {}, {}
        for row in self.receivable._get_movements(*arguments):
            movements.setdefault((row["partner_id"], row["currency_id"]), []).append(row)
        for row in self.receivable._get_open_items(self.company, end, partners):
            items.setdefault((row["partner_id"], row["currency_id"]), []).append(row)
        for key in {*opening, *closing, *movements, *items, *listed}:
            if key[0] not in partners:
                continue
            account, sums = listed[key], summed[key]
            self.assertAlmostEqual(account.opening, opening.get(key, {"balance": 0.0})["balance"], 6, (key, start))
            self.assert_same_rows(account.movements, movements.get(key, []))
            self.assert_same_rows(account.items, items.get(key, []))
            amounts = [row["amount"] for row in account.movements]
            self.assertAlmostEqual(account.debit, sum(amount for amount in amounts if amount > 0), 6)
            self.assertAlmostEqual(account.credit, -sum(amount for amount in amounts if amount < 0), 6)
            self.assertEqual(account.move_count, len(amounts))
            for name, value in closing.get(key, {}).items():
                if hasattr(account, name):
                    self.assertEqual(getattr(account, name), value, name)
            for name in ("opening", "debit", "credit", "move_count", "balance", "balance_company", "overdue",
                         "unallocated", "items"):  # fmt: skip
                unmoved = [{**row, "moved": False} for row in account.items]
                self.assertEqual(getattr(sums, name), unmoved if name == "items" else getattr(account, name), name)

    def assert_same_rows(self, found, expected):
        """The rows, but for the columns that only one of them has."""
        self.assertEqual(len(found), len(expected))
        for row, other in zip(found, expected, strict=True):
            common = row.keys() & other.keys()
            self.assertGreaterEqual(common, {"move_line_id", "date", "kind", "number", "amount"})
            self.assertEqual({name: row[name] for name in common}, {name: other[name] for name in common})
