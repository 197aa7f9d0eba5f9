import io

from odoo import models


class IrActionsReport(models.Model):
    _inherit = "ir.actions.report"

    def _render_qweb_pdf_prepare_streams(self, report_ref, data, res_ids=None):
        """Letters print as they went out, one for several notices once; those that did not, as they would."""
        report = self._get_report(report_ref)
        if report.report_name != "customer_billing_collection.report_dunning_letter":
            return super()._render_qweb_pdf_prepare_streams(report_ref, data, res_ids=res_ids)
        notices = self.env["billing.dunning.notice"].browse(res_ids)
        notices.check_access("read")
        # sudo: the file of a notice that the user may read
        attachments = self.env["ir.attachment"].sudo().search(
            [("res_model", "=", notices._name), ("res_id", "in", notices.ids), ("mimetype", "=", "application/pdf")],
            order="id desc",
        )
        files = {attachment.res_id: attachment for attachment in attachments}
        streams, printed = {}, set()
        for notice in notices:
            file = files.get(notice.id)
            if file and file.checksum in printed:
                continue
            printed.add(file and file.checksum)
            streams[notice.id] = {
                "stream": io.BytesIO(file.raw if file else notice._render_letter()), "attachment": None,
            }  # fmt: skip
        return streams
