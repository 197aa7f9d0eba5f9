from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.fields import Domain


class BillingCreditRefund(models.TransientModel):
    """Pay unallocated credit back to a customer."""

    _name = "billing.credit.refund"
    _description = "Refund of Credit"
    _check_company_auto = True

    partner_id = fields.Many2one("res.partner", string="Customer", required=True)
    company_id = fields.Many2one("res.company", required=True, default=lambda self: self.env.company)
    currency_id = fields.Many2one(
        "res.currency", required=True, default=lambda self: self.env.company.currency_id
    )
    available_amount = fields.Monetary(string="Unallocated Credit", compute="_compute_available_amount")
    amount = fields.Monetary(
        string="Refund", compute="_compute_amount", store=True, readonly=False, precompute=True, required=True
    )
    journal_id = fields.Many2one(
        "account.journal",
        string="Pay From",
        required=True,
        check_company=True,
        domain="[('type', 'in', ('bank', 'cash')), ('company_id', '=', company_id)]",
    )
    date = fields.Date(required=True, default=fields.Date.context_today)

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

    def action_refund(self):
        """Post a payment to the customer and settle it with the credit, the oldest first; opens the payment.

        :raises UserError: when the amount is not within the credit, or the journal books no outgoing payments
        """
        self.ensure_one()
        self.env["account.payment"].check_access("create")
        self.partner_id.check_access("read")
        self.company_id.check_access("read")
        currency = self.currency_id
        if currency.compare_amounts(self.amount, 0) <= 0 or (
            currency.compare_amounts(self.amount, self.available_amount) > 0
        ):
            raise UserError(
                self.env._(
                    "The credit is %(credit)s: refund an amount above zero and up to it.",
                    credit=currency.format(self.available_amount),
                )
            )
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
        self._settle(payment)
        return {
            "type": "ir.actions.act_window",
            "res_model": "account.payment",
            "res_id": payment.id,
            "view_mode": "form",
        }

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
        """Match a payment to the customer with the credits of its account and currency."""
        customer = self.partner_id.commercial_partner_id
        debit = payment.move_id.line_ids.filtered(lambda line: line.account_id == payment.destination_account_id)
        credits = self.env["account.move.line"].search(
            customer._get_billing_credit_domain(self.company_id)
            & Domain("partner_id.commercial_partner_id", "=", customer.id)
            & Domain("account_id", "=", debit.account_id.id)
            & Domain("currency_id", "=", self.currency_id.id)
        )
        (debit | credits).reconcile()
        if not debit.reconciled:  # else the same credit could be refunded again
            raise UserError(
                self.env._(
                    "The credit is not on account %s, which this payment uses: match it by hand in accounting.",
                    debit.account_id.display_name,
                )
            )
