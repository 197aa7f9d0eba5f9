from odoo import fields, models


class PaymentToken(models.Model):
    _inherit = "payment.token"

    billing_expiry_date = fields.Date(string="Valid Until", readonly=True, help="As the provider has told.")

    def _set_billing_expiry(self, day):
        """Keep until when these methods are valid; customers are told in time of a new date too."""
        tokens = self.filtered(lambda token: token.billing_expiry_date != day)
        tokens.billing_expiry_date = day
        # sudo: protected fields
        mandates_sudo = self.env["billing.payment.mandate"].sudo().search(
            [("token_id", "in", tokens.ids), ("state", "=", "active"), ("expiry_date", "!=", day)]
        )
        mandates_sudo.write({"expiry_date": day, "notice_days": 0})

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
