from odoo import fields, models


class BillingStatementConfirmation(models.TransientModel):
    """Enter a confirmation that the customer gave by phone, letter or mail."""

    _name = "billing.statement.confirmation"
    _description = "Confirm a Statement for the Customer"

    statement_id = fields.Many2one("billing.statement", required=True, readonly=True)
    name = fields.Char(string="Confirmed By", required=True)
    note = fields.Text(string="How", required=True)

    def action_confirm(self):
        """Confirm the statement in the customer's name."""
        for wizard in self:
            wizard.statement_id.action_confirm(wizard.name, note=wizard.note)
        return {"type": "ir.actions.act_window_close"}
