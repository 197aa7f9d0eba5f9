from odoo import fields, models
from odoo.exceptions import UserError


class BillingCase(models.Model):
    _name = "billing.case"
    _inherit = ["billing.case"]

    interest_through = fields.Date(
        string="Interest Through", readonly=True, copy=False,
        help="Interest of all items was booked through this day; empty: the next run looks at them again.",
    )  # fmt: skip
    amount_interest = fields.Monetary(
        string="Interest to Bill", compute="_compute_amount_interest", help="Interest and fees that are not billed yet."
    )

    @property
    def _billing_protected(self):
        return super()._billing_protected | {"interest_through"}

    def _compute_amount_interest(self):
        totals = dict(
            self.env["billing.interest"]._read_group(
                [("case_id", "in", self.ids), ("state", "=", "pending")], ["case_id"], ["amount:sum"]
            )
        )
        for case in self:
            case.amount_interest = totals.get(case, 0.0)

    def action_interest_preview(self):
        """Show what the interest of this case is today, item by item."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Late Interest"),
            "res_model": "billing.interest.preview",
            "view_mode": "form",
            "target": "new",
            "context": {"default_case_id": self.id, "dialog_size": "extra-large"},
        }

    # Approval by a second person, of waivers, write-offs and service holds

    def _exceeds_approval_limit(self, amount):
        """Whether an amount in the currency of the case needs a second person."""
        # sudo: settings
        company_sudo = self.company_id.sudo()
        if not company_sudo.billing_approval:
            return False
        currency, today = company_sudo.currency_id, company_sudo._get_billing_today()
        amount = self.currency_id._convert(amount, currency, company_sudo, today)
        return currency.compare_amounts(amount, company_sudo.billing_collection_approval_amount) > 0

    def _check_approver(self, preparers):
        """Raise when the user may not approve what ``preparers`` asked for."""
        if not self.env.user.has_group("customer_billing.group_billing_manager"):
            raise UserError(
                self.env._("Only a billing manager approves waivers, write-offs and service holds: ask one.")
            )
        if self.env.user in preparers:
            raise UserError(self.env._("You asked for it yourself: let another billing manager approve it."))
