from odoo import models


class AccountMove(models.Model):
    _inherit = "account.move"

    def _set_billing_charge(self, state, date=False):
        """What is charged automatically is not demanded: the cases of these customers are looked at again."""
        super()._set_billing_charge(state, date)
        self.env["billing.case"]._note_changes(self.commercial_partner_id.ids)

    def _on_billing_charge_failed(self):
        super()._on_billing_charge_failed()
        self.env["billing.case"]._take_over_charges(self)
