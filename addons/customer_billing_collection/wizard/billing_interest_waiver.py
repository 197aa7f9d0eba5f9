from odoo import fields, models


class BillingInterestWaiver(models.TransientModel):
    """Asks why interest is waived."""

    _name = "billing.interest.waiver"
    _description = "Waive Late Interest"

    entry_ids = fields.Many2many(
        "billing.interest",
        string="Interest",
        required=True,
        default=lambda self: self.env.context.get("active_ids")
        if self.env.context.get("active_model") == "billing.interest"
        else False,
        domain=[("state", "=", "pending")],
    )
    reason = fields.Char(required=True)

    def action_waive(self):
        """Waive the entries, or ask for it when that needs a second person."""
        self.entry_ids.action_waive(self.reason)
        return {"type": "ir.actions.act_window_close"}
