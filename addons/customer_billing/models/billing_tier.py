from decimal import Decimal

from dateutil.relativedelta import relativedelta

from odoo import api, fields, models
from odoo.tools import SQL, split_every

from ..tools import money, tiers

CHUNK = 1000  # customers graded together
INLINE_LIMIT = 2000  # customers that are graded on a click


class BillingTier(models.Model):
    """A grade of customers: the rules to get it, and what it brings."""

    _name = "billing.tier"
    _description = "Customer Tier"
    _inherit = ["mail.thread"]  # who changed a rule is on record
    _order = "sequence, id"
    _check_company_auto = True

    name = fields.Char(string="Tier", required=True, translate=True)
    sequence = fields.Integer(
        default=10, help="The best tier first: customers get the first one whose rules all hold."
    )
    company_id = fields.Many2one("res.company", index=True, help="Empty: for all companies.")
    currency_id = fields.Many2one("res.currency", compute="_compute_currency_id")
    active = fields.Boolean(default=True)
    revenue_min = fields.Monetary(
        string="Revenue of 12 Months",
        tracking=True,
        help="At least so much was billed in the last twelve months, before taxes and less credits, "
        "in company currency. 0: not asked.",
    )
    tenure_min = fields.Integer(
        string="Months as a Customer",
        tracking=True,
        help="At least so many full months since the first contract or bill. 0: not asked.",
    )
    limit_days_late = fields.Boolean(string="Pays on Time", tracking=True)
    days_late_max = fields.Integer(
        string="Days Late",
        tracking=True,
        help="At most so many days late on average, over what was paid in the last twelve months and "
        "what is past due now. Who has paid nothing yet does not get the tier.",
    )
    pricelist_id = fields.Many2one(
        "product.pricelist",
        tracking=True,
        check_company=True,
        ondelete="restrict",
        help="Price list of new contracts, for charge items without a published price. A price list "
        "set on the customer itself goes first.",
    )
    discount = fields.Float(
        string="Disc.%",
        digits="Discount",
        tracking=True,
        help="Discount of new contract lines, which can be changed there. Running lines keep theirs.",
    )
    note = fields.Text(string="Description", translate=True)
    customer_count = fields.Integer(string="Customers", compute="_compute_counts")
    proposal_count = fields.Integer(string="Proposals", compute="_compute_counts")

    _limits_positive = models.Constraint(
        "CHECK (revenue_min >= 0 AND tenure_min >= 0 AND days_late_max >= 0)",
        "The limits of a tier are not negative.",
    )
    _discount_range = models.Constraint(
        "CHECK (discount >= 0 AND discount <= 100)", "A discount is between 0 and 100 %."
    )

    @api.depends("company_id")
    @api.depends_context("company")
    def _compute_currency_id(self):
        for tier in self:
            tier.currency_id = (tier.company_id or self.env.company).currency_id

    @api.depends_context("company")
    def _compute_counts(self):
        customers = dict(
            self.env["res.partner"]._read_group(
                [("billing_tier_id", "in", self.ids)], ["billing_tier_id"], ["__count"]
            )
        )
        proposals = dict(
            self.env["billing.tier.proposal"]._read_group(
                [("tier_id", "in", self.ids), ("state", "=", "open")], ["tier_id"], ["__count"]
            )
        )
        for tier in self:
            tier.customer_count = customers.get(tier, 0)
            tier.proposal_count = proposals.get(tier, 0)

    def write(self, vals):
        # What the API says about tracking does not count: who changed a rule is on record.
        return super(BillingTier, self.with_context(tracking_disable=False, mail_notrack=False)).write(vals)

    @api.model
    def _get_tiers(self, company):
        """The tiers of ``company``, the best first."""
        # sudo: which tier a customer gets does not depend on who asks
        return self.sudo().search([("company_id", "in", (False, company.id))])

    def _to_kernel(self):
        """The rules as ``tools.tiers.Rules``."""
        self.ensure_one()
        return tiers.Rules(
            revenue=money.to_decimal(self.revenue_min) if self.revenue_min else None,
            tenure=self.tenure_min or None,
            days_late=Decimal(self.days_late_max) if self.limit_days_late else None,
        )

    # Figures

    @api.model
    def _get_figures(self, company, partner_ids, date):
        """What tiers ask about customers, in a constant number of queries. Branches count with their company.

        Credits and bills of all kinds count, not only those of contracts.

        :param partner_ids: ids of commercial partners
        :return: {partner id: ``tools.tiers.Figures``}; revenue in company currency
        """
        branches = self.env["res.company"].sudo().search([("id", "child_of", company.id)]).ids
        self.env["account.move"].flush_model()
        self.env["billing.contract"].flush_model()
        rows = self.env.execute_query(
            SQL(
                """SELECT customer, SUM(revenue), MIN(since) FROM (
                    SELECT contact.commercial_partner_id AS customer,
                           COALESCE(SUM(move.amount_untaxed_signed) FILTER (WHERE move.invoice_date > %(year)s), 0)
                               AS revenue,
                           MIN(move.invoice_date) AS since
                      FROM account_move move JOIN res_partner contact ON contact.id = move.partner_id
                     WHERE contact.commercial_partner_id = ANY(%(partners)s) AND move.company_id = ANY(%(companies)s)
                       AND move.state = 'posted' AND move.move_type IN ('out_invoice', 'out_refund')
                       AND move.invoice_date <= %(date)s
                     GROUP BY 1
                     UNION ALL
                    SELECT contact.commercial_partner_id, 0, MIN(contract.date_start)
                      FROM billing_contract contract JOIN res_partner contact ON contact.id = contract.partner_id
                     WHERE contact.commercial_partner_id = ANY(%(partners)s)
                       AND contract.company_id = ANY(%(companies)s) AND contract.state <> 'draft'
                     GROUP BY 1
                ) known GROUP BY customer""",
                year=date - relativedelta(months=12),
                date=date,
                partners=list(partner_ids),
                companies=branches,
            )
        )
        behaviour = self.env["billing.receivable"]._get_payment_behaviour(company, date, partner_ids)
        found = {customer: (revenue, since) for customer, revenue, since in rows}
        result = {}
        for partner_id in partner_ids:
            revenue, since = found.get(partner_id, (0, None))
            days_late = behaviour.get(partner_id, {}).get("days_late")
            result[partner_id] = tiers.Figures(
                revenue=Decimal(revenue),
                tenure=tiers.full_months(since, date) if since else 0,
                days_late=None if days_late is None else round(Decimal(days_late), 1),
            )
        return result

    # Job

    @api.model
    def _get_customers(self, company):
        """Ids of those who are graded: with a contract, bills of twelve months, or a tier; ascending."""
        self.env.flush_all()
        today = company._get_billing_today()
        rows = self.env.execute_query(
            SQL(
                """SELECT contact.commercial_partner_id FROM (
                    SELECT partner_id FROM billing_contract WHERE company_id = %(company)s AND state <> 'draft'
                     UNION
                    SELECT partner_id FROM account_move
                     WHERE company_id = %(company)s AND state = 'posted' AND invoice_date > %(year)s
                       AND move_type IN ('out_invoice', 'out_refund')
                     UNION
                    SELECT id FROM res_partner WHERE billing_tier_id ->> %(key)s IS NOT NULL
                ) known JOIN res_partner contact ON contact.id = known.partner_id
                WHERE contact.commercial_partner_id IS NOT NULL
                GROUP BY 1 ORDER BY 1""",
                company=company.id,
                key=str(company.id),
                year=today - relativedelta(months=12),
            )
        )
        return [partner_id for [partner_id] in rows]

    @api.model
    def _cron_grade(self):
        """Grade all customers of all companies, chunk by chunk, each its own commit.

        A company remembers how far the night has come, so that the job goes on where it was stopped.
        """
        commit = self.env["ir.cron"]._commit_progress
        for company in self.env["res.company"].search([("active", "=", True)]):
            if not self.with_context(active_test=False)._get_tiers(company):
                continue  # archived ones are taken from their customers
            ids = [i for i in self._get_customers(company) if i > company.billing_tier_cursor]
            commit(remaining=len(ids))
            for chunk in split_every(CHUNK, ids, list):
                self._grade(company, chunk)
                company.billing_tier_cursor = chunk[-1]
                if not commit(len(chunk)):
                    return
            company.billing_tier_cursor = 0
        commit()

    def action_grade(self):
        """Grade all customers of the current company: now when they are few, else by the job."""
        self.env["billing.tier"].check_access("write")
        company = self.env.company
        customers = self._get_customers(company)
        if len(customers) > INLINE_LIMIT:
            self.env.ref("customer_billing.ir_cron_tiers").sudo()._trigger()  # the job is the system's
        else:
            for chunk in split_every(CHUNK, customers, list):
                self._grade(company, chunk)
        return self.env["billing.tier.proposal"]._get_list_action()

    @api.model
    def _grade(self, company, partner_ids):
        """Compare the tiers of customers with what the rules say today, and propose or apply what differs.

        Those with a tier set by hand are left alone until its last day. The number of queries depends neither on the
        number of customers nor on their history.
        """
        # sudo: whoever grades, the ledger of all customers of the company is what counts
        self = self.sudo().with_company(company)
        today = company._get_billing_today()
        choices = self._get_tiers(company)
        rules = [tier._to_kernel() for tier in choices]
        figures = self._get_figures(company, partner_ids, today)
        partners = self.env["res.partner"].browse(partner_ids)
        partners._end_billing_tier_overrides(company, today)
        differing = {}
        for partner in partners.filtered(lambda partner: not partner.billing_tier_manual):
            index = tiers.choose(rules, figures[partner.id])
            best = self.browse() if index is None else choices[index]
            if best != partner.billing_tier_id:
                checks = [
                    {"tier": tier.id, **{key: [str(getattr(rule, key)), holds]
                                         for key, holds in tiers.check(rule, figures[partner.id]).items()}}
                    for tier, rule in list(zip(choices, rules, strict=True))[: None if index is None else index + 1]
                ]  # fmt: skip
                differing[partner] = (best, checks)
        self.env["billing.tier.proposal"]._propose(
            company,
            partners,
            {
                partner: self._prepare_proposal(company, today, partner, best, checks, figures[partner.id])
                for partner, (best, checks) in differing.items()
            },
        )

    @api.model
    def _prepare_proposal(self, company, today, partner, tier, checks, figures):
        """Values of the proposal to give ``partner`` another tier."""
        return {
            "partner_id": partner.id,
            "company_id": company.id,
            "tier_from_id": partner.billing_tier_id.id,
            "tier_id": tier.id,
            "date": today,
            "revenue": float(figures.revenue),
            "tenure": figures.tenure,
            "has_days_late": figures.days_late is not None,
            "days_late": float(figures.days_late or 0),
            "checks": checks,
        }

    # Views

    def action_view_customers(self):
        """Open the customers of these tiers."""
        action = self.env["ir.actions.actions"]._for_xml_id("customer_billing.res_partner_action_customers")
        action["domain"] = [("billing_tier_id", "in", self.ids)]
        action["context"] = {"create": False}
        return action

    def action_view_contracts(self):
        """Open the contracts of the customers of these tiers."""
        action = self.env["ir.actions.actions"]._for_xml_id("customer_billing.billing_contract_action")
        action["domain"] = [("tier_id", "in", self.ids)]
        action["context"] = {"create": False}
        return action

    def action_view_proposals(self):
        """Open what is proposed and was decided about these tiers."""
        action = self.env["billing.tier.proposal"]._get_list_action()
        action["domain"] = ["|", ("tier_id", "in", self.ids), ("tier_from_id", "in", self.ids)]
        return action
