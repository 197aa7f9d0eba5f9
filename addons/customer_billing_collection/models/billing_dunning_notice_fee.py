from odoo import models


class BillingDunningNotice(models.Model):
    _name = "billing.dunning.notice"
    _inherit = ["billing.dunning.notice"]

    def _advance_case(self):
        super()._advance_case()
        self.env["billing.interest"]._add_fee(self.filtered(lambda notice: notice.state == "sent"))
