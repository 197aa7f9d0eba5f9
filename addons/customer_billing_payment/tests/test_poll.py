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

    def ask(self, code, answer):
        """What the provider's data are when it answers so; and how it was asked."""
        asked = []

        def request(_tx, method, endpoint, **kwargs):
            asked.append((method, endpoint, kwargs))
            return answer

        with patch.object(self.registry["payment.transaction"], "_send_api_request", request):
            data = getattr(self.tx, f"_poll_billing_{code}")()
        self.assertEqual([method for method, _endpoint, _kwargs in asked], ["GET"], "reading alone")
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

    def test_providers_that_cannot_be_asked(self):
        self.tx._poll_billing_outcome()
        self.assertEqual(self.tx.state, "draft")
