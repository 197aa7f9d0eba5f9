import io

from odoo import models


class IrActionsReport(models.Model):
    _inherit = "ir.actions.report"

    def _render_qweb_pdf_prepare_streams(self, report_ref, data, res_ids=None):
        """Statements print as they were issued; those that were not, as they would be."""
        report = self._get_report(report_ref)
        if report.report_name != "customer_billing_statement.report_statement":
            return super()._render_qweb_pdf_prepare_streams(report_ref, data, res_ids=res_ids)
        statements = self.env["billing.statement"].browse(res_ids)
        statements.check_access("read")
        return {
            statement.id: {
                "stream": io.BytesIO(
                    statement._get_file("pdf") if statement.date_sent else statement._render_pdf()
                ),
                "attachment": None,
            }
            for statement in statements
        }
