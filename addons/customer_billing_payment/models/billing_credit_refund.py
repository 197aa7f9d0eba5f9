from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.fields import Domain

from .payment_provider import ProviderCall

# What is not changed once it was asked for.
LOCKED = {"partner_id", "company_id", "currency_id", "amount", "source_payment_id", "journal_id", "date"}
MANAGER = "customer_billing.group_billing_manager"


class BillingCreditRefund(models.Model):
    """Credit or prepaid balance that is paid back to a customer: to the card it came from, or by a payment.

    Above the amount that the company sets for bills, another person approves it.
    """

    _name = "billing.credit.refund"
    _description = "Refund of Credit"
    _inherit = ["billing.protected.mixin", "mail.thread", "mail.activity.mixin"]
    _order = "id desc"
    _check_company_auto = True
    _billing_protected = frozenset(("state", "requester_id", "approver_id", "payment_id", "transaction_id"))

    partner_id = fields.Many2one("res.partner", string="Customer", required=True, index=True)
    company_id = fields.Many2one("res.company", required=True, index=True, default=lambda self: self.env.company)
    currency_id = fields.Many2one(
        "res.currency", required=True, default=lambda self: self.env.company.currency_id
    )
    available_amount = fields.Monetary(string="Unallocated Credit", compute="_compute_available_amount")
    amount = fields.Monetary(
        string="Refund", compute="_compute_amount", store=True, readonly=False, precompute=True, required=True,
        tracking=True,
    )  # fmt: skip
    source_payment_id = fields.Many2one(
        "account.payment",
        string="Back to Card",
        check_company=True,
        domain="[('id', 'in', source_payment_ids)]",
        help="The online payment that is refunded by its provider. Empty: a payment from the journal.",
    )
    source_payment_ids = fields.Many2many("account.payment", compute="_compute_source_payment_ids")
    journal_id = fields.Many2one(
        "account.journal",
        string="Pay From",
        check_company=True,
        domain="[('type', 'in', ('bank', 'cash')), ('company_id', '=', company_id)]",
    )
    date = fields.Date(required=True, default=fields.Date.context_today)
    reason = fields.Char()
    state = fields.Selection(
        [
            ("draft", "Draft"),
            ("requested", "Waits for approval"),
            ("processing", "Waits for the provider"),
            ("done", "Refunded"),
            ("refused", "Refused"),
        ],
        string="Status",
        default="draft",
        required=True,
        readonly=True,
        tracking=True,
        index=True,
    )
    requester_id = fields.Many2one("res.users", string="Asked By", readonly=True)
    approver_id = fields.Many2one("res.users", string="Approved By", readonly=True)
    payment_id = fields.Many2one("account.payment", string="Refund Payment", readonly=True, index="btree_not_null")
    transaction_id = fields.Many2one("payment.transaction", readonly=True, index="btree_not_null")

    _transaction_unique = models.UniqueIndex("(transaction_id)", "A transaction is for one refund.")

    @api.depends("partner_id", "amount", "currency_id")
    def _compute_display_name(self):
        for refund in self:
            refund.display_name = f"{refund.partner_id.display_name}: {refund.currency_id.format(refund.amount)}"

    @api.depends("partner_id", "company_id", "currency_id")
    def _compute_available_amount(self):
        for refund in self:
            customer = refund.partner_id.commercial_partner_id
            sums = customer._get_billing_credits(refund.company_id).get(customer.id, {})
            refund.available_amount = sums.get(refund.currency_id, (0.0, 0.0))[0]

    @api.depends("available_amount")
    def _compute_amount(self):
        for refund in self:
            refund.amount = refund.available_amount

    @api.depends("partner_id", "company_id", "currency_id")
    def _compute_source_payment_ids(self):
        for refund in self:
            payments = self.env["account.payment"].search(
                [
                    ("partner_id.commercial_partner_id", "=", refund.partner_id.commercial_partner_id.id),
                    ("company_id", "=", refund.company_id.id),
                    ("currency_id", "=", refund.currency_id.id),
                    ("payment_transaction_id", "!=", False),
                    ("payment_type", "=", "inbound"),
                ],
                order="id desc",
                limit=80,
            )
            refund.source_payment_ids = payments.filtered(lambda payment: payment.amount_available_for_refund > 0)

    # Decisions

    def action_refund(self):
        """Pay this credit back, or ask another person to approve it; opens the payment, or the request.

        :raises UserError: when the amount is not within the credit, or the journal books no outgoing payments
        """
        self.ensure_one()
        self.check_access("write")
        self.env["account.payment"].check_access("create")
        self.partner_id.check_access("read")
        self.company_id.check_access("read")
        self._check_state("draft")
        self._check_amount()
        self.sudo().requester_id = self.env.user  # protected field
        if self._needs_approval():
            self.sudo().state = "requested"  # protected field
            return self._get_form_action(self)
        self._pay()
        return self._get_form_action(self.payment_id or self)

    def action_approve(self):
        """Pay back what another person has asked for.

        :raises UserError: the user is no billing manager or has asked for it, or the credit is less now
        """
        self.check_access("write")
        for refund in self:
            refund._check_state("requested")
            if not self.env.user.has_group(MANAGER):
                raise UserError(self.env._("Only a billing manager approves refunds: ask one."))
            if refund.requester_id == self.env.user:
                raise UserError(self.env._("You asked for it yourself: let another billing manager approve it."))
            refund._check_amount()
            refund.sudo().approver_id = self.env.user  # protected field
            refund._pay()
        return True

    def action_refuse(self):
        """Pay nothing back: a request is refused, or the provider says that it has not refunded."""
        self.check_access("write")
        for refund in self:
            refund._check_state("requested", "processing")
            refund.sudo().state = "refused"  # protected field
        self.activity_ids.unlink()
        return True

    def write(self, vals):
        if not self.env.su and LOCKED & set(vals) and any(refund.state != "draft" for refund in self):
            raise UserError(self.env._("What was asked for cannot be changed: refuse it, and ask again."))
        return super().write(vals)

    @api.ondelete(at_uninstall=False)
    def _unlink_only_drafts(self):
        self._check_state("draft")

    def _check_state(self, *states):
        for refund in self:
            if refund.state not in states:
                raise UserError(self.env._("%s was decided already: reload the page.", refund.display_name))

    def _check_amount(self):
        """Raise when the amount is not above zero and within the credit that no other refund has taken."""
        self.partner_id.commercial_partner_id.lock_for_update(allow_referencing=True)  # one refund at a time
        currency = self.currency_id
        self.invalidate_recordset(["available_amount"])
        others = self.sudo().search(  # sudo: whoever has asked for them
            [
                ("partner_id.commercial_partner_id", "=", self.partner_id.commercial_partner_id.id),
                ("company_id", "=", self.company_id.id),
                ("currency_id", "=", currency.id),
                ("state", "=", "processing"),
                ("id", "!=", self.id),
            ]
        )
        available = self.available_amount - sum(others.mapped("amount"))
        if self.source_payment_id:
            self.source_payment_id.check_access("read")
            if self.source_payment_id not in self.source_payment_ids:
                raise UserError(self.env._("This payment cannot be refunded by its provider: choose a journal."))
            available = min(available, self.source_payment_id.amount_available_for_refund)
        elif not self.journal_id:
            raise UserError(self.env._("Choose the journal to pay from, or the card payment to refund."))
        if currency.compare_amounts(self.amount, 0) <= 0 or currency.compare_amounts(self.amount, available) > 0:
            raise UserError(
                self.env._(
                    "The credit is %(credit)s: refund an amount above zero and up to it.",
                    credit=currency.format(available),
                )
            )

    def _needs_approval(self):
        """Whether the amount is above that from which the company wants a second person."""
        company_sudo = self.company_id.sudo()  # settings
        if not company_sudo.billing_approval:
            return False
        currency = company_sudo.currency_id
        amount = self.currency_id._convert(self.amount, currency, company_sudo, self.date)
        return currency.compare_amounts(amount, company_sudo.billing_approval_amount) > 0

    def _get_form_action(self, record):
        return {
            "type": "ir.actions.act_window",
            "res_model": record._name,
            "res_id": record.id,
            "view_mode": "form",
        }

    # Paying

    def _pay(self):
        if self.source_payment_id:
            self._refund_by_provider()
            return
        payment = self.env["account.payment"].create(self._prepare_payment())
        payment.action_post()
        if not payment.move_id:
            raise UserError(
                self.env._(
                    "Journal %s does not book outgoing payments: set an outstanding payments account on its payment "
                    "method, or choose another journal.",
                    self.journal_id.name,
                )
            )
        if not self._settle(payment):  # else the same credit could be refunded again
            raise UserError(
                self.env._(
                    "The credit is not on account %s, which this payment uses: match it by hand in accounting.",
                    payment.destination_account_id.display_name,
                )
            )
        self.sudo().write({"state": "done", "payment_id": payment.id})  # protected fields

    def _prepare_payment(self):
        """The values of the payment to the customer."""
        customer = self.partner_id.commercial_partner_id
        return {
            "payment_type": "outbound",
            "partner_type": "customer",
            "partner_id": customer.id,
            "amount": self.amount,
            "currency_id": self.currency_id.id,
            "date": self.date,
            "journal_id": self.journal_id.id,
            "memo": self.env._("Refund of credit"),
        }

    def _settle(self, payment):
        """Match a payment to the customer with the credits of its account and currency, then with the prepaid balance;
        returns whether that was enough."""
        customer = self.partner_id.commercial_partner_id
        debit = payment.move_id.line_ids.filtered(
            lambda line: line.account_id == payment.destination_account_id and not line.reconciled
        )
        credits = self.env["account.move.line"].search(
            customer._get_billing_credit_domain(self.company_id)
            & Domain("partner_id.commercial_partner_id", "=", customer.id)
            & Domain("account_id", "=", debit.account_id.id)
            & Domain("currency_id", "=", self.currency_id.id)
        )
        if credits:
            (debit | credits).reconcile()
        if debit and not debit.reconciled:
            customer._draw_billing_prepaid(self.company_id, debit.sudo())  # sudo: as for bills
        return all(line.reconciled for line in debit)

    def _refund_by_provider(self):
        """Ask the provider of the payment for the refund, once. Its answer, also a late one, is taken over; without one
        a person looks it up, and nothing is refunded again."""
        call = ProviderCall()
        # sudo: officers may not write transactions of other users; the amount was checked
        source_sudo = self.source_payment_id.payment_transaction_id.sudo().with_context(billing_call=call)
        transaction = source_sudo._refund(amount_to_refund=self.amount)
        if transaction.state in ("error", "cancel") and not call.is_unknown:
            raise UserError(
                self.env._("The provider has not refunded it: %s", transaction.state_message or transaction.state)
            )
        self.sudo().write({"state": "processing", "transaction_id": transaction.id})  # protected fields
        if call.is_unknown:
            env = self._get_owner().env
            self._ask(
                env._("Was this refund made?"),
                env._(
                    "The provider did not tell. Look it up there: if it was not made, refuse this refund and ask again."
                ),
            )
        elif transaction.state == "done":
            transaction._post_process()

    def _get_owner(self):
        """Who has asked for this refund, with the own language."""
        user = self.requester_id or self.env.user
        return user.with_context(lang=user.lang)

    def _ask(self, summary, note):
        self.activity_schedule(
            "mail.mail_activity_data_todo", summary=summary, note=note, user_id=self._get_owner().id
        )

    def _record_refunded(self):
        """The provider has refunded, maybe late, and the payment is booked: match it."""
        for refund in self:
            was, payment = refund.state, refund.transaction_id.payment_id
            refund.activity_ids.unlink()
            refund.write({"state": "done", "payment_id": payment.id})
            if not refund._settle(payment) or was == "refused":
                env = refund._get_owner().env
                refund._ask(
                    env._("Refunded twice?"),
                    env._("The provider has refunded this after all. See whether the customer got the money twice."),
                )

    def _record_not_refunded(self, message):
        """The provider says, after a while, that it has not refunded."""
        for refund in self:
            refund.activity_ids.unlink()
            refund.state = "refused"
            env = refund._get_owner().env
            refund._ask(env._("The refund was not made"), message or "")
