from odoo import models


class BillingRun(models.Model):
    _inherit = "billing.run"

    def _get_policy(self):
        """The run itself ends with sending; charging has its own job, on the day that the bill is due."""
        policies = set(self.plan_ids.mapped("invoice_policy"))
        return "send" if policies == {"charge"} else super()._get_policy()
