from odoo import fields, models


class BillingTierChange(models.TransientModel):
    """Set the tier of customers by hand, or leave it to the rules again."""

    _name = "billing.tier.change"
    _description = "Set Tier"

    partner_ids = fields.Many2many("res.partner", string="Customers", required=True)
    change = fields.Selection(
        [("set", "Set a tier"), ("release", "Let the rules decide again")], required=True, default="set"
    )
    tier_id = fields.Many2one(
        "billing.tier", help="Empty: no tier.", domain=lambda self: [("company_id", "in", (False, self.env.company.id))]
    )
    reason = fields.Char(required=True, help="Kept in the history of the customer.")
    date_until = fields.Date(
        string="Until", help="After this day the rules decide again. Empty: until somebody changes it."
    )

    def action_confirm(self):
        """Do it, in the current company."""
        self.ensure_one()
        if self.change == "release":
            self.partner_ids.action_release_billing_tier(self.reason)
        else:
            self.partner_ids.action_set_billing_tier(self.tier_id, self.reason, self.date_until)
        return {"type": "ir.actions.act_window_close"}
