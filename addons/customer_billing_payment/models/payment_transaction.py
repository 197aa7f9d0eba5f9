from odoo import fields, models

from ..tools.retry import HARD, decline_kind


class PaymentTransaction(models.Model):
    _inherit = "payment.transaction"

    billing_attempt_ids = fields.One2many("billing.payment.attempt", "transaction_id", string="Automatic Charges")
    billing_is_topup = fields.Boolean(string="Prepayment", readonly=True)

    def _update_state(self, allowed_states, target_state, state_message):
        """The one gate of all states: what a provider answers, also late, reaches the automatic charge."""
        transactions = super()._update_state(allowed_states, target_state, state_message)
        if attempts := transactions.sudo().billing_attempt_ids:  # engine-owned records
            attempts._record_outcome()
        return transactions

    def _get_billing_decline_kind(self):
        """``soft`` or ``hard``: whether a declined payment may be tried again.

        Provider modules that know the codes of their declines override this.
        """
        self.ensure_one()
        if self.state == "cancel" or not self.token_id.active:
            return HARD
        return decline_kind(self.state_message)

    def _poll_billing_outcome(self):
        """Ask the provider what became of this payment, and process its answer by ``_process``.

        Core has no general way to ask; the state changes when the provider tells it (webhook). Provider modules that
        can ask override this. It must never request a payment.
        """
        self.ensure_one()

    def _post_process(self):
        """Payments for nothing in particular are a prepayment: they settle what is open, where the rule says so."""
        unpaid = self.filtered(lambda tx: not tx.payment_id)
        super()._post_process()
        for tx in unpaid.filtered(lambda tx: tx.payment_id and tx.operation != "refund"):
            customer = tx.payment_id.partner_id.commercial_partner_id
            customer._after_billing_payment(tx.company_id)
            if tx.billing_attempt_ids or tx.billing_is_topup or len(tx.invoice_ids) > 1:
                self.env.ref("account.mail_template_data_payment_receipt").send_mail(tx.payment_id.id)
