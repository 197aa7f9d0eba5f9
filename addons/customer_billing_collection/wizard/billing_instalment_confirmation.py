from odoo import fields, models


class BillingInstalmentConfirmation(models.TransientModel):
    """Enter that the customer agreed by phone, letter or mail."""

    _name = "billing.instalment.confirmation"
    _description = "Confirm an Agreement for the Customer"

    instalment_id = fields.Many2one("billing.instalment", string="Agreement", required=True, readonly=True)
    name = fields.Char(string="Confirmed By", required=True)
    note = fields.Text(string="How", required=True)

    def action_confirm(self):
        """Confirm the agreement in the customer's name."""
        for wizard in self:
            wizard.instalment_id.action_confirm(wizard.name, wizard.note)
        return {"type": "ir.actions.act_window_close"}
