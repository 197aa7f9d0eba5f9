from odoo import fields, models


class BillingInstalmentSchedule(models.TransientModel):
    """Divide what is open into equal parts."""

    _name = "billing.instalment.schedule"
    _description = "Make a Schedule"

    instalment_id = fields.Many2one("billing.instalment", string="Agreement", required=True, readonly=True)
    currency_id = fields.Many2one(related="instalment_id.currency_id")
    amount_open = fields.Monetary(related="instalment_id.amount_open", string="To Be Paid")
    count = fields.Integer(string="Parts", default=3, required=True)
    first_date = fields.Date(string="First Part", required=True, default=fields.Date.context_today)
    interval = fields.Integer(string="Every", default=1, required=True)
    unit = fields.Selection([("month", "Months"), ("week", "Weeks")], default="month", required=True)

    def action_apply(self):
        """Replace the schedule of the agreement."""
        for wizard in self:
            wizard.instalment_id.action_make_schedule(
                wizard.count, wizard.first_date, wizard.interval, wizard.unit
            )
        return {"type": "ir.actions.act_window_close"}
