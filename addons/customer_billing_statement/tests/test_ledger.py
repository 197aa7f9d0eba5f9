import base64
import io
import zipfile
from unittest.mock import patch

import openpyxl

from odoo import Command
from odoo.exceptions import AccessError, UserError
from odoo.tests import HttpCase, tagged

from ..models.billing_statement_match_column import LABELS
from ..models.ledger_texts import PROBLEMS, REASONS, WORDS
from ..tools.ledger_columns import FIELDS
from ..tools.ledger_problem import MESSAGES
from ..tools.matching import REASONS as KERNEL_REASONS
from ..tools.matching import STATUSES as KERNEL_STATUSES
from .common import StatementCommon

ROLES = ("nobody", "sales", "collector", "auditor", "officer", "manager", "portal")


class LedgerCommon(StatementCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.one = cls.invoice("2026-01-05", 100)
        cls.two = cls.invoice("2026-01-10", 250.5)
        cls.three = cls.invoice("2026-01-20", 80)
        cls.paid = cls.pay("2026-01-25", 100, invoices=cls.one)
        cls.january = cls.sent()

    @classmethod
    def upload(cls, content, name="ledger.csv", statement=None, user=None, **values):
        content = content.encode() if isinstance(content, str) else content
        ledgers = cls.env["billing.statement.match"].with_user(user or cls.env.user)
        return ledgers.create(
            {
                "statement_id": (statement or cls.january).id,
                "file": base64.b64encode(content),
                "file_name": name,
                **values,
            }
        )

    @classmethod
    def csv(cls, *rows, head="Date,Invoice,Debit,Credit"):
        return "\n".join([head, *rows])

    @classmethod
    def usual(cls):
        """The customer's books: one bill with another amount, one missing, one that we do not know."""
        return cls.csv(
            f"2026-01-06,{cls.one.name},,100.00",
            f"2026-01-10,{cls.two.name},,200.50",
            "2026-01-15,X-9,,42",
            f"2026-01-26,{cls.one.name},100,",
        )

    def result(self, ledger):
        return sorted(
            (line.status, line.our_amount, line.their_amount, line.difference, line.their_rows or "")
            for line in ledger.line_ids
        )


@tagged("post_install", "-at_install")
class TestLedger(LedgerCommon):
    def test_compare(self):
        ledger = self.upload(self.usual())
        self.assertEqual(ledger.state, "draft")
        self.assertEqual(
            {column.name: column.field for column in ledger.column_ids},
            {"Date": "date", "Invoice": "number", "Debit": "debit", "Credit": "credit"},
        )
        self.assertEqual(ledger.column_ids[0].samples, "2026-01-06 | 2026-01-10 | 2026-01-15")
        self.assertTrue(ledger.action_match())
        self.assertEqual(ledger.state, "matched")
        self.assertEqual(
            self.result(ledger),
            [
                ("amount_differs", 250.5, 200.5, -50.0, "3"),
                ("matched", -100.0, -100.0, 0.0, "5"),
                ("matched", 100.0, 100.0, 0.0, "2"),
                ("only_ours", 80.0, 0.0, -80.0, ""),
                ("only_theirs", 0.0, 42.0, 42.0, "4"),
            ],
        )
        self.assertEqual((ledger.our_total, ledger.their_total, ledger.difference), (330.5, 242.5, -88.0))
        self.assertEqual(ledger.difference, sum(ledger.line_ids.mapped("difference")))
        self.assertEqual(ledger.difference_count, 3)
        self.assertIn("Only theirs", ledger.summary_html)
        differs = ledger.line_ids.filtered(lambda line: line.status == "amount_differs")
        self.assertEqual(differs.statement_line_ids.move_id, self.two)
        self.assertEqual(differs.reason, "same number, other amount")
        self.assertEqual(self.january.match_count, 1)

    def test_columns_are_remembered_for_the_customer(self):
        head = "Wann,Was,Wieviel"
        rows = f"2026-01-06,{self.one.name},-100", f"2026-01-10,{self.two.name},-250.5"
        first = self.upload(self.csv(*rows, head=head))
        self.assertFalse(first.action_match())
        self.assertIn("No column is chosen for: date. Choose it above.", first.problems_html)
        for column, name in zip(first.column_ids, ("date", "number", "amount"), strict=True):
            column.field = name
        self.assertTrue(first.action_match())
        second = self.upload(self.csv(*rows, head=head))
        self.assertEqual(second.state, "matched")
        changed = self.upload(self.csv(*rows, head="Wann,Was,Betrag"))
        self.assertEqual(changed.state, "draft")
        self.assertIn("“Wieviel” that was used last time is not in this file", changed.problems_html)

    def test_rows_that_cannot_be_read_are_named(self):
        ledger = self.upload(self.csv(f"2026-01-06,{self.one.name},,100", "soon,X,,5", "2026-01-07,Y,five,"))
        self.assertEqual((ledger.error_count, ledger.row_count), (2, 1))
        self.assertFalse(ledger.action_match())
        self.assertEqual(ledger.state, "mapped")
        self.assertFalse(ledger.line_ids)
        self.assertEqual(
            ledger._get_problems(),
            [
                {"row": 3, "column": "A", "message": "“soon” is not a date. Write it as 2026-03-31."},
                {"row": 4, "column": "C", "message": "“five” is not an amount. Write it as 1234.56."},
            ],
        )
        self.assertTrue(ledger.action_match_readable())
        self.assertEqual((ledger.state, ledger.error_count), ("matched", 2))
        sheet = openpyxl.load_workbook(io.BytesIO(ledger._get_workbook("problems"))).active
        self.assertEqual([cell.value for cell in sheet[2]][:2], [3, "A"])

    def test_another_file_and_another_row_of_headings(self):
        ledger = self.upload(self.csv("soon,X,,5"))
        ledger.file = base64.b64encode(b"5,b,c\nDay,Doc,Sum\n2026-01-06,X,5\n")
        self.assertEqual(ledger.column_ids.mapped("name"), ["Day", "Doc", "Sum"])
        ledger.header_row = 0
        self.assertEqual(ledger.column_ids.mapped("name"), ["A", "B", "C"])
        for column, name in zip(ledger.column_ids, ("date", "number", "amount"), strict=True):
            column.field = name
        self.assertTrue(ledger.action_match_readable())
        self.assertEqual((ledger.row_count, ledger.error_count), (1, 2))

    def test_order_of_day_and_month(self):
        ledger = self.upload(self.csv(f"05/01/2026,{self.one.name},,100"))
        self.assertFalse(ledger.action_match())
        self.assertIn("can be two dates", ledger.problems_html)
        ledger.date_order = "dmy"
        self.assertTrue(ledger.action_match())
        self.assertEqual(str(ledger.line_ids[0].their_date), "2026-01-05")

    def test_one_column_for_one_thing(self):
        ledger = self.upload(self.usual())
        ledger.column_ids[2].field = "credit"
        with self.assertRaisesRegex(UserError, "Two columns are chosen as Credit"):
            ledger.action_match()

    def test_signs_and_tolerances(self):
        rows = f"2026-01-06,{self.one.name},100.02", f"2026-01-10,{self.two.name},250.5"
        ledger = self.upload(self.csv(*rows, head="Date,Invoice,Amount"), amount_tolerance=0.05)
        ledger.action_match()
        self.assertEqual([row[0] for row in self.result(ledger)], ["matched"] * 2 + ["only_ours"] * 2)
        ledger.action_draft()
        ledger.write({"sign": "mirror", "amount_tolerance": 0.0})
        ledger.action_match()
        self.assertEqual(ledger.their_total, -350.52)

    def test_compared_ledgers_are_not_changed(self):
        ledger = self.upload(self.usual())
        ledger.action_match()
        with self.assertRaisesRegex(UserError, "was compared"):
            ledger.header_row = 3
        with self.assertRaisesRegex(UserError, "was compared"):
            ledger.column_ids[0].field = False
        with self.assertRaisesRegex(UserError, "was compared"):
            ledger.action_match()
        copied = ledger.copy()  # a new one with the same file, compared as the last one was
        self.assertEqual((copied.state, self.result(copied)), ("matched", self.result(ledger)))
        ledger.action_done()
        self.assertEqual(ledger.state, "done")

    def test_not_before_it_is_compared(self):
        with self.assertRaisesRegex(UserError, "not compared yet"):
            self.upload(self.usual()).action_done()

    def test_other_currencies_other_days_and_totals_are_left_out(self):
        ledger = self.upload(
            self.csv(
                "2025-06-01,OLD,,5,",
                f"2026-01-06,{self.one.name},,100,{self.company.currency_id.name}",
                "2026-01-07,FOREIGN,,7,XTS",
                "2026-02-03,NEXT,,9,",
                "Total,,100,121,",
                head="Date,Invoice,Debit,Credit,Currency",
            )
        )
        ledger.action_match()
        self.assertEqual((ledger.row_count, ledger.left_out_count), (4, 4))
        self.assertEqual([row[0] for row in self.result(ledger)], ["matched", *["only_ours"] * 3])

    def test_open_items(self):
        items = self.statement("2026-02-01", "2026-02-28", kind="open_item")
        items.action_check()
        content = self.csv(f"2026-01-10,{self.two.name},,250.5", f"2026-01-20,{self.three.name},,80")
        ledger = self.upload(content, statement=items)
        ledger.action_match()
        self.assertEqual([row[0] for row in self.result(ledger)], ["matched", "matched"])

    def test_sum_of_several_bills(self):
        ledger = self.upload(self.csv("2026-01-12,V-1,,350.50"))
        ledger.action_match()
        line = ledger.line_ids.filtered(lambda line: line.status == "matched_sum")
        self.assertEqual(line.statement_line_ids.move_id, self.one | self.two)
        self.assertEqual(line.reason, "sum of 2 entries")

    # Disputes

    def test_one_click_to_a_dispute(self):
        ledger = self.upload(self.usual())
        ledger.action_match()
        lines = {line.status: line for line in ledger.line_ids}
        action = lines["amount_differs"].action_dispute()
        dispute = lines["amount_differs"].dispute_id
        self.assertEqual((action["res_model"], action["res_id"]), ("billing.dispute", dispute.id))
        self.assertEqual((dispute.statement_id, dispute.move_id), (self.january, self.two))
        self.assertEqual((dispute.our_amount, dispute.claimed_amount, dispute.amount), (250.5, 200.5, 50.0))
        self.assertEqual(self.january.state, "disputed")
        lines["amount_differs"].action_dispute()
        self.assertEqual(self.january.dispute_ids, dispute)
        (lines["only_ours"] | lines["only_theirs"]).action_dispute()
        self.assertEqual(lines["only_ours"].dispute_id.amount, 80.0)
        self.assertEqual(lines["only_theirs"].dispute_id.amount, 42.0)
        self.assertFalse(lines["only_theirs"].dispute_id.statement_line_id)
        with self.assertRaisesRegex(UserError, "not a difference"):
            lines["matched"].action_dispute()
        ledger.action_draft()
        ledger.action_match()
        self.assertEqual(len(ledger.line_ids.dispute_id), 3)

    def test_dispute_about_two_lines_of_the_statement(self):
        ledger = self.upload(self.usual())
        ledger.action_match()
        line = ledger.line_ids.filtered(lambda line: line.status == "amount_differs")
        other = ledger.line_ids.filtered(lambda line: line.status == "only_ours").statement_line_ids
        line.sudo().write(
            {"statement_line_ids": [Command.link(other.id)], "our_amount": 330.5, "difference": -130.0}
        )
        line.action_dispute()
        self.assertEqual(line.dispute_id.amount, 130.0)

    # Files in, files out

    def test_bad_files_are_refused_with_a_message(self):
        book = openpyxl.Workbook()
        book.active.append(["Date", "Amount"])
        stream = io.BytesIO()
        book.save(stream)
        bad = {
            "empty": (b"", "The file is empty"),
            "picture": (b"\x89PNG\r\n\x1a\n", "This is a picture, not a table"),
            "web page": (b"<html><body>1</body></html>", "This is a web page or XML"),
            "half": (stream.getvalue()[:500], "cannot be read"),
            "one column": (b"Date\n2026-01-01", "All text is in one column"),
            "quote": (b'Date,Amount\n"2026-01-01,5\n', "Row 2: A quotation mark is not closed"),
            "program": (b"MZ\x90\x00\x03" + bytes(500), "This is a program"),
        }
        for name, (content, message) in bad.items():
            with self.subTest(name), self.assertRaisesRegex(UserError, message):
                self.upload(content)
        with self.assertRaisesRegex(UserError, "did not arrive whole"):
            self.env["billing.statement.match"]._decode("abc")

    def test_a_file_that_is_not_base64(self):
        with self.assertRaises(UserError):
            self.env["billing.statement.match"].create(
                {"statement_id": self.january.id, "file_name": "x", "file": "abc"}
            )

    def test_superuser_has_no_other_way(self):
        ledger = self.upload(self.usual()).sudo()
        ledger.file = base64.b64encode(self.csv("2026-01-06,X,,100").encode())
        self.assertEqual(ledger.row_count, 1)
        ledger.action_match()
        with self.assertRaisesRegex(UserError, "was compared"):
            ledger.date_order = "mdy"

    def test_macros_are_refused(self):
        with (
            patch("odoo.addons.customer_billing_statement.tools.ledger_file.openpyxl.load_workbook") as reader,
            self.assertRaises(UserError) as caught,
        ):
            self.upload(_with_macros(), "ledger.xlsm")
        self.assertIn("has macros. They are never run", str(caught.exception))
        reader.assert_not_called()
        self.assertFalse(self.january.match_ids)

    def test_result_holds_no_formula(self):
        ledger = self.upload(self.csv('2026-01-06,"=cmd|\'/C calc\'!A0",,7', "2026-01-07,http://x.example,,8"))
        ledger.action_match()
        book = openpyxl.load_workbook(io.BytesIO(ledger._get_workbook("result")))
        cells = [cell for row in book.active.iter_rows() for cell in row]
        self.assertIn("=cmd|'/C calc'!A0", [cell.value for cell in cells])
        self.assertFalse([cell for cell in cells if cell.data_type == "f" or cell.hyperlink])
        self.assertEqual(book.active.max_row, 1 + len(ledger.line_ids))

    def test_ask_the_customer(self):
        ledger = self.upload(self.usual())
        ledger.action_match()
        context = ledger.action_ask_customer()["context"]
        self.assertEqual(context["default_res_ids"], self.january.ids)
        self.assertEqual(context["default_partner_ids"], self.customer.ids)
        self.assertIn("3 differences", context["default_body"])
        self.assertTrue(self.env["ir.attachment"].browse(context["default_attachment_ids"]).raw)

    def test_result_by_kernel_has_a_text_in_odoo(self):
        self.assertEqual({code: text._source for code, text in PROBLEMS.items()}, MESSAGES)
        self.assertEqual({code: text._source for code, text in REASONS.items()}, KERNEL_REASONS)
        self.assertTrue(all(text._source == word for word, text in WORDS.items()))
        self.assertEqual(set(LABELS), set(FIELDS))
        lines = self.env["billing.statement.match.line"]
        self.assertEqual(set(dict(lines._fields["status"].selection)), set(KERNEL_STATUSES))

    def test_queries_do_not_grow_with_rows(self):
        def count(rows):
            ledger = self.upload(self.csv(*(f"2026-01-{1 + i % 28:02},Z{i},,{i + 1}" for i in range(rows))))
            ledger.action_draft()
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            ledger.action_match()
            self.env.flush_all()
            return self.env.cr.sql_log_count - before

        count(5)
        few, many = count(10), count(200)
        self.assertLessEqual(many, few + 10)

    # The portal

    def test_upload_by_the_customer(self):
        portal = self.new_portal(self.customer, "ledger_portal")
        statement = self.january.with_user(portal)
        matches = self.env["billing.statement.match"].with_user(portal)
        ledger = matches._create_from_portal(statement, "books.csv", self.usual().encode())
        self.assertEqual((ledger.state, ledger.difference_count), ("matched", 3))
        self.assertEqual(ledger.create_uid, portal)
        own = matches.search([])
        self.assertEqual(own, ledger.with_user(portal).sudo(False))
        self.assertEqual(len(own.line_ids), 5)
        self.assertIn("3 differences", self.january.message_ids[0].body)
        self.assertEqual(self.january.activity_ids.mapped("user_id"), self.january.user_id)
        with self.assertRaisesRegex(UserError, "This is a PDF document"):
            matches._create_from_portal(statement, "books.pdf", b"%PDF-1.7")
        unclear = matches._create_from_portal(statement, "books.csv", b"a,b\n1,2\n3,4")
        self.assertEqual(unclear.state, "draft")
        self.assertTrue(unclear._get_problems())
        limit = patch("odoo.addons.customer_billing_statement.models.billing_statement_match.MAX_UPLOADS", 2)
        with limit, self.assertRaisesRegex(UserError, "many files"):
            matches._create_from_portal(statement, "books.csv", self.usual().encode())

    def test_only_for_statements_that_were_sent(self):
        draft = self.statement("2026-02-01", "2026-02-28")
        with self.assertRaisesRegex(UserError, "not open for comparison"):
            self.env["billing.statement.match"]._create_from_portal(draft, "a.csv", b"a,b")
        draft.action_cancel()
        with self.assertRaisesRegex(UserError, "was cancelled"):
            self.upload(self.usual(), statement=draft)


@tagged("post_install", "-at_install")
class TestLedgerSecurity(LedgerCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.customer.user_id = cls.env.user
        cls.users = {
            role: cls.new_staff(role, login=f"ledger_{role}") for role in ROLES if role not in ("nobody", "portal")
        }
        cls.users["nobody"] = cls.new_staff(login="ledger_nobody")
        cls.users["portal"] = cls.new_portal(cls.customer, "ledger_portal")
        cls.customer.user_id = cls.users["sales"]
        cls.ledger = cls.upload(cls.usual())
        cls.ledger.action_match()
        cls.records = {
            "billing.statement.match": cls.ledger,
            "billing.statement.match.column": cls.ledger.column_ids,
            "billing.statement.match.line": cls.ledger.line_ids,
        }

    def test_invariant_16_others_see_nothing(self):
        stranger = self.new_portal(self.other_customer, "ledger_stranger")
        foreign = self.new_staff("sales", login="ledger_other_sales")
        other = self.env["res.company"].create({"name": "Elsewhere"})
        elsewhere = self.new_staff("manager", login="ledger_elsewhere")
        elsewhere.write({"company_ids": [Command.set(other.ids)], "company_id": other.id})
        for user in (stranger, foreign, elsewhere):
            for model, records in self.records.items():
                with self.subTest(user=user.login, model=model):
                    self.assertFalse(self.env[model].with_user(user).search([]))
                    with self.assertRaises(AccessError):
                        records.with_user(user).read(["id"])

    def test_portal_sees_nothing_of_cancelled_statements(self):
        self.january.action_cancel()
        for model in self.records:
            self.assertFalse(self.env[model].with_user(self.users["portal"]).search([]))

    def test_results_are_not_written_by_hand(self):
        for role in ("collector", "officer", "manager"):
            ledger = self.ledger.with_user(self.users[role])
            for values in ({"state": "done"}, {"their_total": 1.0}, {"error_count": 0}, {"problems": []}):
                with self.subTest(role=role, values=values), self.assertRaises(AccessError):
                    ledger.write(values)
            with self.subTest(role=role), self.assertRaises(AccessError):
                ledger.line_ids[:1].write({"difference": 0.0})
            with self.subTest(role=role), self.assertRaises(AccessError):
                ledger.column_ids[:1].write({"name": "X"})

    def test_who_compares_and_disputes(self):
        for role in ("collector", "officer", "manager"):
            with self.subTest(role=role):
                ledger = self.upload(self.usual(), user=self.users[role])
                ledger.action_draft()
                ledger.column_ids[0].field = "date"
                ledger.action_match()
                self.assertEqual(ledger.state, "matched")
                ledger.line_ids.filtered(lambda line: line.status == "only_theirs").action_dispute()
                self.assertTrue(ledger.line_ids.dispute_id)
                ledger.action_done()
        for role in ("nobody", "sales", "auditor", "portal"):
            ledger = self.ledger.with_user(self.users[role])
            for call in (
                lambda ledger=ledger: ledger.action_match(),
                lambda ledger=ledger: ledger.action_draft(),
                lambda ledger=ledger: ledger.action_done(),
                lambda ledger=ledger: ledger.sudo().line_ids.with_user(ledger.env.user)[:1].action_dispute(),
                lambda role=role: self.upload(self.usual(), user=self.users[role]),
            ):
                with self.subTest(role=role), self.assertRaises(AccessError):
                    call()
        self.assertEqual(self.ledger.state, "matched")


@tagged("post_install", "-at_install")
class TestLedgerHttp(HttpCase, LedgerCommon):
    def test_download(self):
        portal = self.new_portal(self.customer, "ledger_portal")
        self.new_portal(self.other_customer, "ledger_stranger")
        ledger = self.upload(self.usual())
        ledger.action_match()
        url = ledger.action_download_result()["url"]
        self.authenticate(portal.login, portal.login)
        answer = self.url_open(url)
        self.assertEqual(answer.status_code, 200)
        sheet = openpyxl.load_workbook(io.BytesIO(answer.content)).active
        self.assertEqual(sheet.max_row, 6)
        self.assertEqual(self.url_open(ledger.action_download_problems()["url"]).status_code, 200)
        self.authenticate("ledger_stranger", "ledger_stranger")
        for address in (url, "/billing/ledger/0/result.xlsx", f"/web/content/billing.statement.match/{ledger.id}/file"):
            self.assertEqual(self.url_open(address).status_code, 404)
        self.authenticate(None, None)
        self.assertIn("/web/login", self.url_open(url).url)


def _with_macros():
    book = openpyxl.Workbook()
    book.active.append(["Date", "Amount"])
    stream = io.BytesIO()
    book.save(stream)
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("xl/vbaProject.bin", b"Attribute VB_Name")
    return stream.getvalue()
