from odoo import models


class PaymentToken(models.Model):
    _inherit = "payment.token"

    def _handle_archiving(self):
        """A method that its owner deletes is not charged any more."""
        super()._handle_archiving()
        # sudo: consent ends whoever deletes the method
        self.env["billing.payment.mandate"].sudo().search([("token_id", "in", self.ids)])._revoke()

    def get_linked_records_info(self):
        """The mandates, for core's question before a method is deleted."""
        self.check_access("read")  # any user may call it
        found = super().get_linked_records_info()
        # sudo: what the method is used for is told to those who may delete it
        mandates_sudo = self.env["billing.payment.mandate"].sudo().search(
            [("token_id", "=", self.id), ("state", "=", "active")]
        )
        for mandate in mandates_sudo:
            found.append(
                {
                    "description": self.env._("Automatic payment"),
                    "id": mandate.id,
                    "name": ", ".join(mandate.contract_ids.mapped("name")) or self.env._("All contracts"),
                    "url": "/my/billing/automatic",
                }
            )
        return found
