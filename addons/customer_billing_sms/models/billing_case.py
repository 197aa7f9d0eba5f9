from odoo import api, models


class BillingCase(models.Model):
    _inherit = "billing.case"

    @api.model
    def _get_handover_address(self, notification):
        """The number that a text went to."""
        if notification.notification_type == "sms":
            return notification.sms_number
        return super()._get_handover_address(notification)
