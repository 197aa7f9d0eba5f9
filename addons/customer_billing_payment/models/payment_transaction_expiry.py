from odoo import models

from ..tools.expiry import card_expiry, month_end


class PaymentTransaction(models.Model):
    """Until when saved methods are valid, as providers tell with a payment."""

    _name = "payment.transaction"
    _inherit = "payment.transaction"

    def _process(self, provider_code, payment_data):
        tx = super()._process(provider_code, payment_data)
        if tx.token_id:
            tx._note_billing_expiry(payment_data)
        return tx

    def _note_billing_expiry(self, payment_data):
        """Keep the last day of the saved method. A card that its bank has renewed gets a new one with the next payment.

        A provider that tells it has a method ``_extract_billing_expiry_<code>(self, payment_data)``, which returns a
        date or None.
        """
        extract = getattr(self, f"_extract_billing_expiry_{self.provider_code}", None)
        if extract and (day := extract(payment_data)):
            self.token_id.sudo()._set_billing_expiry(day)  # sudo: the provider says so, whoever pays

    def _extract_billing_expiry_adyen(self, payment_data):
        return card_expiry((payment_data.get("additionalData") or {}).get("expiryDate"))  # if its settings add it

    def _extract_billing_expiry_demo(self, payment_data):
        """The demo provider has no cards: the month stands behind the test data, “4242 06/31”."""
        return card_expiry((payment_data.get("payment_details") or "").rpartition(" ")[2])

    def _extract_billing_expiry_flutterwave(self, payment_data):
        return card_expiry((payment_data.get("card") or {}).get("expiry"))

    def _extract_billing_expiry_mercado_pago(self, payment_data):
        card = payment_data.get("card") or {}
        return month_end(card.get("expiration_year") or 0, card.get("expiration_month") or 0)

    def _extract_billing_expiry_worldline(self, payment_data):
        payment = payment_data.get("paymentResult", payment_data).get("payment", {})
        card = payment.get("paymentOutput", {}).get("cardPaymentMethodSpecificOutput", {}).get("card", {})
        text = card.get("expiryDate") or ""
        return card_expiry(f"{text[:2]}/{text[2:]}")

    def _extract_billing_expiry_stripe(self, payment_data):
        method = payment_data.get("payment_method")
        card = (isinstance(method, dict) and method.get("card")) or {}  # without expansion it is an id
        return month_end(card.get("exp_year") or 0, card.get("exp_month") or 0)
