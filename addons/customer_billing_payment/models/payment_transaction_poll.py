from datetime import timedelta

from odoo import models
from odoo.exceptions import ValidationError

CLOCK_SKEW = timedelta(hours=1)
PAGE = 100  # as many as providers list at once
MAX_PAGES = 20

# What Authorize.Net says of a payment, as the code and the kind of answer that its requests for payments get.
AUTHORIZE_STATES = {
    "authorizedPendingCapture": ("1", "auth_only"),
    "capturedPendingSettlement": ("1", "auth_capture"),
    "settledSuccessfully": ("1", "auth_capture"),
    "voided": ("1", "void"),
    "declined": ("2", ""),
    "expired": ("2", ""),
    "failedReview": ("2", ""),
    "communicationError": ("3", ""),
    "generalError": ("3", ""),
    "FDSAuthorizedPendingReview": ("4", ""),
    "FDSPendingReview": ("4", ""),
    "underReview": ("4", ""),
}
RAZORPAY_PAID = ("captured", "refunded")


class PaymentTransaction(models.Model):
    """Asking providers what became of a payment. Nothing here requests one."""

    _name = "payment.transaction"
    _inherit = "payment.transaction"

    def _poll_billing_outcome(self):
        """Ask the provider what became of this payment, and let core process its answer.

        A provider that can be asked has a method ``_poll_billing_<code>(self)``, which returns the payment data as
        core's ``_process`` takes them, by reading alone. Of others (Adyen has no such question) the outcome comes by
        webhook, or a person finds out.

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
        intent = self._choose_billing_answer(intents, lambda intent: intent["status"] == "succeeded")
        return {
            "reference": self.reference, "payment_intent": intent, "payment_method": intent.get("payment_method"),
        }  # fmt: skip

    def _poll_billing_razorpay(self):
        """Razorpay's payment: by its id, else that of the hours around ours which has our reference."""
        if self.provider_reference:
            return self._send_api_request("GET", f"payments/{self.provider_reference}")
        span = {
            "from": int((self.create_date - CLOCK_SKEW).timestamp()),
            "to": int((self.create_date + CLOCK_SKEW).timestamp()),
        }
        found = []
        for page in range(MAX_PAGES):
            items = self._send_api_request(
                "GET", "payments", params={**span, "count": PAGE, "skip": page * PAGE}
            )["items"]
            found += [payment for payment in items if payment.get("description") == self.reference]
            if len(items) < PAGE:
                break
        return self._choose_billing_answer(found, lambda payment: payment["status"] in RAZORPAY_PAID)

    def _poll_billing_xendit(self):
        """Xendit's charge of a card, by its id alone."""
        return self._send_api_request("GET", f"credit_card_charges/{self._get_billing_provider_number()}")

    def _poll_billing_mercado_pago(self):
        """Mercado Pago's payment, by its id alone: core sends no reference with saved methods."""
        return self._send_api_request("GET", f"/v1/payments/{self._get_billing_provider_number()}")

    def _poll_billing_worldline(self):
        """Worldline's payment, by its id alone; number 0 of what was done with it is the payment itself."""
        return {"payment": self._send_api_request("GET", f"payments/{self._get_billing_provider_number()}_0")}

    def _poll_billing_authorize(self):
        """Authorize.Net's transaction: by its id, else that of the saved method which has our reference."""
        from odoo.addons.payment_authorize.models.authorize_request import AuthorizeAPI  # as its provider is there

        api = AuthorizeAPI(self.provider_id)
        numbers = [self.provider_reference] if self.provider_reference else self._find_billing_authorize(api)
        details = [self._check_billing_authorize(api.get_transaction_details(number)) for number in numbers]
        found = [detail["transaction"] for detail in details]
        if not self.provider_reference:  # the list has its first characters only
            found = [payment for payment in found if payment["order"]["description"] == self.reference[:255]]
        payment = self._choose_billing_answer(found, lambda payment: payment["transactionStatus"] != "declined")
        if payment["transactionStatus"] not in AUTHORIZE_STATES:
            raise ValidationError(
                self.env._("The provider says “%s” of this payment. Look it up there.", payment["transactionStatus"])
            )
        code, kind = AUTHORIZE_STATES[payment["transactionStatus"]]
        card = payment.get("payment", {}).get("creditCard", {})
        return {
            "response": {
                "x_response_code": code,
                "x_response_reason_text": payment.get("responseReasonDescription"),
                "x_trans_id": payment["transId"],
                "x_type": kind,
                "payment_method_code": card.get("cardType", ""),
            }
        }

    def _find_billing_authorize(self, api):
        """The ids of the latest transactions of the saved method that may be this one."""
        found = self._check_billing_authorize(
            api._make_request(
                "getTransactionListForCustomerRequest",
                {
                    "customerProfileId": self.token_id.authorize_profile,
                    "customerPaymentProfileId": self.token_id.provider_ref,
                    "sorting": {"orderBy": "submitTimeUTC", "orderDescending": True},
                    "paging": {"limit": PAGE, "offset": 1},
                },
            )
        )
        number = self.reference[:20]
        listed = found.get("transactions") or ()
        return [payment["transId"] for payment in listed if payment.get("invoiceNumber") == number]

    def _check_billing_authorize(self, answer):
        """Authorize.Net's answer, unless it is an error."""
        if "err_code" in answer:
            raise ValidationError(answer.get("err_msg") or answer["err_code"])
        return answer

    def _get_billing_provider_number(self):
        """The provider's id of this payment.

        :raises ValidationError: it gave none before the answer was lost, and cannot be asked without
        """
        if not self.provider_reference:
            raise ValidationError(
                self.env._(
                    "The provider gave no number to this payment, without which it cannot be asked. Look it up there."
                )
            )
        return self.provider_reference

    def _choose_billing_answer(self, found, is_paid):
        """The one that was paid among a provider's payments with our reference, else the first."""
        if not found:
            raise ValidationError(self.env._("The provider does not know this payment."))
        return next((payment for payment in found if is_paid(payment)), found[0])
