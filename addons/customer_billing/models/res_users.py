from odoo import models


class ResUsers(models.Model):
    _inherit = "res.users"

    def _sees_bills(self):
        """Whether this user is shown bills and what is made of them, as far as other rules go: contacts of customers
        by their roles, see ``res.partner._sees_bills``; staff by their rights alone."""
        self.ensure_one()
        return not self.share or self.partner_id._sees_bills()
