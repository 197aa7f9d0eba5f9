from odoo import api, fields, models
from odoo.exceptions import ValidationError

from ..tools.retry import parse_days


class ResCompany(models.Model):
    _inherit = "res.company"

    billing_partial_payment = fields.Boolean(
        string="Partial Payments", help="Customers may pay less than what they selected in the portal.",
        groups="base.group_user",
    )
    billing_charge_days = fields.Integer(
        string="Days After the Due Date",
        default=0,
        help="Saved payment methods are charged on the due date of the bill, or so many days after.",
        groups="base.group_user",
    )
    billing_charge_retry_days = fields.Char(
        string="Retry After Days",
        default="3, 5, 7",
        help="A payment that was declined for now is tried again after so many days: after the first refusal, the "
        "second, and so on. Empty: never. What is declined for good (card stolen, expired, account closed) is "
        "not tried again.",
        groups="base.group_user",
    )
    billing_charge_poll_days = fields.Integer(
        string="Ask for Outcomes for Days",
        default=4,
        help="While the outcome of a payment is unknown, it is asked for, and the bill is not charged again. After so "
        "many days a person decides.",
        groups="base.group_user",
    )
    billing_mandate_text = fields.Text(
        string="Consent",
        translate=True,
        help="What customers agree to when they allow automatic payments. Empty: a standard text.",
        groups="base.group_user",
    )
    billing_credit_auto = fields.Boolean(
        string="Apply Credits to Open Bills",
        help="Payments and credit notes that are not allocated yet settle the oldest open bills: when bills are "
        "posted, and every day. Bills with an open dispute are left alone.",
        groups="base.group_user",
    )

    billing_prepaid_account_id = fields.Many2one(
        "account.account",
        string="Prepayments Account",
        domain=[("account_type", "=", "liability_current"), ("reconcile", "=", True)],
        check_company=True,
        help="Customers who pay in advance get a top-up bill, without tax, for what they have paid; it is a liability "
        "on this account until bills draw on it. Empty: prepayments stay credits on the receivable account.",
        groups="base.group_user",
    )
    billing_prepaid_journal_id = fields.Many2one(
        "account.journal",
        string="Journal of Top-up Bills",
        domain=[("type", "=", "sale")],
        check_company=True,
        help="Top-up bills get numbers of their own in this sales journal. Empty: they are numbered between the bills.",
        groups="base.group_user",
    )

    _billing_charge_days_positive = models.Constraint(
        "CHECK (billing_charge_days >= 0 AND billing_charge_poll_days >= 1)",
        "Days after the due date cannot be negative, and outcomes are asked for on 1 day at least.",
    )

    @api.constrains("billing_charge_retry_days")
    def _check_billing_charge_retry_days(self):
        for company in self:
            try:
                company._get_billing_retry_schedule()
            except ValueError:
                raise ValidationError(
                    self.env._(
                        "“%s” is no retry schedule: give up to ten numbers of days from 1 to 60, for instance 3, 5, 7.",
                        company.billing_charge_retry_days,
                    )
                ) from None

    @api.constrains("billing_prepaid_account_id")
    def _check_billing_prepaid_account(self):
        for account in self.billing_prepaid_account_id:
            if account.account_type != "liability_current" or not account.reconcile:
                raise ValidationError(
                    self.env._(
                        "%s cannot hold prepayments: choose a current liability account that allows reconciliation.",
                        account.display_name,
                    )
                )

    @api.constrains("billing_prepaid_journal_id")
    def _check_billing_prepaid_journal(self):
        for journal in self.billing_prepaid_journal_id:
            if journal.type != "sale":
                raise ValidationError(
                    self.env._("%s cannot hold top-up bills: choose a sales journal.", journal.display_name)
                )

    def _get_billing_prepaid_account(self):
        """The account of prepayments of this company, of a branch else that of its company; maybe none."""
        self.ensure_one()
        company_sudo = self.sudo()  # a setting, whoever pays
        return company_sudo.billing_prepaid_account_id or company_sudo.root_id.billing_prepaid_account_id

    def _get_billing_prepaid_journal(self):
        """As ``_get_billing_prepaid_account``, the journal of top-up bills; none for core's choice."""
        self.ensure_one()
        company_sudo = self.sudo()  # a setting, whoever pays
        journal = company_sudo.billing_prepaid_journal_id or company_sudo.root_id.billing_prepaid_journal_id
        return journal.filtered("active")

    def _get_billing_retry_schedule(self):
        """Return after how many days each refusal is tried again, as a tuple.

        :raises ValueError: while an invalid text is being saved
        """
        self.ensure_one()
        return parse_days(self.billing_charge_retry_days)

    def _get_billing_mandate_text(self):
        """Return what customers agree to when they allow automatic payments, in the language of the context."""
        self.ensure_one()
        if self.billing_mandate_text:
            return self.billing_mandate_text
        when = (
            self.env._("%s days after their due date", self.billing_charge_days)
            if self.billing_charge_days
            else self.env._("on their due date")
        )
        return self.env._(
            "I allow %(company)s to collect the open amount of my bills %(when)s with the payment method chosen here, "
            "without asking me each time. If a payment is declined, it may be tried again. I can revoke this at any "
            "time on this page; it then ends for all bills not yet collected.",
            company=self.name,
            when=when,
        )
