from odoo import models


class PortalWizardUser(models.TransientModel):
    _inherit = "portal.wizard.user"

    def action_grant_access(self):
        """The new login sees the contracts and bills of all our companies that the customer has contracts with."""
        result = super().action_grant_access()
        self.partner_id._open_billing_companies()
        return result
