from odoo import api, models


class BillingHealth(models.TransientModel):
    _inherit = "billing.health"

    @api.model
    def _get_health_items(self):
        company = ("company_id", "in", self.env.companies.ids)
        # sudo: whether a transaction is booked, for readers of charges who may not read transactions
        unbooked_sudo = self.env["billing.payment.attempt"].sudo().search(
            [company, ("state", "=", "done"), ("transaction_id.payment_id", "=", False)]
        )
        return [
            *super()._get_health_items(),
            self._count_attempts(
                self.env._("Automatic payments of unknown outcome"),
                [company, ("state", "=", "unknown")],
                self.env._("Look each up at the provider, then say “Was Paid” or “Was Not Paid”."),
            ),
            self._count_attempts(
                self.env._("Automatic payments that were made and not booked"),
                [("id", "in", unbooked_sudo.ids)],
                self.env._("“Answer” on the charge says why, for instance a locked date."),
            ),
        ]

    @api.model
    def _count_attempts(self, label, domain, hint):
        item = self._count_item(label, domain, "billing.payment.attempt", "", hint, severity="danger")
        item["action"]["xmlid"] = "customer_billing_payment.billing_payment_attempt_action"
        return item
