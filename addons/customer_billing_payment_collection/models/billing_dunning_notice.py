from odoo import api, fields, models
from odoo.tools import format_date


class BillingDunningNotice(models.Model):
    _inherit = "billing.dunning.notice"

    reason_code = fields.Selection(selection_add=[("charge", "Automatic payment")], ondelete={"charge": "set null"})

    @api.model
    def _get_reason_texts(self):
        return {**super()._get_reason_texts(), "charge": self.env._("It is paid automatically.")}

    def _get_document_lines(self):
        """Also ``declined``: the day on which the automatic payment was declined for good, as text."""
        lines = super()._get_document_lines()
        for values, line_sudo in zip(lines, self.sudo().line_ids, strict=True):  # the customer's own items
            if line_sudo.amount > 0 and line_sudo.move_id.billing_charge_state == "failed":
                attempts = line_sudo.move_id.billing_attempt_ids.filtered("date_answered").sorted("number")
                values["declined"] = format_date(self.env, attempts[-1:].date_answered) if attempts else ""
        return lines
