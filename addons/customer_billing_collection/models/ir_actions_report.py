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
        letters = {}
        for file in (files[notice.id] for notice in notices if notice.id in files):
            letters.setdefault(file.checksum, (file.res_id, file.raw))
        documents = dict(letters.values())
        for letter in notices.filtered(lambda notice: notice.id not in files)._preview_letters():
            documents[letter[0].id] = letter[0]._render_letter()
        # in the order of the notices; a letter for several is at its first one
        order = {notice_id: number for number, notice_id in enumerate(notices.ids)}
        return {
            notice_id: {"stream": io.BytesIO(document), "attachment": None}
            for notice_id, document in sorted(documents.items(), key=lambda pair: order.get(pair[0], len(order)))
        }
