from datetime import timedelta
from unittest.mock import patch

import psycopg2
import requests

from odoo import fields
from odoo.exceptions import UserError, ValidationError
from odoo.tests import tagged
from odoo.tools import mute_logger

from ..models.payment_provider import is_unknown
from .common import PaymentBillingCommon

LOGGER = "odoo.addons.customer_billing_payment.models.billing_payment_attempt"


def decline(message):
    return lambda tx: tx._set_error(message)


def fail_with(error):
    def answer(_tx):
        raise error

    return answer


def no_answer(_tx):
    """As core: the connection breaks, and the error says no more than that."""
    try:
        raise requests.exceptions.Timeout
    except requests.exceptions.Timeout:
        raise ValidationError("Could not establish the connection to the payment provider.")


@tagged("post_install", "-at_install")
class TestCharge(PaymentBillingCommon):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.move = cls.contract_bill()
        cls.consent = cls.mandate()

    # When

    def test_a_due_bill_is_charged_once(self):
        self.charge()
        self.charge()
        [attempt] = self.attempts(self.move)
        self.assertEqual((attempt.state, attempt.number, attempt.amount), ("done", 1, self.move.amount_total))
        self.assertEqual(len(self.requests), 1)
        self.assertEqual(self.requests[0].operation, "offline")
        self.assertEqual(self.move.amount_residual, 0)
        self.assertEqual(self.move.billing_charge_state, "done")
        self.assertTrue(attempt.transaction_id.payment_id.move_id)

    def test_not_before_the_day(self):
        self.company.billing_charge_days = 2
        self.charge()
        self.assertFalse(self.requests)
        self.move.invoice_date_due -= timedelta(days=2)
        self.charge()
        self.assertEqual(len(self.requests), 1)

    def test_not_without_consent_and_not_after_it_was_revoked(self):
        self.consent.action_revoke()
        self.charge()
        self.assertFalse(self.requests)

    def test_not_for_plans_that_do_not_charge(self):
        self.plan_charge.invoice_policy = "send"
        self.charge()
        self.assertFalse(self.requests)

    def test_a_mandate_for_one_contract_covers_no_other(self):
        other = self.contract_bill()
        self.consent.action_revoke()
        self.mandate(contracts=other.billing_contract_ids)
        self.charge()
        self.assertEqual(self.requests[0].invoice_ids, other)
        self.assertEqual(len(self.requests), 1)

    def test_a_disputed_bill_is_left_alone(self):
        self.env["billing.dispute"].create({"move_id": self.move.id, "name": "Wrong"})
        self.charge()
        self.assertFalse(self.requests)

    def test_a_bill_whose_payment_is_on_its_way_is_left_alone(self):
        for state in ("draft", "pending", "done"):
            tx = self._create_transaction("direct", reference=state, state=state, invoice_ids=self.move.ids)
            with self.subTest(state=state):
                self.charge()
                self.assertFalse(self.requests)
            tx.state = "cancel"

    def test_what_is_open_is_charged_after_a_partial_payment(self):
        payment = self.pay_in(40)
        (payment.move_id.line_ids | self.move.line_ids).filtered(
            lambda line: line.account_type == "asset_receivable"
        ).reconcile()
        self.charge()
        self.assertEqual(self.requests[0].amount, self.move.amount_total - 40)

    def test_the_nightly_run_goes_as_far_as_sending(self):
        run = self.new_run(fields.Date.to_string(self.today), plan_ids=[fields.Command.set(self.plan_charge.ids)])
        self.assertEqual(run._get_policy(), "send")
        self.plan.invoice_policy = "post"
        run.plan_ids |= self.plan
        self.assertEqual(run._get_policy(), "post")

    # Refusals

    def test_a_soft_decline_follows_the_schedule_then_ends(self):
        self.company.billing_charge_retry_days = "3, 5"
        self.answers = dict.fromkeys((1, 2, 3), decline("Insufficient funds"))
        dates = []
        for days in (3, 5, 0):
            self.charge()
            self.charge()  # not before the day
            dates.append(self.move.billing_charge_date)
            if days:
                self.later(self.move, days)
        self.assertEqual(dates, [self.today + timedelta(days=3), self.today + timedelta(days=5), False])
        self.assertEqual(self.attempts(self.move).mapped("decline_kind"), ["soft"] * 3)
        self.assertEqual(self.attempts(self.move).mapped("number"), [1, 2, 3])
        self.assertEqual(self.move.billing_charge_state, "failed")
        self.assertEqual(len(self.requests), 3)
        self.charge()
        self.assertEqual(len(self.requests), 3)

    def test_a_retry_that_is_paid_settles_the_bill(self):
        self.answers = {1: decline("Try later")}
        self.charge()
        self.assertEqual(self.move.billing_charge_state, "retry")
        self.later(self.move, 3)
        self.charge()
        self.assertEqual(self.attempts(self.move).mapped("state"), ["declined", "done"])
        self.assertEqual(self.move.amount_residual, 0)

    def test_a_hard_decline_stops_and_is_told(self):
        desk = self.new_billing_contact(self.customer)
        self.answers = {1: decline("Your card was reported stolen.")}
        handed = []
        self.patch(
            self.registry["account.move"], "_on_billing_charge_failed", lambda moves: handed.append(moves.ids)
        )
        self.charge()
        [attempt] = self.attempts(self.move)
        self.assertEqual((attempt.decline_kind, attempt.next_date), ("hard", False))
        self.assertEqual(self.move.billing_charge_state, "failed")
        self.assertEqual(handed, [self.move.ids])
        self.assertEqual(attempt.activity_ids.summary, "Automatic payment failed")
        mail = self.env["mail.mail"].search([("model", "=", attempt._name), ("res_id", "=", attempt.id)])
        [mail] = mail.filtered(lambda mail: mail.recipient_ids == desk)
        self.assertIn("will not try again", mail.body_html)
        self.charge()
        self.assertEqual(len(self.requests), 1)

    def test_a_person_charges_again(self):
        self.answers = {1: decline("expired_card")}
        self.charge()
        self.move.action_billing_charge()
        self.charge()
        self.assertEqual(self.move.billing_charge_state, "done")
        with self.assertRaises(UserError):
            self.move.action_billing_charge()

    def test_one_failing_customer_stops_no_other(self):
        other = self.contract_bill(partner_id=self.other_customer.id)
        self.mandate(self.new_token(self.other_customer), user=self.user_two)
        self.answers = {1: fail_with(RuntimeError("broken"))}
        with self.assertLogs(LOGGER, "ERROR"):
            self.charge()
        self.assertEqual(self.attempts(self.move).state, "processing")
        self.assertEqual(self.attempts(other).state, "done")

    def test_one_bill_that_cannot_begin_stops_no_other(self):
        other = self.contract_bill(partner_id=self.other_customer.id)
        self.mandate(self.new_token(self.other_customer), user=self.user_two)
        original = self.registry["billing.payment.attempt"]._prepare_attempt

        def prepare(model, move, mandate):
            if move == self.move:
                raise UserError("broken")
            return original(model, move, mandate)

        self.patch(self.registry["billing.payment.attempt"], "_prepare_attempt", prepare)
        with self.assertLogs(LOGGER, "ERROR"):
            self.charge()
        self.assertFalse(self.attempts(self.move))
        self.assertEqual(self.attempts(other).state, "done")

    def test_bills_that_are_left_alone_hide_no_others(self):
        module = "odoo.addons.customer_billing_payment.models.billing_payment_attempt"
        self.startPatcher(patch(f"{module}.BATCH", 1))
        self.startPatcher(patch(f"{module}.SEARCHED", 1))
        self.env["billing.dispute"].create({"move_id": self.move.id, "name": "Wrong"})
        other = self.contract_bill()
        self.charge()
        self.assertEqual(self.attempts(other).state, "done")

    def test_a_payment_that_cannot_be_booked_is_booked_later(self):
        def refuse(_tx):
            raise UserError("The date is locked")

        item = "Automatic payments that were made and not booked"
        transactions = self.registry["payment.transaction"]
        with patch.object(transactions, "_post_process", refuse), self.assertLogs(LOGGER, "ERROR"):
            self.charge()
        attempt = self.attempts(self.move)
        self.assertEqual((attempt.state, attempt.message), ("done", "The date is locked"))
        health = {line["label"]: line["value"] for line in self.env["billing.health"]._get_health_items()}
        self.assertEqual(health[item], 1)
        self.assertFalse(self.attempts(self.move).transaction_id.is_post_processed)
        self.charge()
        self.assertEqual((len(self.requests), self.move.amount_residual), (1, 0))

    # Unknown outcomes

    def test_a_timeout_is_not_charged_again(self):
        self.answers = {1: no_answer}
        self.charge()
        [attempt] = self.attempts(self.move)
        self.assertEqual((attempt.state, attempt.transaction_id.state), ("processing", "draft"))
        self.charge()
        self.later_charge(days=1)
        self.assertEqual(len(self.requests), 1)
        self.assertFalse(self.move._has_to_be_paid(), "the customer is not asked to pay the same again")

    def test_pending_is_not_charged_again(self):
        self.answers = {1: lambda tx: tx._set_pending()}
        self.charge()
        self.charge()
        self.assertEqual(len(self.requests), 1)
        self.requests[0]._set_done()
        self.charge()
        self.assertEqual(self.move.amount_residual, 0)
        self.assertEqual(len(self.requests), 1)

    def test_a_provider_that_hides_the_timeout(self):
        """Providers catch the error of the request themselves and call it a refusal."""
        provider = self.registry["payment.provider"]

        def request(*_args, **_kwargs):
            raise requests.exceptions.ConnectionError

        def answer(tx):
            try:
                tx._send_api_request("POST", "/charge")
            except ValidationError as error:
                tx._set_error(str(error))

        self.patch(requests, "request", request)
        self.patch(provider, "_build_request_headers", lambda *_args, **_kwargs: {})
        self.answers = {1: answer}
        self.charge()
        attempt = self.attempts(self.move)
        self.assertEqual((attempt.state, attempt.transaction_id.state), ("processing", "draft"))
        self.assertEqual(len(self.requests), 1)

    def test_killed_after_the_intent(self):
        """What the database holds after ``kill -9`` between the intent and the answer."""
        attempt = self.jobs._intend(self.move)
        self.assertEqual((attempt.state, attempt.transaction_id.state), ("processing", "draft"))
        self.charge()
        self.charge()
        self.assertFalse(self.requests, "it was never charged blindly")
        self.assertEqual(self.attempts(self.move), attempt)

    def test_what_changed_after_the_intent_is_not_charged(self):
        attempt = self.jobs._intend(self.move)
        self.consent.action_revoke()
        attempt._call_provider()
        self.assertFalse(self.requests)
        self.assertEqual((attempt.state, attempt.transaction_id.state), ("declined", "cancel"))
        self.assertFalse(self.move.billing_charge_state)
        self.mandate()
        attempt = self.jobs._intend(self.move)
        (self.pay_in(self.move.amount_total).move_id.line_ids | self.move.line_ids).filtered(
            lambda line: line.account_type == "asset_receivable"
        ).reconcile()
        attempt._call_provider()
        self.assertFalse(self.requests)
        self.assertEqual(attempt.state, "declined")
        self.assertFalse(self.env["mail.mail"].search([("model", "=", "billing.payment.attempt")]))

    def test_the_intent_is_committed_before_the_call(self):
        order = []
        self.answers = {1: lambda tx: (order.append(("call", len(self.attempts(self.move)))), tx._set_done())}

        with self.in_job() as commits:
            commits_append = commits.append
            self.patch(
                self.registry["ir.cron"], "_commit_progress",
                lambda _cron, processed=0, **_kwargs: (
                    order.append(("commit", len(self.attempts(self.move)))), commits_append(processed), 60.0
                )[-1],
            )  # fmt: skip
            self.jobs._cron_charge()
        self.assertEqual(order[:3], [("commit", 0), ("commit", 1), ("call", 1)])

    def test_two_jobs_make_one_intent(self):
        model = self.jobs
        first = model._intend(self.move)
        values = model._prepare_attempt(self.move, self.consent) | {"number": 1}
        self.assertTrue(first)
        self.assertFalse(model._intend(self.move))
        for changed in ({}, {"number": 2}):  # the second job has not seen the first one's attempt
            with (
                mute_logger("odoo.sql_db"),
                self.assertRaises(psycopg2.errors.UniqueViolation),
                self.env.cr.savepoint(),
            ):
                model.create({**values, **changed})

    def test_a_lost_race_leaves_nothing(self):
        model = self.jobs
        model._intend(self.move)
        self.patch(self.registry["account.move"], "_filter_billing_chargeable", lambda moves: moves)
        self.patch(self.registry["billing.payment.attempt"], "_get_due_domain", lambda *_args: fields.Domain.TRUE)
        before = self.env["payment.transaction"].search_count([])
        self.assertFalse(model._intend(self.move))
        self.assertEqual(self.env["payment.transaction"].search_count([]), before)

    def later_charge(self, days):
        for attempt in self.attempts(self.move):
            attempt.sudo().date -= timedelta(days=days)
        self.charge()

    def test_polling_gives_up_and_asks_a_person(self):
        self.answers = {1: no_answer}
        self.charge()
        self.later_charge(days=5)
        [attempt] = self.attempts(self.move)
        self.assertEqual((attempt.state, self.move.billing_charge_state), ("unknown", "unknown"))
        self.assertEqual(attempt.activity_ids.summary, "Was this payment made?")
        self.later_charge(days=5)
        self.assertEqual(len(self.requests), 1)
        self.assertEqual(len(attempt.activity_ids), 1)
        return attempt

    def test_the_poll_finds_the_answer(self):
        self.answers = {1: no_answer}
        self.charge()
        self.patch(self.registry["payment.transaction"], "_poll_billing_outcome", lambda tx: tx._set_done())
        self.charge()
        self.assertEqual(self.attempts(self.move).state, "done")
        self.assertEqual(self.move.amount_residual, 0)
        self.assertEqual(len(self.requests), 1)

    def test_a_late_answer_after_polling_gave_up(self):
        attempt = self.test_polling_gives_up_and_asks_a_person()
        attempt.transaction_id._set_done()
        self.assertEqual((attempt.state, self.move.billing_charge_state), ("done", "done"))
        self.assertFalse(attempt.activity_ids)
        attempt.transaction_id._post_process()
        self.assertEqual(self.move.amount_residual, 0)

    def test_a_person_says_it_was_paid(self):
        attempt = self.test_polling_gives_up_and_asks_a_person()
        attempt.action_set_paid()
        self.assertEqual(self.move.amount_residual, 0)
        with self.assertRaises(UserError):
            attempt.action_set_paid()

    def test_a_person_says_it_was_not_paid(self):
        attempt = self.test_polling_gives_up_and_asks_a_person()
        attempt.action_set_not_paid()
        self.assertEqual((attempt.state, self.move.billing_charge_state), ("declined", "retry"))
        self.later(self.move, 3)
        self.charge()
        self.assertEqual(len(self.requests), 2)
        self.assertEqual(self.move.amount_residual, 0)

    def test_a_refusal_of_what_was_paid_otherwise_is_told_to_nobody(self):
        attempt = self.test_polling_gives_up_and_asks_a_person()
        (self.pay_in(self.move.amount_total).move_id.line_ids | self.move.line_ids).filtered(
            lambda line: line.account_type == "asset_receivable"
        ).reconcile()
        mails = self.env["mail.mail"].search_count([])
        attempt.action_set_not_paid()
        self.assertEqual((attempt.state, attempt.next_date), ("declined", False))
        self.assertFalse(self.move.billing_charge_state)
        self.assertEqual(self.env["mail.mail"].search_count([]), mails)

    def test_the_provider_answers_twice(self):
        self.charge()
        payments = self.env["account.payment"].search_count([])
        tx = self.requests[0]
        tx._set_done()
        tx._set_error("late and wrong")
        tx._post_process()
        self.assertEqual(self.attempts(self.move).state, "done")
        self.assertEqual(self.env["account.payment"].search_count([]), payments)

    def test_declined_first_and_confirmed_after_the_retry(self):
        self.answers = {1: decline("Try later")}
        self.charge()
        self.later(self.move, 3)
        self.charge()
        first, second = self.attempts(self.move)
        first.transaction_id._set_done()
        first.transaction_id._post_process()
        self.assertEqual((first.state, second.state), ("done", "done"))
        self.assertEqual(first.activity_ids.summary, "Paid twice?")
        self.assertEqual(self.customer.billing_credit_amount, self.move.amount_total)

    def test_declined_first_and_confirmed_before_the_retry(self):
        self.answers = {1: decline("Try later")}
        self.charge()
        self.requests[0]._set_done()
        self.later_state = self.move.billing_charge_state
        self.charge()
        self.assertEqual((self.later_state, len(self.requests)), ("done", 1))

    def test_payments_in_transit_are_told(self):
        self.answers = {1: no_answer}
        self.charge()
        lines = self.move.line_ids.filtered(lambda line: line.account_type == "asset_receivable")
        [row] = self.env["billing.receivable"]._get_in_transit(lines)
        self.assertEqual(row["amount"], self.move.amount_total)
        self.assertEqual((row["kind"], row["move_ids"]), ("announced", self.move.ids))
        self.assertEqual(row["partner_id"], self.customer.id)
        tx = self.attempts(self.move).transaction_id
        tx._set_pending()
        self.assertEqual(len(self.env["billing.receivable"]._get_in_transit(lines)), 1)
        tx._set_done()
        tx._post_process()
        self.assertFalse(self.env["billing.receivable"]._get_in_transit(lines))

    def test_which_errors_leave_the_outcome_open(self):
        def wrapped(cause):
            try:
                try:
                    raise cause
                except Exception:
                    raise ValidationError("Failed")
            except ValidationError as error:
                return error

        def http(status):
            response = requests.Response()
            response.status_code = status
            return requests.exceptions.HTTPError(response=response)

        for cause, expected in (
            (requests.exceptions.Timeout(), True),
            (requests.exceptions.ConnectionError(), True),
            (http(502), True),
            (http(402), False),
            (ValueError(), False),
        ):
            with self.subTest(cause=cause):
                self.assertEqual(is_unknown(wrapped(cause)), expected)
