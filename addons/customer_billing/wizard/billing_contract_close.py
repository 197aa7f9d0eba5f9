from odoo import fields, models


class BillingContractClose(models.TransientModel):
    _name = "billing.contract.close"
    _description = "Close Contract"

    contract_ids = fields.Many2many("billing.contract", required=True, string="Contracts")
    date = fields.Date(
        string="Last Day",
        required=True,
        default=fields.Date.context_today,
        help="The last day that is charged. Days already billed after it are credited by the "
        "next run.",
    )
    reason_id = fields.Many2one("billing.close.reason", string="Reason", required=True)

    def action_close(self):
        """Close the contracts of this wizard."""
        self.contract_ids.action_close(self.date, self.reason_id)
        return {"type": "ir.actions.act_window_close"}
