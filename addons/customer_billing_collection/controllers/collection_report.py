from odoo import http
from odoo.http import content_disposition, request


class CollectionReport(http.Controller):
    @http.route("/billing/collection/<int:report_id>", type="http", auth="user", readonly=True)
    def download(self, report_id):
        """Results of collections of the user as XLSX."""
        report = request.env["billing.collection.report"].browse(report_id).exists()
        if not report or not report.has_access("read"):
            return request.not_found()
        return request.make_response(
            report._get_xlsx(),
            headers=[
                ("Content-Type", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
                ("Content-Disposition", content_disposition(f"{report.display_name}.xlsx")),
            ],
        )
