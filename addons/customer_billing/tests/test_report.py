import base64
import io
import unittest
from unittest.mock import patch

from odoo.tests import HttpCase, tagged
from odoo.tools.pdf import PdfFileReader, PdfFileWriter

from odoo.addons.base.models.ir_actions_report import IrActionsReport, _wkhtml

from .common import BillingCommon

REPORT = "account.account_invoices"
BODY = (
    '<html><head></head><body class="o_body_pdf"><div class="article" data-oe-lang="{lang}">'
    "<p>Content {number}</p></div></body></html>"
)
LAYOUT = (
    '<html><body onload="subst()"><div id="minimal_layout_report_{part}s">'
    '<div class="{part} o_company_1_layout">{part} 1<div>Page <span class="page"></span> / '
    '<span class="topage"></span></div></div>'
    '<div class="{part} o_company_1_layout">{part} 2</div></div></body></html>'
)


def blank_pdf(*_args, **_kwargs):
    writer = PdfFileWriter()
    writer.addBlankPage(100, 100)
    stream = io.BytesIO()
    writer.write(stream)
    return stream.getvalue()


class BillingReportCommon(BillingCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.customer.lang = "en_US"
        cls.report = cls.env["ir.actions.report"]
        cls.contract = cls.new_contract("2026-01-15")
        cls.contract.pause_ids = [(0, 0, {"date_from": "2026-02-05", "date_to": "2026-02-14"})]
        cls.move = cls.bill("2026-01-15", cls.contract).move_ids

    def _html(self, moves, report_type="pdf"):
        return self.report._render_qweb_html(REPORT, moves.ids, {"report_type": report_type})[0].decode()


@tagged("post_install", "-at_install")
class TestBillDocument(BillingReportCommon):
    """What stands on the bill."""

    def test_period_trace_and_code(self):
        html = self._html(self.move)
        for text in (
            "01/15/2026",
            "02/14/2026",
            "Why this amount",
            "21 of 31 days",
            "Scan to view and pay",
            self.move._get_billing_qr_code(),
            self.contract.name,
        ):
            self.assertIn(text, html)

    def test_web_page_shows_its_own_blocks(self):
        """The document inside the portal page keeps the blocks for print only."""
        html = self._html(self.move, "html")
        self.assertIn("o_billing_explanation mt-2 d-none d-print-block", html)
        self.assertIn(self.move._get_billing_qr_code(), html)

    def test_code_holds_the_address(self):
        prefix, data = self.move._get_billing_qr_code().split(",")
        self.assertEqual(prefix, "data:image/png;base64")
        try:
            import zxingcpp
            from PIL import Image
        except ImportError:
            raise unittest.SkipTest("zxing-cpp is not installed")
        [code] = zxingcpp.read_barcodes(Image.open(io.BytesIO(base64.b64decode(data))))
        self.assertTrue(code.text.startswith(self.move._get_billing_url()), code.text)  # a module adds what to do there
        self.assertIn(self.move.access_token, code.text)

    def test_draft_has_no_code(self):
        move = self.bill("2026-01-20", self.new_contract("2026-01-20"), post=False).move_ids
        html = self._html(move)
        self.assertNotIn("Scan to view", html)
        self.assertIn("Why this amount", html)

    def test_other_invoices_stay_as_they_are(self):
        move = self.init_invoice("out_invoice", partner=self.customer, amounts=[10.0], post=True)
        html = self._html(move)
        self.assertNotIn("Scan to view", html)
        self.assertNotIn("Why this amount", html)

    def test_paid_bill_asks_for_no_payment(self):
        self.env["account.payment.register"].with_context(active_model="account.move", active_ids=self.move.ids).create(
            {}
        )._create_payments()
        self.assertFalse(self.move.amount_residual)
        html = self._html(self.move)
        self.assertIn("Scan to view", html)
        self.assertNotIn("Scan to view and pay", html)


@tagged("post_install", "-at_install")
class TestBillMail(BillingReportCommon):
    """The mails that bills are sent with."""

    def test_bill(self):
        template = self.move._get_mail_template()
        self.assertEqual(template, self.env.ref("customer_billing.mail_template_bill"))
        values = template._generate_template(self.move.ids, ("subject", "body_html"))[self.move.id]
        self.assertIn(self.move.name, values["subject"])
        self.assertIn(self.move.get_portal_url().split("&")[0], values["body_html"])
        self.assertIn("to be paid by", values["body_html"])
        self.assertNotIn("unsubscribe", values["body_html"].lower())

    def test_credit_note(self):
        credit = self.env["account.move"].create({"move_type": "out_refund", "partner_id": self.customer.id})
        credit.sudo().billing_run_id = self.move.billing_run_id  # set by the engine only
        template = credit._get_mail_template()
        self.assertEqual(template, self.env.ref("customer_billing.mail_template_credit_note"))
        values = template._generate_template(credit.ids, ("subject", "body_html"))[credit.id]
        self.assertIn("You have nothing to pay", values["body_html"])

    def test_other_invoices_keep_their_mail(self):
        move = self.init_invoice("out_invoice", partner=self.customer, amounts=[10.0], post=True)
        self.assertEqual(move._get_mail_template(), self.env.ref("account.email_template_edi_invoice"))


@tagged("post_install", "-at_install")
class TestBothBuilds(BillingReportCommon):
    """The same call with either build of wkhtmltopdf."""

    def _run(self, patched, count=1):
        calls = []

        def run(_report, bodies, **kwargs):
            calls.append({"bodies": bodies, **kwargs})
            return blank_pdf()

        with (
            patch.object(type(self.report), "_is_wkhtmltopdf_patched", return_value=patched, create=True),
            patch.object(IrActionsReport, "_run_wkhtmltopdf", run),
        ):
            pdf = self.report._run_wkhtmltopdf(
                [BODY.format(number=number, lang="zh_CN") for number in range(1, count + 1)],
                report_ref=REPORT,
                header=LAYOUT.format(part="header"),
                footer=LAYOUT.format(part="footer"),
                specific_paperformat_args={"data-report-dpi": 96},
            )
        return pdf, calls

    def test_patched_is_left_alone(self):
        _pdf, [call] = self._run(patched=True, count=2)
        self.assertEqual(len(call["bodies"]), 2)
        self.assertEqual(call["header"], LAYOUT.format(part="header"))
        self.assertEqual(call["footer"], LAYOUT.format(part="footer"))
        self.assertEqual(call["specific_paperformat_args"], {"data-report-dpi": 96})

    def test_unpatched_has_letterhead_in_the_document(self):
        _pdf, [call] = self._run(patched=False)
        self.assertFalse(call.get("header") or call.get("footer"))
        [body] = call["bodies"]
        self.assertLess(body.index("header 1"), body.index("Content 1"))
        self.assertLess(body.index("Content 1"), body.index("footer 1"))
        self.assertNotIn("header 2", body)
        self.assertNotIn("topage", body)
        self.assertNotIn("onload", body)
        self.assertIn("Noto Sans CJK SC", body)
        arguments = call["specific_paperformat_args"]
        self.assertEqual(arguments["data-report-dpi"], 96)
        self.assertEqual(arguments["data-report-margin-top"], 12)
        self.assertEqual(arguments["data-report-margin-bottom"], 12)

    def test_unpatched_converts_one_by_one(self):
        pdf, calls = self._run(patched=False, count=2)
        self.assertEqual([len(call["bodies"]) for call in calls], [1, 1])
        self.assertIn("header 2", calls[1]["bodies"][0])
        self.assertIn("footer 2", calls[1]["bodies"][0])
        self.assertEqual(len(PdfFileReader(io.BytesIO(pdf)).pages), 2)

    def test_streams_of_several_bills(self):
        moves = self.move | self.bill("2026-02-15", self.contract).move_ids
        calls = []

        def run(_report, bodies, **_kwargs):
            calls.append(len(bodies))
            pages = PdfFileWriter()
            for _body in bodies:
                pages.addBlankPage(100, 100)
            stream = io.BytesIO()
            pages.write(stream)
            return stream.getvalue()

        for patched, expected in ((True, [2]), (False, [1, 1])):
            calls.clear()
            with (
                patch.object(type(self.report), "_is_wkhtmltopdf_patched", return_value=patched),
                patch.object(IrActionsReport, "_run_wkhtmltopdf", run),
                patch.object(IrActionsReport, "get_wkhtmltopdf_state", return_value="ok"),
            ):
                streams = self.report._render_qweb_pdf_prepare_streams(REPORT, {}, moves.ids)
            self.assertEqual(list(streams), moves.ids)
            self.assertTrue(all(stream["stream"] for stream in streams.values()))
            self.assertEqual(calls, expected)

    def test_no_waiting_for_scripts(self):
        paper = self.env.ref("base.paperformat_euro")
        report = self.report.with_context(billing_script_delay="50")

        def delay(report):
            command = report._build_wkhtmltopdf_args(paper, False)
            return command[command.index("--javascript-delay") + 1]

        self.assertEqual(delay(self.report), "1000")
        self.assertEqual(delay(report), "50")
        self.env["ir.config_parameter"].set_param("report.print_delay", "700")
        self.assertEqual(delay(report), "700")


@tagged("post_install", "-at_install")
class TestPdf(BillingReportCommon, HttpCase):
    """With the wkhtmltopdf of this machine."""

    def setUp(self):
        super().setUp()
        if _wkhtml().state == "install":
            self.skipTest("wkhtmltopdf is not installed")
        self.report = self.report.with_context(force_report_rendering=True)

    def test_pdf_of_several_bills(self):
        moves = self.move | self.bill("2026-02-15", self.contract).move_ids
        pdf, report_type = self.report._render_qweb_pdf(REPORT, moves.ids)
        self.assertEqual(report_type, "pdf")
        pages = PdfFileReader(io.BytesIO(pdf)).pages
        self.assertEqual(len(pages), 2)
        for page, move in zip(pages, moves, strict=True):
            text = " ".join(page.extract_text().split())
            # the first is from the letterhead
            for expected in (self.company.name, move.name, "Why this amount", "Scan to view"):
                self.assertIn(expected, text)
