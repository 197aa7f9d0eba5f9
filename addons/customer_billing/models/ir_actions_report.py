import copy
import io

from lxml import html as lxml_html

from odoo import api, models

from odoo.addons.base.models.ir_actions_report import _wkhtml

# Millimetres above and below every page whose header and footer are part of its content.
PLAIN_MARGIN = 12
# WebKit prints at 4/5 or less of the size on screen. Measured: 0.77, on any paper and resolution;
# the footer must rather stand too high than on a page of its own.
PLAIN_SHRINKING = 1.25
# Milliseconds that wkhtmltopdf waits for scripts after a page is loaded; invoices have none.
INVOICE_SCRIPT_DELAY = "50"
NO_SCRIPT_DELAY = "1"  # of a document without scripts

# The unpatched Qt draws fonts of the web as outlines: nobody could search or copy the text. And it
# takes Chinese characters from the first font that has them, so the right one must be named.
CJK_FONTS = {
    "": "Noto Sans CJK SC",
    "ja_JP": "Noto Sans CJK JP",
    "ko_KR": "Noto Sans CJK KR",
    "zh_HK": "Noto Sans CJK HK",
    "zh_TW": "Noto Sans CJK TC",
}
PLAIN_STYLE = """
*:not(.fa):not(.oi) { font-family: %(fonts)s !important; }
.o_billing_page { position: relative; min-height: %(page_height)dmm; }
.o_billing_page > .header { padding-top: 0 !important; min-height: %(header_height)dmm; }
.o_billing_page > .footer { visibility: hidden; }
.o_billing_page > .footer > .o_footer_content { padding-bottom: 0 !important; }
.o_billing_page > .o_billing_page_end {
    visibility: visible; position: absolute; bottom: 0; left: 0; right: 0;
}
"""


def has_class(name):
    """The XPath condition of an element that has the CSS class ``name``."""
    return f"contains(concat(' ', normalize-space(@class), ' '), ' {name} ')"


class IrActionsReport(models.Model):
    """Invoices print alike with both builds of wkhtmltopdf.

    Distributions build it without the patched Qt: it then ignores page headers and footers, where
    Odoo puts the letterhead, and refuses several documents in one call. There we merge header and
    footer into the document, and convert one document per call. With the patched Qt core's own
    way is taken."""

    _inherit = "ir.actions.report"

    @api.model
    def _is_wkhtmltopdf_patched(self):
        """Whether wkhtmltopdf knows page headers, footers and several documents per call."""
        return _wkhtml().is_patched_qt

    def _get_rendering_context(self, report, docids, data):
        """The portal calls posted bills without a stored PDF "proforma"; those of contracts
        are bills from their posting on."""
        if self.env.context.get("proforma_invoice") and report.model == "account.move":
            moves = self.env["account.move"].browse(docids)
            if all(move.state == "posted" and move.billing_contract_ids for move in moves):
                self = self.with_context(proforma_invoice=False)
        return super()._get_rendering_context(report, docids, data)

    def _render_qweb_pdf_prepare_streams(self, report_ref, data, res_ids=None):
        distinct = set(res_ids or ())
        if len(distinct) < 2 or len(distinct) < len(res_ids) or self._is_wkhtmltopdf_patched():
            return super()._render_qweb_pdf_prepare_streams(report_ref, data, res_ids=res_ids)
        streams = {}
        for res_id in res_ids:
            streams.update(super()._render_qweb_pdf_prepare_streams(report_ref, dict(data or {}), res_ids=[res_id]))
        return streams

    @api.model
    def _run_wkhtmltopdf(
        self, bodies, report_ref=False, header=None, footer=None, landscape=False,
        specific_paperformat_args=None, set_viewport_size=False,
    ):  # fmt: skip
        if report_ref and self._is_invoice_report(report_ref):
            self = self.with_context(billing_script_delay=INVOICE_SCRIPT_DELAY)
        if self._is_wkhtmltopdf_patched():
            return super()._run_wkhtmltopdf(
                bodies, report_ref=report_ref, header=header, footer=footer, landscape=landscape,
                specific_paperformat_args=specific_paperformat_args,
                set_viewport_size=set_viewport_size,
            )  # fmt: skip
        arguments = dict(specific_paperformat_args or {})
        if header or footer:
            heights = self._get_plain_heights(report_ref, landscape)
            bodies = [
                self._merge_header_footer(body, header, footer, index, heights) for index, body in enumerate(bodies)
            ]
            arguments["data-report-margin-top"] = PLAIN_MARGIN
            arguments["data-report-margin-bottom"] = PLAIN_MARGIN
        documents = [
            super(IrActionsReport, self)._run_wkhtmltopdf(
                [body], report_ref=report_ref, landscape=landscape,
                specific_paperformat_args=arguments, set_viewport_size=set_viewport_size,
            )
            for body in bodies
        ]  # fmt: skip
        if len(documents) == 1:
            return documents[0]
        return self._merge_pdfs([io.BytesIO(document) for document in documents]).getvalue()

    @api.model
    def _build_wkhtmltopdf_args(self, *args, **kwargs):
        command = super()._build_wkhtmltopdf_args(*args, **kwargs)
        delay = self.env.context.get("billing_script_delay")
        # sudo: a technical setting; a delay that somebody has set is respected
        known = delay in (INVOICE_SCRIPT_DELAY, NO_SCRIPT_DELAY)
        if known and not self.env["ir.config_parameter"].sudo().get_param("report.print_delay"):
            command[command.index("--javascript-delay") + 1] = delay
        return command

    @api.model
    def _get_plain_heights(self, report_ref, landscape):
        """The height between the margins of a page and of its header, in CSS millimetres."""
        report = self._get_report(report_ref) if report_ref else self
        paper = report.get_paperformat()
        if landscape or paper.orientation == "Landscape":
            page_height = paper.print_page_width
        else:
            page_height = paper.print_page_height
        return tuple(
            int(max(height, 0) * PLAIN_SHRINKING)
            for height in (page_height - 2 * PLAIN_MARGIN, paper.margin_top - PLAIN_MARGIN)
        )

    @api.model
    def _merge_header_footer(self, body, header, footer, index=0, heights=(0, 0)):
        """The document ``body`` with its header before and its footer after the content.

        :param index: the position of the document among those of ``header`` and ``footer``
        :param heights: of the page, at whose end the footer of a short document stands, and of
            the header; CSS millimetres
        :return: HTML text
        """
        tree = lxml_html.document_fromstring(str(body))
        page = lxml_html.Element("div", {"class": "o_billing_page"})
        target = tree.find("body")
        page.extend(target)
        target.append(page)
        if (node := self._find_layout_part(header, "header", index)) is not None:
            page.insert(0, node)
        if (node := self._find_layout_part(footer, "footer", index)) is not None:
            page.append(copy.deepcopy(node))  # invisible: keeps the place free
            node.classes.add("o_billing_page_end")
            page.append(node)
        style = lxml_html.Element("style")
        style.text = PLAIN_STYLE % {
            "page_height": heights[0],
            "header_height": heights[1],
            "fonts": self._get_plain_fonts(tree),
        }
        tree.find("head").append(style)
        return lxml_html.tostring(tree, encoding="unicode", doctype="<!DOCTYPE html>")

    @api.model
    def _get_plain_fonts(self, tree):
        """Fonts of the system in the order of the document's language."""
        langs = tree.xpath("//@data-oe-lang")
        cjk = CJK_FONTS.get(langs[0] if langs else "", CJK_FONTS[""])
        return f'"Liberation Sans", Arial, "{cjk}", sans-serif'

    @api.model
    def _find_layout_part(self, source, css_class, index):
        """The header or footer of one document, without its page numbers; None if there is none."""
        if not source:
            return None
        nodes = lxml_html.document_fromstring(str(source)).xpath(f"//div[{has_class(css_class)}]")
        if index >= len(nodes):
            return None
        node = nodes[index]
        for counter in node.xpath(f".//*[span[{has_class('page')} or {has_class('topage')}]]"):
            counter.getparent().remove(counter)
        return node
