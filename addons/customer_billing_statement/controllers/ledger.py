from odoo import http
from odoo.http import content_disposition, request

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class LedgerDownload(http.Controller):
    """Results of comparisons as files."""

    @http.route(
        [
            "/billing/ledger/<int:match_id>/<any(result,problems):what>.xlsx",
        ],
        type="http",
        auth="user",
        readonly=True,
    )
    def download(self, match_id, what, **kw):
        ledger = request.env["billing.statement.match"].browse(match_id)
        if not ledger.exists().has_access("read") or not ledger.exists():
            raise request.not_found()
        content = ledger._get_workbook(what)
        name = f"{ledger.statement_id.name or what}-{what}.xlsx".replace("/", "-")
        return request.make_response(
            content,
            [("Content-Type", XLSX), ("Content-Disposition", content_disposition(name))],
        )
