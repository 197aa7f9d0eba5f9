import io

from lxml import html as lxml_html

from odoo import api, models
from odoo.addons.base.models.ir_actions_report import _wkhtml

# Millimetres above and below every page whose header and footer are part of its content.
PLAIN_MARGIN = 12
# Milliseconds that wkhtmltopdf waits for scripts after a page is loaded; invoices have none.
INVOICE_SCRIPT_DELAY = "50"


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

    def _render_qweb_pdf_prepare_streams(self, report_ref, data, res_ids=None):
        distinct = set(res_ids or ())
        if len(distinct) < 2 or len(distinct) < len(res_ids) or self._is_wkhtmltopdf_patched():
            return super()._render_qweb_pdf_prepare_streams(report_ref, data, res_ids=res_ids)
        streams = {}
        for res_id in res_ids:
            streams.update(
                super()._render_qweb_pdf_prepare_streams(
                    report_ref, dict(data or {}), res_ids=[res_id]
                )
            )
        return streams

    @api.model
    def _run_wkhtmltopdf(
        self, bodies, report_ref=False, header=None, footer=None, landscape=False,
        specific_paperformat_args=None, set_viewport_size=False,
    ):  # fmt: skip
        if report_ref and self._is_invoice_report(report_ref):
            self = self.with_context(billing_script_delay=INVOICE_SCRIPT_DELAY)  # noqa: PLW0642
        if self._is_wkhtmltopdf_patched():
            return super()._run_wkhtmltopdf(
                bodies, report_ref=report_ref, header=header, footer=footer, landscape=landscape,
                specific_paperformat_args=specific_paperformat_args,
                set_viewport_size=set_viewport_size,
            )  # fmt: skip
        arguments = dict(specific_paperformat_args or {})
        if header or footer:
            bodies = [
                self._merge_header_footer(body, header, footer, index)
                for index, body in enumerate(bodies)
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
        if delay and not self.env["ir.config_parameter"].sudo().get_param("report.print_delay"):
            command[command.index("--javascript-delay") + 1] = delay
        return command

    @api.model
    def _merge_header_footer(self, body, header, footer, index=0):
        """The document ``body`` with its header before and its footer after the content.

        :param index: the position of the document among those of ``header`` and ``footer``
        :return: HTML text
        """
        tree = lxml_html.document_fromstring(str(body))
        target = tree.find("body")
        if (node := self._find_layout_part(header, "header", index)) is not None:
            node.set("style", "padding-top: 0;")  # the page has a margin
            target.insert(0, node)
        if (node := self._find_layout_part(footer, "footer", index)) is not None:
            target.append(node)
        return lxml_html.tostring(tree, encoding="unicode", doctype="<!DOCTYPE html>")

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
