import logging

from dateutil.relativedelta import relativedelta
from psycopg2 import OperationalError
from psycopg2.errors import UniqueViolation

from odoo import Command, api, fields, models
from odoo.exceptions import ConcurrencyError, UserError, ValidationError
from odoo.fields import Domain
from odoo.tools import mute_logger, split_every

from ..tools.retry import HARD, SOFT, next_try
from .payment_provider import ProviderCall, is_unknown

_logger = logging.getLogger(__name__)

BATCH = 100
SEARCHED = 500
# While a customer may be on the payment page, his bill is not charged.
PAGE_MINUTES = 60
OPEN = ("processing", "unknown")


class UnknownOutcome(Exception):
    """A call to a provider ended without an answer."""


class BillingPaymentAttempt(models.Model):
    """One attempt to charge a saved payment method for one bill.

    It is committed before the provider is called. Whatever happens then, an attempt without an outcome is asked for,
    and its bill is not charged again: the database takes one open attempt per bill, and one of each number.
    """

    _name = "billing.payment.attempt"
    _description = "Automatic Charge"
    _inherit = ["billing.protected.mixin", "mail.thread", "mail.activity.mixin"]
    _order = "id desc"
    _billing_protected = frozenset(
        (
            "move_id", "mandate_id", "partner_id", "company_id", "currency_id", "number", "amount", "transaction_id",
            "state", "date", "date_answered", "decline_kind", "message", "next_date",
        )
    )  # fmt: skip

    move_id = fields.Many2one(
        "account.move", string="Bill", required=True, readonly=True, index=True, ondelete="restrict"
    )
    mandate_id = fields.Many2one(
        "billing.payment.mandate", string="Mandate", required=True, readonly=True, index=True, ondelete="restrict"
    )
    partner_id = fields.Many2one("res.partner", string="Customer", required=True, readonly=True, index=True)
    company_id = fields.Many2one("res.company", required=True, readonly=True, index=True)
    currency_id = fields.Many2one("res.currency", required=True, readonly=True)
    number = fields.Integer(string="Attempt", required=True, readonly=True, aggregator=None)
    amount = fields.Monetary(required=True, readonly=True)
    transaction_id = fields.Many2one(
        "payment.transaction", required=True, readonly=True, index=True, ondelete="restrict"
    )
    state = fields.Selection(
        [
            ("processing", "Waiting for an answer"),
            ("unknown", "Outcome unknown"),
            ("done", "Paid"),
            ("declined", "Declined"),
        ],
        string="Status",
        default="processing",
        required=True,
        readonly=True,
        index=True,
        tracking=True,
    )
    date = fields.Datetime(string="Charged On", required=True, readonly=True, default=fields.Datetime.now)
    date_answered = fields.Datetime(string="Answered On", readonly=True)
    decline_kind = fields.Selection(
        [(SOFT, "For now: tried again"), (HARD, "For good: not tried again")], string="Kind of Refusal", readonly=True
    )
    message = fields.Text(string="Answer", readonly=True)
    next_date = fields.Date(string="Next Attempt", readonly=True)

    _number_unique = models.UniqueIndex("(move_id, number)", "This attempt to charge the bill exists already.")
    _open_unique = models.UniqueIndex(
        "(move_id) WHERE state IN ('processing', 'unknown')", "The bill is being charged already."
    )
    _transaction_unique = models.UniqueIndex("(transaction_id)", "A transaction is for one attempt.")

    @api.depends("move_id", "number")
    def _compute_display_name(self):
        for attempt in self:
            attempt.display_name = f"{attempt.sudo().move_id.name} ({attempt.number})"  # a number of its own bill

    # The job

    @api.model
    def _cron_charge(self):
        """Ask for open outcomes, then charge the bills that are due: each intent, each answer its own commit."""
        commit = self.env["ir.cron"]._commit_progress
        waiting = self.search([("state", "in", OPEN)], order="state, id", limit=BATCH)  # what a person looks up last
        unsettled = self.search([("state", "=", "done"), ("transaction_id.is_post_processed", "=", False)], limit=BATCH)
        moves = self._get_due_moves()
        commit(remaining=len(waiting) + len(unsettled) + len(moves))
        for attempt in waiting | unsettled:
            attempt._attempt_step(attempt._poll if attempt in waiting else attempt._settle)
            if not commit(1):
                return
        charged = self.browse()
        for move in moves:
            if attempt := self._try_intend(move):
                commit()  # whatever time is left: an intent is followed by its call
                charged |= attempt
                attempt._attempt_step(attempt._call_provider)
                commit()
                attempt._attempt_step(attempt._settle)
            if not commit(1):
                return
        if charged and len(moves) == BATCH:
            self.env.ref("customer_billing_payment.ir_cron_charge")._trigger()

    @api.model
    def _try_intend(self, move):
        """``_intend``, where an error stops no other bill."""
        try:
            with self.env.cr.savepoint():
                return self._intend(move)
        except (OperationalError, ConcurrencyError) as error:
            _logger.warning("Automatic charge of %s goes on later: %s", move.name, error)
        except Exception:
            _logger.exception("Automatic charge of %s cannot begin", move.name)
        return self.browse()

    def _attempt_step(self, step):
        """Do one step of an attempt; an error is told on it and stops no other."""
        try:
            with self.env.cr.savepoint():
                step()
        except (OperationalError, ConcurrencyError) as error:
            _logger.warning("Automatic charge %s goes on later: %s", self.display_name, error)
        except Exception as error:
            _logger.exception("Automatic charge %s has failed", self.display_name)
            self.message = str(error)

    @api.model
    def _get_due_domain(self, company, today):
        """The bills of a company that are to be charged on a day, if there is a mandate."""
        due = today - relativedelta(days=company.billing_charge_days)
        first = (
            Domain("billing_charge_state", "=", False)
            & Domain("invoice_date_due", "<=", due)
            & Domain("billing_contract_ids.plan_id.invoice_policy", "=", "charge")
        )
        again = Domain("billing_charge_state", "=", "retry") & Domain("billing_charge_date", "<=", today)
        return (
            Domain("company_id", "=", company.id)
            & Domain("move_type", "=", "out_invoice")
            & Domain("state", "=", "posted")
            & Domain("payment_state", "in", ("not_paid", "partial"))
            & Domain("amount_residual", ">", 0)
            & (first | again)
        )

    @api.model
    def _get_due_moves(self):
        """The bills that the job charges now, oldest first: those that a mandate covers, not paid otherwise."""
        found = self.env["account.move"]
        mandates = self.env["billing.payment.mandate"]
        for company in self.env["res.company"].search([("active", "=", True)]):
            mandated = mandates.search([("company_id", "=", company.id), ("state", "=", "active")])
            if not mandated:
                continue
            domain = self._get_due_domain(company, company._get_billing_today()) & Domain(
                "commercial_partner_id", "in", mandated.partner_id.ids
            )
            due = found.search(domain, order="invoice_date_due, id")
            for ids in split_every(SEARCHED, due.ids):  # those that are left alone must not hide the others
                chunk = found.browse(ids)._filter_billing_chargeable()
                covered = mandates._get_for_moves(chunk)
                found |= chunk.filtered(lambda move, covered=covered: move in covered)
                if len(found) >= BATCH:
                    return found[:BATCH]
        return found

    @api.model
    def _intend(self, move):
        """Write down that a bill is about to be charged. The caller commits before the provider is called.

        :return: the attempt; none when the bill is being charged or paid by others, or no mandate covers it
        """
        attempts = self.browse()
        move = move.try_lock_for_update()
        if not move or not move._filter_billing_chargeable():
            return attempts
        mandate = self.env["billing.payment.mandate"]._get_for_moves(move).get(move)
        domain = self._get_due_domain(move.company_id, move.company_id._get_billing_today())
        if not mandate or not move.filtered_domain(domain):
            return attempts
        try:
            # Another job that was quicker has taken the number: nothing is left of this intent.
            with mute_logger("odoo.sql_db"), self.env.cr.savepoint():
                return attempts.create(self._prepare_attempt(move, mandate))
        except UniqueViolation:
            return attempts

    @api.model
    def _prepare_attempt(self, move, mandate):
        """The values of an attempt to charge what is open of a bill, with its new transaction."""
        last = self.search([("move_id", "=", move.id)], order="number desc", limit=1)
        token = mandate.token_id
        transaction = self.env["payment.transaction"].create(
            {
                "provider_id": token.provider_id.id,
                "payment_method_id": token.payment_method_id.id,
                "token_id": token.id,
                "reference": self.env["payment.transaction"]._compute_reference(
                    token.provider_code, prefix=move.name
                ),
                "amount": move.amount_residual,
                "currency_id": move.currency_id.id,
                "partner_id": token.partner_id.id,
                "operation": "offline",
                "invoice_ids": [Command.set(move.ids)],
            }
        )
        return {
            "move_id": move.id,
            "mandate_id": mandate.id,
            "partner_id": mandate.partner_id.id,
            "company_id": move.company_id.id,
            "currency_id": move.currency_id.id,
            "number": last.number + 1,
            "amount": move.amount_residual,
            "transaction_id": transaction.id,
        }

    @api.model_create_multi
    def create(self, vals_list):
        attempts = super().create(vals_list)
        for attempt in attempts:
            attempt.move_id._set_billing_charge("processing")
        return attempts

    def _call_provider(self):
        """Request the payment, once, if it is still wanted. Without an answer the attempt stays open."""
        self.ensure_one()
        if reason := self._get_withdrawal():
            self._withdraw(reason)
            return
        call = ProviderCall()
        transaction = self.transaction_id.with_context(billing_call=call)
        try:
            with self.env.cr.savepoint():
                transaction._ensure_provider_is_not_disabled()
                transaction._log_sent_message()
                transaction._send_payment_request()
                if call.is_unknown:
                    raise UnknownOutcome
        except (OperationalError, ConcurrencyError, UnknownOutcome) as error:
            self._note_no_answer(error)
        except ValidationError as error:
            if call.is_unknown or is_unknown(error):
                self._note_no_answer(error)
            else:
                self.transaction_id._set_error(str(error))
        except Exception as error:
            _logger.exception("Automatic charge %s: no answer", self.display_name)
            self._note_no_answer(error)

    def _get_withdrawal(self):
        """Why the provider is not asked after all, as what happened since the intent; False when nothing did."""
        if self.mandate_id.state != "active" or not self.mandate_id.token_id.active:
            return self.env._("The customer revoked the consent.")
        move = self.move_id
        if move.state != "posted" or move.currency_id.compare_amounts(move.amount_residual, self.amount) < 0:
            return self.env._("Less is open now than was to be charged.")
        return False

    def _withdraw(self, reason):
        """Nothing was asked of the provider, so the customer is told nothing; what is open is charged another time."""
        self.write({"state": "declined", "date_answered": fields.Datetime.now(), "message": reason})
        self.transaction_id._set_canceled(state_message=reason)
        self.move_id._set_billing_charge(False)

    def _note_no_answer(self, error):
        text = str(error) or self.env._("The provider did not answer.")
        self.message = text
        _logger.warning("Automatic charge %s: outcome unknown: %s", self.display_name, text)

    def _settle(self):
        """Book a payment that was confirmed. Core's own job does it when this fails."""
        if self.transaction_id.state == "done" and not self.transaction_id.is_post_processed:
            self.transaction_id._post_process()

    def _poll(self):
        """Ask for the outcome; after the company's days a person is asked too."""
        attempt = self.try_lock_for_update(allow_referencing=True)
        if attempt.state not in OPEN:
            return
        attempt._ask_provider()
        if attempt.state == "processing":
            days = attempt.company_id.billing_charge_poll_days
            if attempt.date < fields.Datetime.now() - relativedelta(days=days):
                attempt._ask_a_person()
        attempt._settle()

    def _ask_provider(self):
        """Ask what became of the payment; without an answer nothing changes but the message."""
        try:
            with self.env.cr.savepoint():
                self.transaction_id._poll_billing_outcome()
        except (OperationalError, ConcurrencyError):
            raise
        except Exception as error:
            if not isinstance(error, ValidationError):
                _logger.exception("Automatic charge %s: the provider could not be asked", self.display_name)
            self.message = str(error)

    def _ask_a_person(self):
        self.state = "unknown"
        self.move_id._set_billing_charge("unknown")
        owner = self._get_owner()
        env = owner.with_context(lang=owner.lang).env
        self.activity_schedule(
            "mail.mail_activity_data_todo",
            summary=env._("Was this payment made?"),
            note=env._(
                "The provider did not tell. Look it up there, then say “Was Paid” or “Was Not Paid”: until then the "
                "bill is not charged again."
            ),
            user_id=owner.id,
        )

    # What came of it

    def _record_outcome(self):
        """Take over what the provider has told about the transactions of these attempts, also late or twice."""
        for attempt in self:
            state = attempt.transaction_id.state
            if state == "done" and attempt.state != "done":
                attempt._record_paid()
            elif state in ("error", "cancel") and attempt.state in OPEN:
                attempt._record_declined()

    def _record_mismatch(self, message):
        """The provider's answer is about another amount or currency: a person finds out what was paid."""
        for attempt in self.filtered(lambda attempt: attempt.state in OPEN):
            attempt.message = message
            if attempt.state == "processing":
                attempt._ask_a_person()

    def _record_paid(self):
        late = self.state == "declined"
        self.write(
            {"state": "done", "date_answered": fields.Datetime.now(), "next_date": False, "decline_kind": False}
        )
        self.activity_ids.unlink()
        others = self.search([("move_id", "=", self.move_id.id), ("id", "!=", self.id)])
        if late and others.filtered(lambda attempt: attempt.number > self.number and attempt.state != "declined"):
            owner = self._get_owner()
            env = owner.with_context(lang=owner.lang).env
            self.activity_schedule(
                "mail.mail_activity_data_todo",
                summary=env._("Paid twice?"),
                note=env._(
                    "This payment was declined at first and confirmed later, after the bill had been charged again. "
                    "What is too much is a credit of the customer: refund it."
                ),
                user_id=owner.id,
            )
        if not others.filtered(lambda attempt: attempt.state in OPEN):
            self.move_id._set_billing_charge("done")

    def _record_declined(self):
        kind = self.transaction_id._get_billing_decline_kind()
        today = self.company_id._get_billing_today()
        schedule = self.company_id._get_billing_retry_schedule()
        tries = self.search_count([("move_id", "=", self.move_id.id), ("decline_kind", "!=", False)]) + 1
        is_open = self.move_id.state == "posted" and self.move_id.payment_state in ("not_paid", "partial")
        next_date = next_try(kind, tries, today, schedule) if is_open else False
        self.write(
            {
                "state": "declined",
                "date_answered": fields.Datetime.now(),
                "decline_kind": kind,
                "message": self.transaction_id.state_message,
                "next_date": next_date,
            }
        )
        self.activity_ids.unlink()
        if not is_open:  # paid or credited meanwhile: nobody is asked for anything
            self.move_id._set_billing_charge(False)
            return
        if next_date:
            self.move_id._set_billing_charge("retry", next_date)
        else:
            self.move_id._set_billing_charge("failed")
            self._give_up()
        self.env.ref("customer_billing_payment.mail_template_declined")._send_billing(self, self.company_id)

    def _give_up(self):
        """The bill is not charged any more: somebody looks after it, and collections take over."""
        owner = self._get_owner()
        env = owner.with_context(lang=owner.lang).env
        self.activity_schedule(
            "mail.mail_activity_data_todo",
            summary=env._("Automatic payment failed"),
            note=env._(
                "The customer was told, and can pay in the portal or save another payment method. Then the bill can "
                "be charged again with the button on it."
            ),
            user_id=owner.id,
        )
        self.move_id._on_billing_charge_failed()

    def _get_owner(self):
        """Who looks after this charge: the officer of the customer or of the contract."""
        partner = self.partner_id.with_company(self.company_id)
        owner = partner.billing_officer_id or self.move_id.billing_contract_ids.officer_id[:1]
        return owner or self.move_id.invoice_user_id or self.env.user

    # What a person finds out

    def action_set_paid(self):
        """The provider's own records say that these payments were made: book them.

        :raises UserError: when the outcome of an attempt is known already
        """
        self._check_unknown()
        for attempt in self.sudo():  # officers may not write transactions of other users' methods
            attempt.transaction_id._set_done(state_message=self.env._("Confirmed by %s.", self.env.user.name))
            attempt._settle()
        return True

    def action_set_not_paid(self):
        """The provider's own records say that these payments were not made: the schedule goes on.

        :raises UserError: when the outcome of an attempt is known already
        """
        self._check_unknown()
        for attempt in self.sudo():  # as above
            attempt.transaction_id._set_error(self.env._("Not paid, says %s.", self.env.user.name))
            attempt._record_outcome()  # where the transaction was in error already
        return True

    def action_ask_provider(self):
        """Ask the provider now what became of these payments, as the job does every hour.

        :raises UserError: when the outcome of an attempt is known already
        """
        self._check_unknown()
        for attempt in self.sudo():  # as above
            attempt._poll()
        return True

    def _check_unknown(self):
        self.check_access("write")
        for attempt in self:
            if attempt.state not in OPEN:
                raise UserError(
                    self.env._("The outcome of %s is known already: reload the page.", attempt.display_name)
                )

    def action_view_transaction(self):
        """Open the transaction of this attempt."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "res_model": "payment.transaction",
            "res_id": self.transaction_id.id,
            "view_mode": "form",
        }
