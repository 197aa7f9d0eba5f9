from odoo import fields, models


class BillingContractActivation(models.TransientModel):
    """Asks before contracts are activated about whose customers a check warns."""

    _name = "billing.contract.activation"
    _description = "Activate Contracts"

    contract_ids = fields.Many2many("billing.contract", required=True, readonly=True)
    message = fields.Text(string="What Was Found", readonly=True)

    def action_confirm(self):
        """Activate the contracts all the same; what was found is kept in their history."""
        self.ensure_one()
        self.contract_ids.with_context(billing_ask=False).action_activate()
        return {"type": "ir.actions.act_window_close"}
