from datetime import timedelta

from odoo import api, models


class BillingCase(models.Model):
    """Online payments that never arrive."""

    _name = "billing.case"
    _inherit = "billing.case"

    @api.model
    def _is_transit_late(self, company, payment, today):
        """Those that nobody has confirmed, after the company's days without news."""
        # sudo: a setting, whoever looks
        limit = payment["date"] + timedelta(days=company.sudo().billing_transit_days)
        is_late = payment.get("can_expire", False) and limit < today
        return is_late or super()._is_transit_late(company, payment, today)
