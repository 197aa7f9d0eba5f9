from datetime import timedelta
from unittest.mock import patch

import requests

from odoo.exceptions import UserError, ValidationError
from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import PaymentBillingCommon


@tagged("post_install", "-at_install")
class TestPoll(PaymentBillingCommon):
    """A provider that did not answer, and can be asked."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.move = cls.contract_bill()
        cls.mandate()

    def setUp(self):
        super().setUp()
        self.polled = []  # what the provider was asked about
        self.status = {}  # what it says: payment data, or an error
        test = self
        model = self.registry["payment.transaction"]

        def ask(tx):
            test.polled.append(tx.reference)
            if isinstance(test.status, Exception):
                raise test.status
            return {"reference": tx.reference, "amount": tx.amount, "currency": tx.currency_id.name, **test.status}

        def apply(tx, data):
            {
                "paid": tx._set_done, "declined": lambda: tx._set_error(data["message"]), "open": tx._set_pending,
            }[data["status"]]()  # fmt: skip

        self.startPatcher(patch.object(model, "_poll_billing_none", ask, create=True))
        self.startPatcher(patch.object(model, "_apply_updates", apply))
        self.startPatcher(
            patch.object(
                model,
                "_extract_amount_data",
                lambda _tx, data: {"amount": data["amount"], "currency_code": data["currency"]},
            )
        )
        self.answers = {1: self.time_out}
        self.charge()
        self.attempt = self.attempts(self.move)
        self.assertEqual((self.attempt.state, self.polled), ("processing", []))

    @staticmethod
    def time_out(_tx):
        try:
            raise requests.exceptions.Timeout
        except requests.exceptions.Timeout:
            raise ValidationError("Could not establish the connection to the payment provider.")

    def poll(self, status, days=0):
        """The job, so many days later, when the provider says ``status``."""
        self.status = status
        self.attempt.sudo().date -= timedelta(days=days)
        self.charge()
        self.assertEqual(len(self.requests), 1, "never charged again")

    def test_paid(self):
        self.poll({"status": "paid"})
        self.assertEqual((self.attempt.state, self.move.amount_residual), ("done", 0))
        self.poll({"status": "declined", "message": "late and wrong"})
        self.assertEqual((self.attempt.state, len(self.polled)), ("done", 1))

    def test_declined(self):
        self.poll({"status": "declined", "message": "Insufficient funds"})
        self.assertEqual((self.attempt.state, self.attempt.decline_kind), ("declined", "soft"))
        self.assertEqual(self.move.billing_charge_state, "retry")

    def test_still_open_then_paid(self):
        self.poll({"status": "open"})
        self.assertEqual((self.attempt.state, self.attempt.transaction_id.state), ("processing", "pending"))
        self.poll({"status": "open"})
        self.poll({"status": "paid"})
        self.assertEqual((self.attempt.state, self.move.amount_residual), ("done", 0))

    def test_a_person_decides_after_the_limit_and_asking_goes_on(self):
        self.poll(ValidationError("No answer"))
        self.assertEqual((self.attempt.state, self.attempt.message), ("processing", "No answer"))
        self.poll(ValidationError("No answer"), days=5)
        self.assertEqual(self.attempt.state, "unknown")
        self.assertEqual(self.attempt.activity_ids.summary, "Was this payment made?")
        self.poll(ValidationError("No answer"), days=5)
        self.assertEqual(len(self.attempt.activity_ids), 1)
        self.poll({"status": "paid"})
        self.assertEqual((self.attempt.state, self.move.amount_residual), ("done", 0))
        self.assertFalse(self.attempt.activity_ids)

    def test_a_provider_that_breaks_does_not_stop_the_limit(self):
        with mute_logger("odoo.addons.customer_billing_payment.models.billing_payment_attempt"):
            self.poll(KeyError("data"), days=5)
        self.assertEqual(self.attempt.state, "unknown")

    def test_another_amount_is_for_a_person(self):
        for wrong in ({"amount": 1.0}, {"currency": "EUR"}):
            self.poll({"status": "paid", **wrong})
            self.assertEqual(self.attempt.state, "unknown")
            self.assertIn("doesn't match", self.attempt.message)
        self.assertEqual((len(self.polled), self.move.billing_charge_state), (1, "unknown"))
        self.assertFalse(self.env["mail.mail"].search([("subject", "like", "was declined")]))
        self.attempt.action_set_not_paid()
        self.assertEqual((self.attempt.state, self.move.billing_charge_state), ("declined", "retry"))

    def test_another_amount_that_was_paid_all_the_same(self):
        self.poll({"status": "paid", "amount": 1.0})
        self.attempt.action_set_paid()
        self.assertEqual((self.attempt.state, self.move.amount_residual), ("done", 0))

    def test_a_person_asks(self):
        officer = self.new_staff("officer", login="poll_officer")
        self.status = {"status": "paid"}
        self.attempt.with_user(officer).action_ask_provider()
        self.assertEqual((self.attempt.state, self.move.amount_residual), ("done", 0))
        with self.assertRaises(UserError):
            self.attempt.with_user(officer).action_ask_provider()


@tagged("post_install", "-at_install")
class TestProviders(PaymentBillingCommon):
    """What is read at providers; their own modules process it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.tx = cls.env["payment.transaction"].create(
            {
                "provider_id": cls.provider.id, "payment_method_id": cls.payment_method_id, "token_id": cls.token.id,
                "reference": "INV-7", "amount": 10, "currency_id": cls.currency.id, "partner_id": cls.customer.id,
                "operation": "offline",
            }
        )  # fmt: skip

    def ask(self, code, *answers):
        """What the provider's data are when it answers so; and how it was asked, the first time."""
        asked = self.asked = []

        def request(_tx, method, endpoint, **kwargs):
            asked.append((method, endpoint, kwargs))
            return answers[len(asked) - 1]

        with patch.object(self.registry["payment.transaction"], "_send_api_request", request):
            data = getattr(self.tx, f"_poll_billing_{code}")()
        self.assertEqual({method for method, _endpoint, _kwargs in asked}, {"GET"}, "reading alone")
        return data, asked[0]

    def test_stripe_by_the_id(self):
        self.tx.provider_reference = "pi_1"
        intent = {"id": "pi_1", "status": "succeeded", "payment_method": {"type": "card"}}
        data, (_method, endpoint, _kwargs) = self.ask("stripe", intent)
        self.assertEqual(endpoint, "payment_intents/pi_1")
        self.assertEqual(
            data, {"reference": "INV-7", "payment_intent": intent, "payment_method": {"type": "card"}}
        )

    def test_stripe_by_our_reference(self):
        intents = [
            {"id": "pi_3", "description": "INV-8", "status": "succeeded"},
            {"id": "pi_2", "description": "INV-7", "status": "requires_payment_method"},
            {"id": "pi_1", "description": "INV-7", "status": "succeeded"},
        ]
        data, (_method, endpoint, kwargs) = self.ask("stripe", {"data": intents})
        self.assertEqual((endpoint, kwargs["params"]["customer"]), ("payment_intents", self.token.provider_ref))
        self.assertLess(kwargs["params"]["created[gte]"], self.tx.create_date.timestamp())
        self.assertEqual(data["payment_intent"]["id"], "pi_1")

    def test_stripe_does_not_know_it(self):
        with self.assertRaisesRegex(ValidationError, "does not know"):
            self.ask("stripe", {"data": [{"id": "pi_3", "description": "INV-8", "status": "succeeded"}]})

    def test_flutterwave_by_our_reference(self):
        data, (_method, endpoint, kwargs) = self.ask("flutterwave", {"id": 1, "tx_ref": "INV-7"})
        self.assertEqual((endpoint, kwargs), ("transactions/verify_by_reference", {"params": {"tx_ref": "INV-7"}}))
        self.assertEqual(data["id"], 1)

    def test_razorpay_by_the_id(self):
        self.tx.provider_reference = "pay_1"
        payment = {"id": "pay_1", "status": "captured"}
        self.assertEqual(self.ask("razorpay", payment), (payment, ("GET", "payments/pay_1", {})))

    def test_razorpay_by_our_reference(self):
        others = [{"id": f"pay_{number}", "description": "INV-8", "status": "captured"} for number in range(100)]
        failed, paid = ({"id": status, "description": "INV-7", "status": status} for status in ("failed", "captured"))
        data, (_method, endpoint, kwargs) = self.ask(
            "razorpay", {"items": others[:99] + [failed]}, {"items": [others[0], paid]}
        )
        self.assertEqual((data, endpoint), (paid, "payments"))
        params, created = kwargs["params"], self.tx.create_date.timestamp()
        self.assertLess(params["from"], created)
        self.assertGreater(params["to"], created)
        self.assertEqual([call[2]["params"]["skip"] for call in self.asked], [0, 100])
        self.assertEqual(self.ask("razorpay", {"items": [failed]})[0], failed)
        with self.assertRaisesRegex(ValidationError, "does not know"):
            self.ask("razorpay", {"items": others[:99]})

    def test_those_that_are_asked_by_their_own_number_alone(self):
        for code, endpoint in (
            ("xendit", "credit_card_charges/7"), ("mercado_pago", "/v1/payments/7"), ("worldline", "payments/7_0"),
        ):  # fmt: skip
            with self.subTest(provider=code):
                self.tx.provider_reference = False
                with self.assertRaisesRegex(ValidationError, "gave no number"):
                    self.ask(code)
                self.tx.provider_reference = "7"
                data, asked = self.ask(code, {"id": "7"})
                self.assertEqual(asked, ("GET", endpoint, {}))
                self.assertEqual(data, {"payment": {"id": "7"}} if code == "worldline" else {"id": "7"})

    def ask_authorize(self, *answers):
        """As ``ask``; its own client takes the requests, which are all of the kind that read."""
        from odoo.addons.payment_authorize.models.authorize_request import AuthorizeAPI

        asked = self.asked = []

        def request(_api, operation, data=None):
            asked.append((operation, data))
            return answers[len(asked) - 1]

        token = type(self.token)
        with (
            patch.object(AuthorizeAPI, "__init__", lambda *_args: None),
            patch.object(AuthorizeAPI, "_make_request", request),
            patch.object(token, "authorize_profile", "profile", create=True),
        ):
            data = self.tx._poll_billing_authorize()
        self.assertTrue(all(operation.startswith("get") for operation, _data in asked), "reading alone")
        return data["response"]

    def authorize_details(self, status, **values):
        return {
            "transaction": {
                "transId": "60", "transactionStatus": status, "responseReasonDescription": "Reason",
                "order": {"invoiceNumber": "INV-7", "description": "INV-7"},
                "payment": {"creditCard": {"cardType": "Visa"}}, **values,
            }
        }  # fmt: skip

    def test_authorize_by_the_id(self):
        self.tx.provider_reference = "60"
        for status, code, kind in (
            ("settledSuccessfully", "1", "auth_capture"), ("capturedPendingSettlement", "1", "auth_capture"),
            ("authorizedPendingCapture", "1", "auth_only"), ("voided", "1", "void"), ("declined", "2", ""),
            ("generalError", "3", ""), ("FDSPendingReview", "4", ""),
        ):  # fmt: skip
            with self.subTest(status=status):
                self.assertEqual(
                    self.ask_authorize(self.authorize_details(status)),
                    {"x_response_code": code, "x_response_reason_text": "Reason", "x_trans_id": "60", "x_type": kind,
                     "payment_method_code": "Visa"},
                )  # fmt: skip
        self.assertEqual(self.asked, [("getTransactionDetailsRequest", {"transId": "60"})])
        with self.assertRaisesRegex(ValidationError, "“chargeback”"):
            self.ask_authorize(self.authorize_details("chargeback"))
        with self.assertRaisesRegex(ValidationError, "no rights"):
            self.ask_authorize({"err_code": "E00011", "err_msg": "no rights"})

    def test_authorize_by_our_reference(self):
        self.tx.reference = f"INV-{7:020}-1"  # its list has no more than 20 characters of it
        listed = {"transactions": [
            {"transId": "1", "invoiceNumber": "INV-8"}, {"transId": "2", "invoiceNumber": self.tx.reference[:20]},
            {"transId": "3", "invoiceNumber": self.tx.reference[:20]},
        ]}  # fmt: skip
        details = [
            self.authorize_details("settledSuccessfully", transId=number, order={"description": text})
            for number, text in (("2", f"INV-{7:020}"), ("3", self.tx.reference))
        ]
        self.assertEqual(self.ask_authorize(listed, *details)["x_trans_id"], "3")
        operation, data = self.asked[0]
        self.assertEqual(
            (operation, data["customerProfileId"], data["customerPaymentProfileId"]),
            ("getTransactionListForCustomerRequest", "profile", self.token.provider_ref),
        )
        for listed in ({}, {"transactions": [{"transId": "1", "invoiceNumber": "INV-8"}]}):
            with self.assertRaisesRegex(ValidationError, "does not know"):
                self.ask_authorize(listed)

    def test_a_decline_of_authorize_may_be_tried_again(self):
        """There core calls every declined payment canceled."""
        self.tx.state = "cancel"
        for message, expected in (("Insufficient funds", "soft"), ("The card has expired", "hard")):
            self.tx.state_message = message
            self.assertEqual(self.tx._get_billing_decline_kind(), "hard")
            with patch.object(type(self.tx), "provider_code", "authorize"):
                self.assertEqual(self.tx._get_billing_decline_kind(), expected)

    def test_providers_that_cannot_be_asked(self):
        self.tx._poll_billing_outcome()
        self.assertEqual(self.tx.state, "draft")
