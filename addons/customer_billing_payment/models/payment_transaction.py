import logging

from psycopg2 import OperationalError

from odoo import api, fields, models
from odoo.exceptions import ConcurrencyError

from ..tools.retry import HARD, decline_kind

_logger = logging.getLogger(__name__)


class PaymentTransaction(models.Model):
    _inherit = "payment.transaction"

    billing_attempt_ids = fields.One2many("billing.payment.attempt", "transaction_id", string="Automatic Charges")
    billing_is_topup = fields.Boolean(string="Prepayment", readonly=True)
    billing_topup_key = fields.Char(
        string="Form of the Prepayment", readonly=True, copy=False, help="Which page it was sent from."
    )
    billing_receipt_due = fields.Boolean(string="Receipt to Mail", readonly=True, copy=False)

    _billing_receipt_due_index = models.Index("(id) WHERE billing_receipt_due")
    # A saved method is charged at once: a second click waits here for the first, and is refused.
    _billing_topup_unique = models.UniqueIndex(
        "(billing_topup_key) WHERE operation = 'online_token' AND state IN ('draft', 'pending', 'authorized', 'done')",
        "This top-up was sent already: look at your payments before you try again.",
    )

    def _update_state(self, allowed_states, target_state, state_message):
        """The one gate of all states: what a provider answers, also late, reaches the automatic charge."""
        transactions = super()._update_state(allowed_states, target_state, state_message)
        if attempts := transactions.sudo().billing_attempt_ids:  # engine-owned records
            if self.env.context.get("billing_amount_check"):
                attempts._record_mismatch(state_message)
            else:
                attempts._record_outcome()
        refunds = transactions.filtered(lambda tx: tx.operation == "refund")
        if refunds and target_state in ("error", "cancel"):
            # sudo: engine-owned records
            self.env["billing.credit.refund"].sudo().search(
                [("transaction_id", "in", refunds.ids), ("state", "=", "processing")]
            )._record_not_refunded(state_message)
        return transactions

    def _validate_amount(self, payment_data):
        """Core calls an answer about another amount an error. It may be about money all the same, so that an automatic
        charge is not tried again."""
        super(PaymentTransaction, self.with_context(billing_amount_check=True))._validate_amount(payment_data)

    def _get_billing_decline_kind(self):
        """``soft`` or ``hard``: whether a declined payment may be tried again.

        Provider modules that know the codes of their declines override this.
        """
        self.ensure_one()
        is_canceled = self.state == "cancel" and self.provider_code != "authorize"  # which has no other word for it
        if is_canceled or not self.token_id.active:
            return HARD
        return decline_kind(self.state_message)

    def _create_payment(self, **extra_create_values):
        """Discounts for early payment also where several bills are paid at once; core knows them for a single one."""
        lines = self._prepare_billing_discount_lines() if len(self.invoice_ids) > 1 else []
        if lines:
            extra_create_values["write_off_line_vals"] = [*extra_create_values.get("write_off_line_vals", []), *lines]
        return super()._create_payment(**extra_create_values)

    def _prepare_billing_discount_lines(self):
        """The entries of the discounts of these bills; none when the amount is not what pays all of them today."""
        moves = self.invoice_ids.filtered(lambda move: move.state == "posted" and move.amount_residual)
        values_by_move = {move: move._get_invoice_next_payment_values() for move in moves}
        total = sum(move._get_billing_due_now()[0] for move in moves)
        if self.currency_id.compare_amounts(self.amount, total):
            return []
        lines = []
        for move, values in values_by_move.items():
            if values.get("installment_state") != "epd":
                continue
            line = values["epd_line"]
            entries = move._get_invoice_counterpart_amls_for_early_payment_discount(
                [{"aml": line, "amount_currency": -line.amount_residual_currency, "balance": -line.balance}],
                values["epd_discount_amount"],
            )
            lines += [{**vals, "partner_id": move.partner_id.id} for group in entries.values() for vals in group]
        return lines

    def _post_process(self):
        """What a payment leaves over settles what is open, where the rule says so; receipts follow by mail."""
        unpaid = self.filtered(lambda tx: not tx.payment_id)
        super()._post_process()
        paid = unpaid.filtered(lambda tx: tx.payment_id and tx.operation != "refund")
        # sudo: engine-owned records
        refunds_sudo = self.env["billing.credit.refund"].sudo().search(
            [("transaction_id", "in", unpaid.filtered("payment_id").ids), ("payment_id", "=", False)]
        )
        refunds_sudo._record_refunded()
        refunded = unpaid.filtered(lambda tx: tx.payment_id and tx.operation == "refund")
        for tx in (paid | refunded).filtered(lambda tx: not tx.payment_id.is_reconciled):
            tx.payment_id.partner_id.commercial_partner_id._after_billing_payment(tx.company_id)
        receipts = paid.filtered(lambda tx: tx.billing_is_topup or tx.invoice_ids)
        if receipts:
            receipts.billing_receipt_due = True
            # sudo: the job is the system's
            self.env.ref("customer_billing_payment.ir_cron_receipts").sudo()._trigger()

    @api.model
    def _cron_billing_receipts(self):
        """Mail the receipts of online payments, each its own commit. Rendering is slow and may fail, so that it is no
        part of booking the payment."""
        commit = self.env["ir.cron"]._commit_progress
        template = self.env.ref("account.mail_template_data_payment_receipt")
        transactions = self.search([("billing_receipt_due", "=", True)], order="id")
        commit(remaining=len(transactions))
        for tx in transactions:
            tx.billing_receipt_due = False
            try:
                with self.env.cr.savepoint():
                    recipients = tx.payment_id.partner_id._get_billing_recipients("billing")
                    template._send_billing(tx.payment_id, tx.company_id, recipients)
            except (OperationalError, ConcurrencyError):
                raise
            except Exception as error:  # told on the payment; the others get theirs
                _logger.exception("The receipt of %s could not be mailed", tx.reference)
                tx.payment_id._message_log(body=self.env._("The receipt could not be mailed: %s", error))
            if not commit(1):
                return
