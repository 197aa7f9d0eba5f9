from datetime import timedelta

from odoo import models
from odoo.exceptions import ValidationError

CLOCK_SKEW = timedelta(hours=1)


class PaymentTransaction(models.Model):
    """Asking providers what became of a payment. Nothing here requests one."""

    _name = "payment.transaction"
    _inherit = "payment.transaction"

    def _poll_billing_outcome(self):
        """Ask the provider what became of this payment, and let core process its answer.

        A provider that can be asked has a method ``_poll_billing_<code>(self)``, which returns the payment data as
        core's ``_process`` takes them, by reading alone. Of others the outcome comes by webhook, or a person finds out.

        :raises ValidationError: the provider does not answer, or does not know the payment
        """
        self.ensure_one()
        ask = getattr(self, f"_poll_billing_{self.provider_code}", None)
        if ask and self.state in ("draft", "pending", "authorized"):
            self._process(self.provider_code, ask())

    def _poll_billing_demo(self):
        """What the saved method simulates."""
        return {"reference": self.reference, "simulated_state": self.token_id.demo_simulated_state}

    def _poll_billing_flutterwave(self):
        """Flutterwave is asked by our reference."""
        return self._send_api_request(
            "GET", "transactions/verify_by_reference", params={"tx_ref": self.reference}
        )

    def _poll_billing_stripe(self):
        """Stripe's payment intent: by its id, else that of the customer which has our reference.

        A saved method has a customer of its own there, so the list is short; it is up to date at once, other than the
        search.
        """
        if self.provider_reference:
            intents = [
                self._send_api_request(
                    "GET", f"payment_intents/{self.provider_reference}", params={"expand[]": "payment_method"}
                )
            ]
        else:
            found = self._send_api_request(
                "GET",
                "payment_intents",
                params={
                    "customer": self.token_id.provider_ref,
                    "created[gte]": int((self.create_date - CLOCK_SKEW).timestamp()),
                    "limit": 100,
                    "expand[]": "data.payment_method",
                },
            )
            intents = [intent for intent in found["data"] if intent.get("description") == self.reference]
        if not intents:
            raise ValidationError(self.env._("The provider does not know this payment."))
        intent = next((intent for intent in intents if intent["status"] == "succeeded"), intents[0])
        return {
            "reference": self.reference, "payment_intent": intent, "payment_method": intent.get("payment_method"),
        }  # fmt: skip
