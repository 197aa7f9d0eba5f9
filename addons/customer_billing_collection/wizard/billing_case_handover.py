from odoo import api, fields, models


class BillingCaseHandover(models.TransientModel):
    """Hand a case over to a lawyer or an agency, or take it back."""

    _name = "billing.case.handover"
    _description = "Hand Over Case"

    case_id = fields.Many2one("billing.case", required=True, readonly=True, ondelete="cascade")
    is_handed_over = fields.Boolean(compute="_compute_is_handed_over")
    partner_id = fields.Many2one("res.partner", string="Lawyer or Agency")
    note = fields.Text(string="Remarks", help="For the summary of the package.")
    reason = fields.Text()

    @api.model
    def default_get(self, fields):
        values = super().default_get(fields)
        if self.env.context.get("active_model") == "billing.case" and "case_id" in fields:
            values.setdefault("case_id", self.env.context.get("active_id"))
        return values

    @api.depends("case_id")
    def _compute_is_handed_over(self):
        for wizard in self:
            wizard.is_handed_over = bool(wizard.case_id.date_legal)

    def action_hand_over(self):
        """Make the package and hand the case over; opens the case. Errors as for ``billing.case.action_hand_over``."""
        self.ensure_one()
        self.case_id.action_hand_over(self.partner_id.id, self.note or "")
        return {"type": "ir.actions.act_window_close"}

    def action_take_back(self):
        """Take the case back. Errors as for ``billing.case.action_take_back``."""
        self.ensure_one()
        self.case_id.action_take_back(self.reason or "")
        return {"type": "ir.actions.act_window_close"}
