from odoo import models


class AccountPayment(models.Model):
    _inherit = "account.payment"

    def _get_report_base_filename(self):
        """The name of the receipt's file in the portal."""
        return " ".join(filter(None, (self.payment_receipt_title, self.name)))
