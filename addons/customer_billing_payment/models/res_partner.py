import logging

from psycopg2 import OperationalError

from odoo import api, fields, models
from odoo.exceptions import ConcurrencyError
from odoo.fields import Domain

_logger = logging.getLogger(__name__)

CHUNK = 50
FAILED = ("declined", "unknown")  # charges that brought no money
STAFF_GROUPS = ",".join(
    f"customer_billing.group_billing_{role}" for role in ("sales", "collector", "auditor", "officer")
)


class ResPartner(models.Model):
    _name = "res.partner"
    _inherit = "res.partner"

    billing_mandate_ids = fields.One2many(
        "billing.payment.mandate", "partner_id", string="Payment Mandates", groups=STAFF_GROUPS
    )
    billing_mandate_count = fields.Integer(
        string="Active Mandates", compute="_compute_billing_mandate_count", groups=STAFF_GROUPS
    )
    billing_credit_amount = fields.Monetary(
        string="Unallocated Credit",
        compute="_compute_billing_credit_amount",
        groups=STAFF_GROUPS,
        help="Payments and credit notes that are not allocated yet, in company currency.",
    )
    billing_prepaid = fields.Boolean(
        string="Pays in Advance",
        company_dependent=True,
        help="The customer tops up a balance; bills are settled from it when they are posted, the oldest first. "
        "Read from the company that the bill goes to.",
    )
    billing_prepaid_threshold = fields.Float(
        string="Low Balance Below",
        digits="Product Price",
        company_dependent=True,
        help="In company currency. Below it the customer and the billing officer are told, once until the balance "
        "is above it again.",
        groups="base.group_user",
    )
    billing_prepaid_alert_date = fields.Date(
        string="Told About Low Balance On", company_dependent=True, groups="base.group_user"
    )
    billing_last_mandate_ids = fields.Many2many(
        "billing.payment.mandate",
        string="Active Payment Mandates",
        compute="_compute_billing_overview",
        groups=STAFF_GROUPS,
    )
    billing_failed_attempt_ids = fields.Many2many(
        "billing.payment.attempt", string="Failed Charges", compute="_compute_billing_overview", groups=STAFF_GROUPS
    )

    @api.depends_context("company")
    def _compute_billing_mandate_count(self):
        counts = dict(
            self.env["billing.payment.mandate"]._read_group(
                [
                    ("partner_id", "in", self.commercial_partner_id.ids),
                    ("company_id", "in", self.env.companies.ids),
                    ("state", "=", "active"),
                ],
                ["partner_id"],
                ["__count"],
            )
        )
        for partner in self:
            partner.billing_mandate_count = counts.get(partner.commercial_partner_id, 0)

    @api.depends_context("company")
    def _compute_billing_credit_amount(self):
        sums = self.commercial_partner_id._get_billing_credits(self.env.company)
        for partner in self:
            credits = sums.get(partner.commercial_partner_id.id, {}).values()
            partner.billing_credit_amount = sum(company_amount for _amount, company_amount in credits)

    def _get_billing_overview(self, company):
        about = self._get_billing_domain(company, "partner_id")
        return {
            **super()._get_billing_overview(company),
            "billing_last_mandate_ids": self._search_last(
                "billing.payment.mandate", [*about, ("state", "=", "active")], "id desc"
            ),
            "billing_failed_attempt_ids": self._search_last(
                "billing.payment.attempt", [*about, ("state", "in", FAILED)], "id desc"
            ),
        }

    # Credits

    @api.model
    def _get_billing_open_domain(self, company):
        """The open receivable lines of a company."""
        return (
            Domain("company_id", "=", company.id)
            & Domain("account_id.account_type", "=", "asset_receivable")
            & Domain("parent_state", "=", "posted")
            & Domain("reconciled", "=", False)
        )

    @api.model
    def _get_billing_credit_domain(self, company):
        """Payments and credit notes that are not allocated; what accountants enter by hand is left to them."""
        return (
            self._get_billing_open_domain(company)
            & Domain("amount_residual_currency", "<", 0)
            & (
                Domain("payment_id", "!=", False)
                | Domain("statement_line_id", "!=", False)
                | Domain("journal_id.type", "in", ("bank", "cash", "credit"))
                | Domain("move_id.move_type", "=", "out_refund")
            )
        )

    @api.model
    def _get_billing_debit_domain(self, company):
        """What credits are for: bills, and payments back to the customer."""
        return (
            self._get_billing_open_domain(company)
            & Domain("amount_residual_currency", ">", 0)
            & (Domain("move_id.move_type", "in", ("out_invoice", "out_receipt")) | Domain("payment_id", "!=", False))
        )

    def _get_billing_credits(self, company):
        """Return the unallocated credit of these customers (commercial partners) in a company.

        :return: dict by partner id of dicts by currency of (amount in it, amount in company currency), positive
        """
        found = {}
        # sudo: a sum, shown to those who may see the customer
        rows = self.env["account.move.line"].sudo()._read_group(
            self._get_billing_credit_domain(company)
            & Domain("partner_id.commercial_partner_id", "in", self.ids),
            ["partner_id", "currency_id"],
            ["amount_residual_currency:sum", "amount_residual:sum"],
        )
        for partner, currency, amount, company_amount in rows:
            sums = found.setdefault(partner.commercial_partner_id.id, {})
            before = sums.get(currency, (0.0, 0.0))
            sums[currency] = (before[0] - amount, before[1] - company_amount)
        return found

    def _filter_billing_auto_credit(self, company):
        """Those customers whose credits are applied by rule: all where the company says so, else who pays in
        advance."""
        if company.sudo().billing_credit_auto:  # sudo: a setting
            return self
        return self.filtered(lambda partner: partner.with_company(company).billing_prepaid)

    def _apply_billing_credit(self, company):
        """Settle the open bills of these customers with their credits, the oldest first, by core's reconciliation.

        Each currency and receivable account by itself. Bills that are disputed, or whose payment is on its way, are
        left alone.
        """
        lines = self.env["account.move.line"].sudo()  # sudo: credits are applied whoever posts the bill
        own = Domain("partner_id.commercial_partner_id", "in", self.ids)
        if not self or not (credits := lines.search(self._get_billing_credit_domain(company) & own)):
            return
        debits = credits.partner_id.commercial_partner_id._get_billing_debits(company)

        def key(line):
            return line.partner_id.commercial_partner_id, line.account_id, line.currency_id

        debits_by_key = debits.grouped(key)
        for group, group_credits in credits.grouped(key).items():
            if group in debits_by_key:
                (group_credits | debits_by_key[group]).reconcile()

    def _get_billing_debits(self, company):
        """The open lines of these customers that credits settle, in sudo; without bills that are disputed or being
        paid."""
        debits = self.env["account.move.line"].sudo().search(  # sudo: as above
            self._get_billing_debit_domain(company) & Domain("partner_id.commercial_partner_id", "in", self.ids)
        )
        bills = debits.move_id.filtered(lambda move: move.move_type in ("out_invoice", "out_receipt"))
        blocked = bills - bills._filter_billing_chargeable()
        return debits.filtered(lambda line: line.move_id not in blocked)

    def _after_billing_payment(self, company):
        """A payment of these customers has come in: what is not allocated is applied, where the rule says so."""
        self._filter_billing_auto_credit(company)._attempt_billing("_apply_billing_credit", company)
        self._attempt_billing("_bill_billing_prepayments", company)
        self._clear_billing_prepaid_alert(company)

    def _attempt_billing(self, method, company):
        """Call a method of these customers with a company. When it fails, customer by customer, so that one stops
        neither the others nor the payment or bill that it is for; the job tries again every day."""
        if not self:
            return
        try:
            with self.env.cr.savepoint():
                getattr(self, method)(company)
        except (OperationalError, ConcurrencyError):
            raise
        except Exception:
            self.env.invalidate_all(flush=False)
            if len(self) == 1:
                _logger.exception("Credit of customer %s could not be worked on (%s)", self.id, method)
            else:
                for partner in self:
                    partner._attempt_billing(method, company)

    # Prepaid balances

    def _get_billing_portal_actions(self):
        """Also a prepaid balance that is low."""
        actions = super()._get_billing_portal_actions()
        customer_sudo = self.commercial_partner_id.sudo()  # sudo: a setting of the customer, told to himself
        for company in self.env.user.company_ids:
            low, _balances = customer_sudo.with_company(company).filtered("billing_prepaid")._get_billing_low(company)
            if low:
                text = self.env._("Your prepaid balance is low: top up")
                actions.append({"text": text, "url": f"/my/billing/topup/{company.id}", "level": "warning"})
        return actions

    def _get_billing_low(self, company):
        """Those of these prepaid customers whose balance is below their threshold, with the balances by id."""
        credits = self._get_billing_credits(company)
        balances = {
            partner.id: sum(amount for _amount, amount in credits.get(partner.id, {}).values()) for partner in self
        }
        currency = company.currency_id
        low = self.filtered(
            lambda partner: currency.compare_amounts(
                balances[partner.id], partner.with_company(company).billing_prepaid_threshold
            )
            < 0
        )
        return low, balances

    def _clear_billing_prepaid_alert(self, company):
        """Who has topped up is told again the next time."""
        prepaid = self.with_company(company).filtered(
            lambda partner: partner.billing_prepaid and partner.billing_prepaid_alert_date
        )
        low, _balances = prepaid._get_billing_low(company)
        (prepaid - low).billing_prepaid_alert_date = False

    def _alert_billing_low_balance(self, company):
        """Tell these customers and their officers that the balance is low, once until it is topped up."""
        self._clear_billing_prepaid_alert(company)
        low, balances = self._get_billing_low(company)
        template = self.env.ref("customer_billing_payment.mail_template_low_balance")
        for partner in low.with_company(company).filtered(lambda partner: not partner.billing_prepaid_alert_date):
            balance = company.currency_id.format(balances[partner.id])
            template.with_company(company).with_context(
                balance=balance, company_name=company.name, company_email=company.email_formatted
            )._send_billing(partner, company)
            owner = partner.billing_officer_id or partner.user_id or self.env.user
            env = owner.with_context(lang=owner.lang).env
            partner.activity_schedule(
                "mail.mail_activity_data_todo",
                summary=env._("Low prepaid balance"),
                note=env._("The balance is %s. The customer was told and can top up in the portal.", balance),
                user_id=owner.id,
            )
            partner.billing_prepaid_alert_date = company._get_billing_today()

    @api.model
    def _cron_billing_credits(self):
        """Apply credits by rule, then look after prepaid balances: company by company, each chunk its own commit."""
        commit = self.env["ir.cron"]._commit_progress
        lines = self.env["account.move.line"]
        for company in self.env["res.company"].search([("active", "=", True)]):
            records = self.with_company(company)
            prepaid = records.search([("billing_prepaid", "=", True)])
            prepaid = prepaid.commercial_partner_id & prepaid
            with_credit = lines._read_group(
                self._get_billing_credit_domain(company) | self._get_billing_prepaid_domain(company), ["partner_id"]
            )
            creditors = records.browse().union(*(partner.commercial_partner_id for (partner,) in with_credit))
            customers = creditors.with_company(company)._filter_billing_auto_credit(company)
            commit(remaining=2 * len(customers) + len(prepaid))
            for method, partners in (
                ("_apply_billing_credit", customers),
                ("_bill_billing_prepayments", customers),
                ("_alert_billing_low_balance", prepaid),
            ):
                for start in range(0, len(partners), CHUNK):
                    chunk = partners[start : start + CHUNK]
                    chunk._attempt_billing(method, company)
                    if not commit(len(chunk)):
                        return

    # Views

    def action_view_billing_mandates(self):
        """Open the payment mandates of this customer."""
        action = self.env["ir.actions.actions"]._for_xml_id(
            "customer_billing_payment.billing_payment_mandate_action"
        )
        action["domain"] = [("partner_id", "in", self.commercial_partner_id.ids)]
        action["context"] = {}
        return action

    def action_view_billing_failed_attempts(self):
        """Open the charges of this customer that were declined or whose outcome is unknown."""
        self.ensure_one()
        return self._get_billing_action(
            "customer_billing_payment.billing_payment_attempt_action",
            [("partner_id", "=", self.commercial_partner_id.id), ("state", "in", FAILED)],
        )

    def action_refund_billing_credit(self):
        """Open the dialog that pays credit back to this customer."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Refund Credit"),
            "res_model": "billing.credit.refund",
            "view_mode": "form",
            "context": {"default_partner_id": self.commercial_partner_id.id},
        }
