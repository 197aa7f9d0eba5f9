import io
from datetime import timedelta

import openpyxl
from freezegun import freeze_time

from odoo import fields
from odoo.tests import HttpCase, tagged
from odoo.tools import SQL, formatLang

from .test_portal import BillingPortalCommon

ROOM = 15  # statements that a page may need beyond those of an empty first page


def clone_bills(env, move, count, first=0):
    """Copies of a posted bill with their lines, charges and links, written as rows: a long history in a moment."""
    env.flush_all()

    def columns(table, *without):
        env.cr.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_name = %s AND NOT column_name = ANY(%s)",
            [table, ["id", *without]],
        )
        return SQL(", ").join(SQL.identifier(name) for [name] in env.cr.fetchall())

    env.cr.execute(
        SQL(
            """
            CREATE TEMP TABLE copied ON COMMIT DROP AS
            SELECT n, nextval('account_move_id_seq')::int AS id FROM generate_series(%(first)s, %(last)s) n;
            INSERT INTO account_move (id, name, sequence_number, access_token, %(moves)s)
            SELECT c.id, 'HIST/' || c.n, c.n, NULL, %(moves)s FROM copied c, account_move m WHERE m.id = %(move)s;
            INSERT INTO billing_contract_move_rel (contract_id, move_id)
            SELECT r.contract_id, c.id FROM copied c, billing_contract_move_rel r WHERE r.move_id = %(move)s;
            INSERT INTO account_move_line (move_id, move_name, %(lines)s)
            SELECT c.id, 'HIST/' || c.n, %(lines)s FROM copied c, account_move_line l WHERE l.move_id = %(move)s;
            INSERT INTO billing_charge (move_line_id, revision, %(charges)s)
            SELECT (SELECT min(l.id) FROM account_move_line l WHERE l.move_id = c.id AND l.display_type = 'product'),
                   10 + c.n, %(charges)s
              FROM copied c, billing_charge b
             WHERE b.id = (SELECT min(id) FROM billing_charge WHERE move_line_id IN
                              (SELECT id FROM account_move_line WHERE move_id = %(move)s));
            DROP TABLE copied;
            ANALYZE account_move, account_move_line, billing_charge, billing_contract_move_rel;
            """,
            first=first,
            last=first + count - 1,
            move=move.id,
            moves=columns("account_move", "name", "sequence_number", "access_token"),
            lines=columns("account_move_line", "move_id", "move_name"),
            charges=columns("billing_charge", "move_line_id", "revision"),
        )
    )
    env.invalidate_all()


@tagged("post_install", "-at_install")
class TestPortalHome(BillingPortalCommon, HttpCase):
    def get(self, url, login="portal_one"):
        self.authenticate(login, login)
        return self.url_open(url, headers={"Accept-Language": "en-US"})

    def count(self, url, login="portal_one"):
        """The SQL statements of a page that is opened again (caches of the registry are warm)."""
        self.get(url, login)
        self.env.flush_all()
        self.env.invalidate_all()  # a request has an empty cache; here it shares that of the test
        before = self.env.cr.sql_log_count
        response = self.url_open(url)
        self.assertEqual((response.status_code, response.history), (200, []), url)
        return self.env.cr.sql_log_count - before

    def test_invariant_10_queries_of_pages_do_not_grow_with_history(self):
        nobody = self.env["res.partner"].create({"name": "Nobody", "lang": "en_US"})
        self.new_portal(nobody, "portal_nobody")
        empty = self.count("/my", "portal_nobody")
        urls = [
            "/my", "/my/invoices", "/my/invoices?search=HIST&filterby=open", "/my/invoices/xlsx", "/my/payments",
            "/my/usage", "/my/spending", "/my/spending?filterby=36", "/my/prices", "/my/contracts",
            f"/my/contracts/{self.contract.id}", f"/my/contracts/{self.contract.id}/usage",
            f"/my/contracts/{self.contract.id}/bills", f"/my/invoices/{self.move.id}", "/my/disputes",
            "/my/invoices?search=Seat&search_in=item", "/my/invoices?filterby=overdue", "/my/requests",
            "/my/billing/profile",
        ]  # fmt: skip
        found = {}
        for first in (0, 2500):  # N, then 2N
            clone_bills(self.env, self.move, 2500, first)
            for url in urls:
                found.setdefault(url, []).append(self.count(url))
        for url, (once, twice) in found.items():
            with self.subTest(url=url):
                self.assertLessEqual(twice, once)
                self.assertLessEqual(twice, empty + ROOM)

    # What the pages say

    def test_card(self):
        text = self.get("/my").text
        for expected in ("Your account", "Balance", "Overdue", "Next bill", "1 bill is overdue"):
            self.assertIn(expected, text)
        self.assertIn(formatLang(self.env, self.move.amount_residual, digits=2), text)
        self.env["res.partner"].create({"name": "Nobody", "lang": "en_US"})
        nobody = self.env["res.partner"].create({"name": "Nobody", "lang": "en_US"})
        self.new_portal(nobody, "portal_nobody")
        self.assertNotIn("o_billing_card", self.get("/my", "portal_nobody").text)

    def test_next_bill_of_the_card_is_the_run(self):
        contract = self.new_contract(
            fields.Date.add(fields.Date.today(), days=9), partner_id=self.newcomer().id, lines=[{"quantity": 3}]
        )
        preview = contract.partner_id.with_user(self.login)._get_billing_portal_next_bill()
        self.assertEqual(preview["date"], contract.date_start)
        run = self.bill(contract.date_start, contract)
        [(currency, untaxed, tax)] = preview["totals"]
        self.assertEqual(currency, contract.currency_id)
        self.assertEqual((untaxed, tax), (run.move_ids.amount_untaxed, run.move_ids.amount_tax))
        self.assertEqual([item["amount"] for item in preview["items"]], contract.charge_ids.mapped("amount"))

    def newcomer(self):
        partner = self.env["res.partner"].create({"name": "Newcomer", "lang": "en_US"})
        self.login = self.new_portal(partner, "portal_new")
        return partner

    def test_balances_tie_to_the_ledger(self):
        refund = self.move._reverse_moves([{"date": "2026-02-20", "invoice_date": "2026-02-20"}])
        refund.action_post()
        payment = self.pay(30.0)
        [row] = self.customer.with_user(self.user)._get_billing_portal_balances()
        lines = self.env["account.move.line"].search(
            [("partner_id", "=", self.customer.id), ("account_type", "=", "asset_receivable"),
             ("parent_state", "=", "posted")]
        )  # fmt: skip
        self.assertTrue(payment.move_id in lines.move_id)
        self.assertAlmostEqual(row["balance"], sum(lines.mapped("amount_residual_currency")))
        self.assertEqual(row["currency"], self.company.currency_id)

    def pay(self, amount, bill=None, partner=None):
        payment = self.env["account.payment"].create(
            {"amount": amount, "partner_id": (partner or self.customer).id, "payment_type": "inbound",
             "partner_type": "customer", "memo": f"Transfer of {amount}", "date": "2026-02-25",
             "journal_id": self.company_data["default_journal_bank"].id}
        )  # fmt: skip
        payment.action_post()
        if not payment.move_id:
            payment._generate_journal_entry()
            payment.move_id.action_post()
        if bill:
            (payment.move_id | bill).line_ids.filtered(
                lambda line: line.account_type == "asset_receivable"
            ).reconcile()
        return payment

    def test_bills_are_searched_filtered_and_downloaded(self):
        name, other = self.move.name, self.other_move.name
        for query, found in (
            ("", True), (f"?search={name}", True), ("?search=nothing-like-it", False), ("?filterby=open", True),
            ("?filterby=paid", False), ("?filterby=credits", False), ("?filterby=overdue", True),
            ("?search=Seat&search_in=item", True), (f"?search={self.contract.name}&search_in=contract", True),
            ("?search=PO-4711", True), ("?search=%25", False),
            ("?search_in=nonsense&sortby=x&filterby=y", True), ("?search=%00", True),
        ):  # fmt: skip
            with self.subTest(query=query):
                text = self.get(f"/my/invoices{query}").text
                self.assertEqual(f"/my/invoices/{self.move.id}" in text, found)
                self.assertNotIn(f"/my/invoices/{self.other_move.id}", text)
                rows = self.read_xlsx(f"/my/invoices/xlsx{query}")
                self.assertEqual(name in {row[0] for row in rows}, found)
                self.assertNotIn(other, {row[0] for row in rows} - {name})
        pdf = self.get(f"/my/invoices/{self.move.id}?report_type=pdf&download=true")
        self.assertEqual(pdf.headers["Content-Type"], "application/pdf")

    def test_an_instalment_that_is_late_makes_a_bill_overdue(self):
        term = self.env["account.payment.term"].create(
            {"name": "Half now", "line_ids": [
                (0, 0, {"value": "percent", "value_amount": 50.0, "nb_days": days}) for days in (0, 36500)
            ]}
        )  # fmt: skip
        contract = self.new_contract("2026-02-15", partner_id=self.other_customer.id, payment_term_id=term.id)
        move = self.bill("2026-02-15", contract).move_ids
        self.assertGreater(str(move.invoice_date_due), "2100")
        self.pay(self.other_move.amount_residual, self.other_move, self.other_customer)
        [row] = self.other_customer.with_user(self.other_user)._get_billing_portal_balances()
        self.assertAlmostEqual(row["overdue"], move.amount_total / 2)
        self.assertIn("1 bill is overdue", self.get("/my", "portal_two").text)
        self.assertIn(move.name, self.get("/my/invoices?filterby=overdue", "portal_two").text)

    def read_xlsx(self, url, login="portal_one"):
        response = self.get(url, login)
        self.assertEqual(response.status_code, 200)
        self.assertIn("attachment", response.headers["Content-Disposition"])
        sheet = openpyxl.load_workbook(io.BytesIO(response.content)).active
        return list(sheet.iter_rows(values_only=True))

    def test_texts_of_a_file_stay_texts(self):
        self.move.ref = "=1+1"
        rows = self.read_xlsx("/my/invoices/xlsx")
        self.assertIn("=1+1", rows[1])
        book = openpyxl.load_workbook(io.BytesIO(self.get("/my/invoices/xlsx").content))
        self.assertEqual(book.active["D2"].data_type, "s")

    def test_payments(self):
        mine = self.pay(30.0, self.move)
        self.pay(7.0)
        theirs = self.pay(11.0, self.other_move, self.other_customer)
        text = self.get("/my/payments").text
        for expected in (mine.memo, self.move.name, "Transfer of 7.0", "Not used for a bill yet"):
            self.assertIn(expected, text)
        self.assertNotIn(theirs.memo, text)
        text = self.get("/my/payments", "portal_two").text
        self.assertIn(theirs.memo, text)
        self.assertNotIn(mine.memo, text)

    def test_price_list(self):
        def price(**values):
            return self.env["billing.price"].create(
                {"product_id": self.product.id, "currency_id": self.company.currency_id.id,
                 "date_from": "2020-01-01", "unit_amount": 12.5, "is_published": True, **values}
            )  # fmt: skip

        price(code="OPEN")
        price(code="SECRET", unit_amount=3.21, is_published=False)
        price(code="OLD", unit_amount=4.56, date_to="2021-01-01")
        price(code="GONE", unit_amount=7.89, active=False)
        text = self.get("/my/prices").text
        self.assertIn("12.50", text)
        for hidden in ("3.21", "4.56", "7.89"):
            self.assertNotIn(hidden, text)

    def test_usage(self):
        contract = self.metered(self.customer)
        other = self.metered(self.other_customer)
        page = f"/my/contracts/{contract.id}"
        for url in ("/my/usage", page, f"{page}/usage", f"{page}/usage?by=day", f"{page}/usage?by=x"):
            with self.subTest(url=url):
                text = self.get(url).text
                self.assertIn("42 kWh", text)
                self.assertIn("84.00", text)
                self.assertNotIn(other.name, text)
        response = self.get(f"/my/contracts/{other.id}/usage")
        self.assertTrue(response.url.endswith("/my"))

    def metered(self, partner):
        meter = self.env["billing.meter"].search([("code", "=", "PORTAL")]) or self.env["billing.meter"].create(
            {"name": "Power", "code": "PORTAL", "uom": "kWh"}
        )
        today = fields.Date.today()
        contract = self.new_contract(
            today - timedelta(days=3),
            [{"charge_type": "usage", "meter_id": meter.id, "price_unit": 2.0, "price_id": False}],
            partner_id=partner.id,
        )
        self.env["billing.usage"].create(
            [{"contract_line_id": contract.line_ids.id, "quantity": quantity,
              "timestamp": fields.Datetime.now() - timedelta(days=days)} for days, quantity in ((2, 30), (0, 12))]
        )  # fmt: skip
        return contract

    def test_spending(self):
        with freeze_time("2026-03-01"):
            text = self.get("/my/spending?filterby=12").text
            rows = self.read_xlsx("/my/spending/xlsx?filterby=12")
        self.assertIn("o_billing_chart", text)
        self.assertIn("Amounts by item and month", text)
        self.assertEqual(rows[1][0], self.product.name)
        self.assertAlmostEqual(rows[1][-1], self.move.amount_untaxed)
        refund = self.move._reverse_moves([{"date": "2026-02-20", "invoice_date": "2026-02-20"}])
        refund.action_post()
        with freeze_time("2026-03-01"):
            rows = self.read_xlsx("/my/spending/xlsx")
        self.assertAlmostEqual(rows[1][-1], 0.0)

    def test_document_of_a_contract(self):
        response = self.get(f"/my/contracts/{self.contract.id}?report_type=pdf&download=true")
        self.assertEqual(response.headers["Content-Type"], "application/pdf")
        html, _kind = self.env["ir.actions.report"]._render_qweb_html(
            "customer_billing.billing_contract_report", self.contract.ids
        )
        text = html.decode()
        for expected in (self.contract.name, "Charging terms", "Every month, in advance", "100.00 per unit", "PO-4711"):
            self.assertIn(expected, text)
        self.assertNotIn("unpaid", text)

    # Who sees them

    def test_invariant_16_nobody_gets_in_without_a_login(self):
        self.authenticate(None, None)
        for url in ("/my/invoices/xlsx", "/my/payments", "/my/prices", "/my/usage", "/my/spending",
                    "/my/spending/xlsx", f"/my/contracts/{self.contract.id}/usage"):  # fmt: skip
            with self.subTest(url=url):
                response = self.url_open(url)
                self.assertIn("/web/login", response.url)
        response = self.url_open(f"/my/contracts/{self.contract.id}?report_type=pdf&access_token=wrong")
        self.assertNotEqual(response.headers.get("Content-Type"), "application/pdf")

    def test_invariant_16_colleagues_share_and_others_see_nothing(self):
        colleague = self.env["res.partner"].create(
            {"name": "Colleague", "parent_id": self.customer.id, "lang": "en_US"}
        )
        self.new_portal(colleague, "portal_colleague")
        payment = self.pay(30.0, self.move)
        self.assertIn(payment.memo, self.get("/my/payments", "portal_colleague").text)
        self.assertIn(self.move.name, self.get("/my/invoices", "portal_colleague").text)
        self.officer.write({"password": "officer_of_contracts", "lang": "en_US"})
        for login in ("portal_two", "officer_of_contracts"):
            for url in ("/my", "/my/payments", "/my/usage", "/my/spending", "/my/prices"):
                with self.subTest(url=url, login=login):
                    response = self.get(url, login)
                    self.assertEqual(response.status_code, 200)
                    for secret in (self.move.name, self.contract.name, payment.memo):
                        self.assertNotIn(secret, response.text)

    def test_unknown_parameters_do_nothing(self):
        for url in ("/my/invoices?page=x&date_begin=1&date_end=2&order=id", "/my/spending?filterby=999999999",
                    "/my/payments/page/999", "/my/usage/page/999", "/my/prices?company_id=1"):  # fmt: skip
            with self.subTest(url=url):
                self.assertEqual(self.get(url).status_code, 200)
