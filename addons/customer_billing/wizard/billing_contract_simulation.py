from odoo import fields, models


class BillingContractSimulation(models.TransientModel):
    """A future bill line: what a contract will be billed, or would be after a change."""

    _name = "billing.contract.simulation"
    _description = "Simulated Bill Line"
    _order = "bill_date, contract_id, id"

    change_id = fields.Many2one("billing.contract.change", ondelete="cascade")
    contract_id = fields.Many2one("billing.contract", readonly=True)
    partner_id = fields.Many2one(related="contract_id.partner_id", store=True)
    line_id = fields.Many2one("billing.contract.line", readonly=True)
    name = fields.Char(string="Description", readonly=True)
    bill_date = fields.Date(readonly=True)
    period_start = fields.Date(string="From", readonly=True)
    period_end = fields.Date(string="To", readonly=True)
    quantity = fields.Float(readonly=True, digits="Product Unit")
    price_unit = fields.Float(
        string="Unit Price", readonly=True, min_display_digits="Product Price", aggregator=None
    )
    amount = fields.Monetary(readonly=True)
    currency_id = fields.Many2one("res.currency", readonly=True)
