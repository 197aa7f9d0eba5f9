import base64
import csv
import doctest
import hashlib
import io
import shutil
import subprocess
import unittest
import zipfile

from openpyxl import load_workbook

from odoo import Command
from odoo.exceptions import AccessError, UserError
from odoo.tests import HttpCase, tagged

from odoo.addons.customer_billing_statement.tools import file_names, pages

from .common import StatementCommon


class DocumentCommon(StatementCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.customer.lang = "en_US"
        cls.first = cls.invoice("2026-01-05", 1200.5, due="2026-02-04", ref="PO-7781")
        cls.payment = cls.pay("2026-01-20", 400.0, invoices=cls.first)
        cls.credit = cls.invoice("2026-01-22", -75.25)
        cls.invoice("2025-10-10", 300.0)

    @classmethod
    def new_customer(cls, name):
        return cls.env["res.partner"].create({"name": name, "email": "customer@customer.example"})

    @classmethod
    def checked(cls, **values):
        statement = cls.statement(**values)
        statement.action_check()
        assert statement.state == "checked", statement.exception_ids.mapped("message")
        return statement


@tagged("post_install", "-at_install")
class TestKernels(StatementCommon):
    def test_examples(self):
        for module in (pages, file_names):
            result = doctest.testmod(module)
            self.assertTrue(result.attempted)
            self.assertFalse(result.failed)


@tagged("post_install", "-at_install")
class TestHtml(DocumentCommon):
    def html(self, **values):
        return str(self.checked(**values)._render_html())

    def test_all_that_a_customer_needs(self):
        self.env["res.partner.bank"].create(
            {"acc_number": "IE29AIBK93115212345678", "partner_id": self.company.partner_id.id}
        )
        statement = self.checked()
        html = str(statement._render_html())
        for text in (
            self.company.name, self.customer.name, statement.name, "01/01/2026 – 01/31/2026",
            self.first.name, "PO-7781", "02/04/2026", "1,200.50", "800.50", "-75.25",
            self.payment.name, self.credit.name, "Credit note,", "not allocated",
            "Opening balance", "300.00", "Closing balance", "1,025.25",
            "payments or credits that are not matched", "IE29AIBK93115212345678", "How to pay",
            "Your answer", "What the columns mean", "Page 1 of 1",
        ):  # fmt: skip
            self.assertIn(text, html)
        self.assertNotIn("Draft", html)

    def test_nothing_is_loaded_from_elsewhere(self):
        html = self.html()
        self.assertNotIn("<link", html)
        self.assertNotIn("<script", html)
        for part in html.split("src=")[1:]:
            self.assertTrue(part.startswith('"data:image/png;base64,'), part[:40])

    def test_layouts(self):
        contract = self.new_contract("2026-01-01")
        bill = self.bill("2026-01-01", contract).move_ids
        htmls = {}
        for template in ("standard", "ageing", "contract"):
            statement = self.checked(template=template)
            htmls[template] = str(statement._render_html())
            statement.action_cancel()
        for template, html in htmls.items():
            self.assertIn(bill.name, html)
            self.assertEqual("What is open, by age" in html, template == "ageing")
            self.assertEqual(f"Total of {contract.name}" in html, template == "contract")
            self.assertEqual("Without contract" in html, template == "contract")

    def test_by_contract_the_balance_runs_to_the_closing_one(self):
        self.bill("2026-01-01", self.new_contract("2026-01-01"))
        statement = self.checked(template="contract")
        values = statement._in_document_lang()._prepare_document()
        index = [column.name for column in values["columns"]].index("balance")
        lines = [row["cells"][index][0] for row in values["lines"] if row["style"] == "line"]
        self.assertEqual(len(lines), len(statement.line_ids))
        self.assertEqual(lines[-1], statement._format_number(statement.balance_close))

    def test_kinds(self):
        open_item = self.html(kind="open_item")
        self.assertNotIn("Opening balance", open_item)
        self.assertIn("down to this line", open_item)
        self.env["billing.statement"].search([("partner_id", "=", self.customer.id)]).action_cancel()
        self.assertNotIn(">Open<", self.html(kind="balance_forward"))

    def test_draft_says_so_and_has_no_link(self):
        statement = self.statement()
        html = str(statement._render_html())
        self.assertIn("Draft: this statement has not been checked", html)
        self.assertNotIn("QR code", html)

    def test_customer_language(self):
        self.env["res.lang"]._activate_lang("fr_FR")
        self.customer.lang = "fr_FR"
        html = self.html()
        self.assertIn('lang="fr-FR"', html)
        self.assertIn("05/01/2026", html)
        self.assertIn("1\u202f200,50", html.replace("\u00a0", "\u202f"))

    def test_chinese_font_and_no_decimals(self):
        jpy = self.env.ref("base.JPY")
        jpy.active = True
        self.invoice("2026-01-09", 1500000.0, currency=jpy)
        self.env["res.lang"]._activate_lang("zh_CN")
        self.customer.lang = "zh_CN"
        html = self.html(currency_id=jpy.id)
        self.assertIn("Noto Sans CJK SC", html)
        self.assertIn(">1,500,000<", html)

    def test_empty_account(self):
        html = self.html(partner_id=self.new_customer("Nothing").id)
        self.assertIn("Closing balance", html)
        self.assertIn("Page 1 of 1", html)

    def test_text_is_not_markup(self):
        self.invoice("2026-01-06", 5.0, ref="<b>x</b>")
        self.customer.name = "<script>alert(1)</script>"
        html = self.html()
        self.assertNotIn("<script>", html)
        self.assertIn("&lt;b&gt;x", html)

    def test_code_holds_the_address(self):
        statement = self.checked()
        values = statement._in_document_lang()._prepare_document()
        self.assertIn(values["qr_code"], str(statement._render_html()))
        try:
            import zxingcpp
            from PIL import Image
        except ImportError:
            raise unittest.SkipTest("zxing-cpp is not installed")
        image = Image.open(io.BytesIO(base64.b64decode(values["qr_code"].split(",")[1])))
        [code] = zxingcpp.read_barcodes(image)
        self.assertEqual(code.text, statement._get_statement_url())
        self.assertIn(statement.access_token, code.text)

    def test_issued_again_tells_what_changed(self):
        statement = self.sent()
        self.invoice("2026-01-30", 777.0)
        statement.action_reissue()
        new = statement.superseded_by_id
        new.action_check()
        html = str(new._render_html())
        self.assertIn(f"What changed since {statement.name}", html)
        self.assertIn("777.00", html)
        self.assertIn("takes the place of", html)
        self.assertIn("1,802.25", html)

    def test_settled_in_another_currency(self):
        usd = self.setup_other_currency("EUR", rates=[("2025-01-01", 2.0)])
        foreign = self.invoice("2026-01-08", 200.0, currency=usd)
        self.match(foreign, self.pay("2026-01-09", 50.0))
        html = self.html(currency_id=usd.id)
        self.assertIn("settled in another currency or on another account, the reference names", html)
        line = self.env["billing.statement.line"].search([("counterpart", "!=", False)], limit=1)
        self.assertIn(line.counterpart.split(" ")[0], html)

    def test_rows_of_many_lines_are_divided_among_pages(self):
        self.env["account.move"].search([]).flush_recordset()
        for number in range(45):
            self.invoice("2026-01-07", 10.0 + number, ref=f"PO {number}")
        values = self.checked()._in_document_lang()._prepare_document()
        self.assertGreater(len(values["pages"]), 1)
        parts = [part for page in values["pages"] for part in page if part[0] == "lines"]
        self.assertGreater(len(parts), 1)
        covered = [row for _name, start, stop in parts for row in range(start, stop)]
        self.assertEqual(covered, list(range(len(values["lines"]))))
        limit = values["page"].height
        for page in values["pages"]:
            height = sum(
                values["blocks"][name] + sum(row["row"].height for row in values[name][start:stop])
                if stop
                else values["blocks"][name]
                for name, start, stop in page
            )
            self.assertLessEqual(height, limit)

    def test_queries_do_not_grow_with_the_lines(self):
        def count(statement):
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            statement._render_html()
            return self.env.cr.sql_log_count - before

        few = self.checked()
        few._render_html()
        small = count(few)
        few.action_cancel()
        for number in range(30):
            self.invoice("2026-01-07", 10.0 + number)
        self.assertLessEqual(count(self.checked()), small)


@tagged("post_install", "-at_install")
class TestPdf(DocumentCommon):
    with_pdf = True

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if cls.env["ir.actions.report"].get_wkhtmltopdf_state() == "install" or not shutil.which("pdftotext"):
            raise unittest.SkipTest("wkhtmltopdf or pdftotext is not installed")

    def text(self, pdf):
        command = ["pdftotext", "-layout", "-", "-"]
        return subprocess.run(command, input=pdf, capture_output=True, check=True).stdout.decode()

    def test_pages_with_heads_and_numbers(self):
        for number in range(45):
            self.invoice("2026-01-07", 10.0 + number, ref=f"PO {number}")
        statement = self.checked()
        found = self.text(statement._render_pdf()).rstrip("\f").split("\f")
        self.assertEqual(len(found), len(statement._prepare_document()["pages"]))
        for number, page in enumerate(found, start=1):
            self.assertIn(f"Page {number} of {len(found)}", page)
            if number > 1:
                self.assertIn(statement.name, page)
            if "PO " in page:
                self.assertRegex(page, r"Date +Type +Number")
        self.assertIn(self.customer.name, found[0])

    def test_issued_files_have_their_hashes(self):
        statement = self.checked()
        statement.action_mark_sent()
        pdf, xlsx = (base64.b64decode(statement[name]) for name in ("pdf", "xlsx"))
        self.assertTrue(pdf.startswith(b"%PDF"))
        self.assertEqual(hashlib.sha256(pdf).hexdigest(), statement.sha256)
        self.assertEqual(hashlib.sha256(xlsx).hexdigest(), statement.sha256_xlsx)
        self.assertEqual(statement.action_verify()[0]["state"], "ok")

    def test_print_gives_the_issued_file(self):
        report = self.env["ir.actions.report"].with_context(force_report_rendering=True)
        name = "customer_billing_statement.report_statement_action"
        statement = self.checked()
        preview, kind = report._render_qweb_pdf(name, statement.ids)
        self.assertEqual(kind, "pdf")
        self.assertIn(statement.name, self.text(preview))
        statement.action_mark_sent()
        self.assertEqual(report._render_qweb_pdf(name, statement.ids)[0], statement._get_file("pdf"))
        user = self.new_staff("sales", login="doc_sales")
        with self.assertRaises(AccessError):
            report.with_user(user)._render_qweb_pdf(name, statement.ids)


@tagged("post_install", "-at_install")
class TestWorkbook(DocumentCommon):
    def book(self, statement):
        return load_workbook(io.BytesIO(statement._render_xlsx()))

    def test_contents(self):
        statement = self.checked()
        book = self.book(statement)
        summary, lines, explanation = book.worksheets
        found = {row[0].value: row[1].value for row in summary.iter_rows(max_col=2)}
        self.assertEqual(found["Customer"], self.customer.name)
        self.assertEqual(found["Number"], statement.name)
        self.assertEqual(found["Closing balance"], 1025.25)
        self.assertEqual(found["Not due"], 800.5)
        self.assertEqual(lines.freeze_panes, "A2")
        heads = [cell.value for cell in lines[1]]
        rows = [dict(zip(heads, row, strict=True)) for row in lines.iter_rows(min_row=2, values_only=True)]
        self.assertEqual([row["Number"] for row in rows[:-1]], statement.line_ids.mapped("number"))
        self.assertEqual(rows[0]["Charged"], 1200.5)
        self.assertEqual(rows[0]["Date"].date(), self.day("2026-01-05"))
        self.assertEqual((rows[-1]["Charged"], rows[-1]["Credited"]), (1200.5, 475.25))
        self.assertIn("0.00", lines.cell(2, heads.index("Charged") + 1).number_format)
        self.assertEqual(
            [row[0].value for row in explanation.iter_rows()],
            [column.label for column in statement._get_columns()],
        )

    def test_formulas_stay_text(self):
        texts = ["=1+1", "+1", "-1", "@SUM(A1)", "http://x.example"]
        for text in texts:
            self.invoice("2026-01-07", 5.0, ref=text)
        self.customer.name = '=HYPERLINK("http://x.example")'
        statement = self.checked()
        book = self.book(statement)
        cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
        self.assertNotIn("f", {cell.data_type for cell in cells})
        self.assertFalse([cell for cell in cells if cell.hyperlink])
        values = [cell.value for cell in cells]
        for text in [*texts, self.customer.name]:
            self.assertIn(text, values)

    def test_currency_decimals_and_language(self):
        jpy = self.env.ref("base.JPY")
        jpy.active = True
        self.invoice("2026-01-09", 1500000.0, currency=jpy)
        lines = self.book(self.checked(currency_id=jpy.id)).worksheets[1]
        amounts = [cell for cell in lines[2] if cell.value == 1500000]
        self.assertTrue(amounts)
        self.assertNotIn("0.0", amounts[0].number_format)

    def test_changes(self):
        statement = self.sent()
        self.invoice("2026-01-30", 777.0)
        statement.action_reissue()
        sheet = self.book(statement.superseded_by_id).worksheets[2]
        self.assertEqual([cell.value for cell in sheet[2]][3:], [0, 777])

    def test_download_of_issued_ones_only(self):
        statement = self.checked()
        with self.assertRaises(UserError):
            statement.action_download_xlsx()
        statement.action_mark_sent()
        self.assertIn(f"/{statement.id}/xlsx", statement.action_download_xlsx()["url"])


@tagged("post_install", "-at_install")
class TestArchive(DocumentCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.one = cls.sent()
        cls.one.action_confirm("=Ann Lee", note="By phone")
        cls.names = ["../../etc/passwd", "极光数据", "=cmd|' /C calc'!A0"]
        cls.partners = [cls.new_customer(name) for name in cls.names]
        for partner in cls.partners:
            cls.invoice("2026-01-03", 10.0, partner=partner)
        cls.others = cls.env["billing.statement"].union(
            *(cls.sent(partner_id=partner.id) for partner in cls.partners)
        )
        cls.checked_ = cls.checked(date_from="2026-02-01", date_to="2026-02-28")

    def archive(self, **values):
        return self.env["billing.statement.archive"].create(
            {"company_id": self.company.id, "date_from": "2026-01-01", "date_to": "2026-12-31", **values}
        )

    def read(self, archive):
        file, has_problems = archive._write_zip()
        self.addCleanup(file.close)
        book = zipfile.ZipFile(file)
        self.assertIsNone(book.testzip())
        text = book.read("manifest.csv").decode("utf-8-sig")
        heads, *rows = (line for line in csv.reader(io.StringIO(text)))
        return book, [dict(zip(heads, row, strict=True)) for row in rows], has_problems

    def test_complete(self):
        archive = self.archive()
        self.assertEqual(archive.statement_count, 4)
        book, rows, has_problems = self.read(archive)
        self.assertFalse(has_problems)
        self.assertEqual([row["statement"] for row in rows], (self.one | self.others).mapped("name"))
        listed = {row[name] for row in rows for name in ("pdf", "xlsx")}
        self.assertEqual(listed | {"manifest.csv", "SHA256SUMS"}, set(book.namelist()))
        for row in rows:
            for name in ("pdf", "xlsx"):
                self.assertEqual(hashlib.sha256(book.read(row[name])).hexdigest(), row[f"{name}_sha256"])
                self.assertEqual(row[f"{name}_check"], "ok")
        self.assertEqual(rows[0]["pdf_sha256"], self.one.sha256)
        self.assertTrue(rows[0]["confirmed"] and rows[0]["sent"])
        self.assertEqual(rows[0]["balance_close"], "1025.25")
        sums = dict(reversed(line.split("  ")) for line in book.read("SHA256SUMS").decode().splitlines())
        self.assertEqual(set(sums), set(book.namelist()) - {"SHA256SUMS"})
        self.assertEqual(sums["manifest.csv"], hashlib.sha256(book.read("manifest.csv")).hexdigest())

    def test_names_are_safe_and_not_twice(self):
        self.others.sudo()._write({"state": "superseded"})
        _book, rows, _has_problems = self.read(self.archive())
        for row in rows:
            self.assertRegex(row["pdf"], r"^2026-01/[A-Za-z0-9_.-]+\.pdf$")
            self.assertNotIn("..", row["pdf"])
        self.assertIn(f"_{self.partners[1].id}.pdf", rows[2]["pdf"])
        used = set()
        archive = self.archive()
        same = {archive._get_names(self.one, used)["pdf"] for _again in range(2)}
        self.assertEqual(len(same), 2)

    def test_formulas_stay_text(self):
        _book, rows, _has_problems = self.read(self.archive())
        self.assertEqual(rows[0]["confirmed_by"], "'=Ann Lee")
        self.assertEqual(rows[3]["customer"], "'" + self.names[2])

    def test_superseded_ones_are_there_with_their_successor(self):
        self.invoice("2026-01-30", 777.0)
        self.one.action_reissue()
        new = self.one.superseded_by_id
        new.action_check()
        new.action_send()
        _book, rows, _has_problems = self.read(self.archive(partner_ids=self.customer.ids))
        self.assertEqual([row["statement"] for row in rows], [self.one.name, new.name])
        self.assertEqual((rows[0]["status"], rows[0]["superseded_by"]), ("superseded", new.name))
        self.assertEqual(rows[1]["supersedes"], self.one.name)

    def damage(self, statement, name, content):
        """As somebody would who can write to the disk or the database."""
        attachment = self.env["ir.attachment"].search(
            [("res_model", "=", statement._name), ("res_field", "=", name), ("res_id", "=", statement.id)]
        )
        self.env.cr.execute(
            "UPDATE ir_attachment SET store_fname = NULL, db_datas = %s WHERE id = %s", [content, attachment.id]
        )
        self.env.invalidate_all()

    def test_a_damaged_file_is_found_and_left_out(self):
        damaged, lost = self.others[0], self.others[1]
        self.damage(damaged, "pdf", b"forged")
        self.damage(lost, "xlsx", None)
        self.assertEqual(damaged.action_verify()[0]["state"], "damaged")
        self.assertEqual(damaged.action_verify()[0]["files"], ["pdf"])
        archive = self.archive()
        archive.action_check()
        for text in (f"{damaged.name}: PDF", f"{lost.name}: XLSX"):
            self.assertIn(text, archive.problems)
        self.assertNotIn(self.one.name, archive.problems)
        book, rows, has_problems = self.read(archive)
        self.assertTrue(has_problems)
        self.assertIn("INCOMPLETE", archive._get_file_name(has_problems))
        self.assertEqual((rows[1]["pdf_check"], rows[1]["xlsx_check"]), ("damaged", "ok"))
        self.assertEqual((rows[2]["pdf_check"], rows[2]["xlsx_check"]), ("ok", "missing"))
        self.assertNotIn(rows[1]["pdf"], book.namelist())
        self.assertNotIn(rows[2]["xlsx"], book.namelist())
        self.assertEqual(book.read("PROBLEMS.txt").decode().strip(), archive.problems)

    def test_nothing_to_archive(self):
        with self.assertRaises(UserError):
            self.archive(date_from="2020-01-01", date_to="2020-12-31").action_download()

    def test_roles_and_companies(self):
        values = {"date_from": "2026-01-01", "date_to": "2026-12-31"}
        for role in ("sales", "collector"):
            user = self.new_staff(role, login=f"arc_{role}")
            with self.assertRaises(AccessError):
                self.env["billing.statement.archive"].with_user(user).create(values)
        other = self.setup_other_company()["company"]
        auditor = self.new_staff("auditor", login="arc_auditor")
        archive = self.env["billing.statement.archive"].with_user(auditor).create(values)
        self.assertEqual(archive.company_id, self.company)
        _book, rows, _has_problems = self.read(archive)
        self.assertEqual(len(rows), 4)
        stranger = self.new_staff("auditor", login="arc_stranger")
        stranger.write({"company_id": other.id, "company_ids": [Command.set(other.ids)]})
        foreign = self.env["billing.statement.archive"].with_user(stranger).sudo().create(
            {**values, "company_id": self.company.id}
        )
        self.assertFalse(self.read(foreign.sudo(False))[1])

    def test_queries_do_not_grow_with_the_statements(self):
        def count(archive):
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            archive._write_zip()[0].close()
            return self.env.cr.sql_log_count - before

        two, four = self.archive(partner_ids=[p.id for p in self.partners[:2]]), self.archive()
        count(two)
        self.assertEqual(two.statement_count, 2)
        self.assertEqual(count(four), count(two))

    def test_one_file_is_in_memory(self):
        archive = self.archive()
        self.env.invalidate_all()
        for statement, contents in archive._iterate():
            self.assertTrue(all(contents.values()))
            stored = self.env["ir.attachment"].sudo().search(
                [("res_model", "=", statement._name), ("res_field", "in", ("pdf", "xlsx"))]
            )
            for name in ("raw", "datas"):
                self.assertFalse([a for a in stored if stored._fields[name]._get_cache(a.env).get(a.id)])


@tagged("post_install", "-at_install")
class TestArchiveDownload(DocumentCommon, HttpCase):
    def test_over_http(self):
        self.sent()
        password = "archive-Passw0rd"
        auditor, sales = (self.new_staff(role, login=f"http_{role}") for role in ("auditor", "sales"))
        (auditor | sales).password = password
        archive = self.env["billing.statement.archive"].with_user(auditor).create(
            {"date_from": "2026-01-01", "date_to": "2026-12-31"}
        )
        url = archive.action_download()["url"]
        self.authenticate(sales.login, password)
        self.assertEqual(self.url_open(url).status_code, 404)
        self.authenticate(auditor.login, password)
        response = self.url_open(url)
        self.assertEqual(response.headers["Content-Type"], "application/zip")
        self.assertIn("statements_", response.headers["Content-Disposition"])
        self.assertEqual(len(zipfile.ZipFile(io.BytesIO(response.content)).namelist()), 4)
