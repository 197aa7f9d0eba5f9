from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError

from ..tools import dunning


class BillingDunningPolicy(models.Model):
    """How a company asks for its money: the steps, and the rules about promises, instalments, interest and holds.

    A case takes the policy of the most specific scope: customer, tier, segment, company; it keeps the policy that it
    began with.
    """

    _name = "billing.dunning.policy"
    _description = "Dunning Policy"
    _inherit = ["mail.thread"]
    _order = "sequence, id"
    _check_company_auto = True

    name = fields.Char(required=True, translate=True)
    sequence = fields.Integer(default=10)
    active = fields.Boolean(default=True)
    company_id = fields.Many2one(
        "res.company", required=True, index=True, default=lambda self: self.env.company.root_id,
        domain=[("parent_id", "=", False)],
    )
    currency_id = fields.Many2one(related="company_id.currency_id", string="Company Currency")
    category_ids = fields.Many2many(
        "res.partner.category", string="Customer Tags", help="Segment: customers with one of these tags."
    )
    industry_ids = fields.Many2many(
        "res.partner.industry", string="Industries", help="Segment: customers of one of these industries."
    )
    step_ids = fields.One2many("billing.dunning.step", "policy_id", string="Steps", copy=True)
    minimum_amount = fields.Monetary(
        help="Nothing is demanded while less than this is overdue in all; company currency."
    )
    date_from = fields.Date(
        string="Old Debts Count From",
        help="What was due before this day is treated as if it were due on it, so that customers with debts from "
        "before are reminded from the first step on. Empty: they get the highest step at once. Interest is not "
        "affected.",
    )
    review = fields.Boolean(
        string="Review Before Sending",
        help="What the nightly job proposes waits for a person; else it is sent by itself.",
    )
    calendar_id = fields.Many2one(
        "resource.calendar",
        string="Working Days",
        check_company=True,
        default=lambda self: self.env.company.root_id.resource_calendar_id,
        help="Working days and public holidays: nothing goes out on other days.",
    )
    # Promises
    promise_max_days = fields.Integer(
        string="Promise Within", default=14, help="A customer may promise a date at most so many days ahead."
    )
    promise_max_count = fields.Integer(
        string="Promises per Case", default=2, help="So many promises a customer may give in the portal in one case."
    )
    promise_grace_days = fields.Integer(string="Grace of a Promise", default=2, help="Days for the money to arrive.")
    promise_threshold = fields.Float(
        string="Kept From", default=0.95, help="The share of the promised amount from which a promise is kept."
    )
    # Holds
    hold_allowed = fields.Boolean(string="Service Hold", help="Contracts of the customer may be paused.")
    # Interest
    interest_rate = fields.Float(help="Simple interest per year; 0.08 is 8 %.", digits=(16, 6))
    interest_basis = fields.Selection(
        [("actual_365", "Actual/365"), ("actual_360", "Actual/360"), ("thirty_360", "30/360")],
        default="actual_365",
        required=True,
    )
    interest_grace_days = fields.Integer(
        string="Grace", help="No interest when paid within so many days after the due date; else from the due date."
    )
    interest_minimum_amount = fields.Monetary(help="Less than this on one bill of interest is not charged yet.")
    interest_cap_rate = fields.Float(
        string="Interest Cap",
        digits=(16, 6),
        help="Interest on an item is at most this share of its amount; 0: no cap.",
    )
    interest_date_from = fields.Date(
        string="Interest Since", help="Days before bear no interest: the day when interest was agreed or introduced."
    )
    interest_product_id = fields.Many2one(
        "product.product",
        domain=[("type", "=", "service")],
        default=lambda self: self.env.ref("customer_billing_collection.product_interest", raise_if_not_found=False),
        help="Gives the account and taxes of late interest and fees.",
    )

    _interest_rate_positive = models.Constraint(
        "CHECK (interest_rate >= 0 AND interest_cap_rate >= 0)", "Rates cannot be negative."
    )

    @api.constrains("interest_rate", "interest_product_id")
    def _check_interest_product(self):
        for policy in self:
            if policy.interest_rate and not policy.interest_product_id:
                raise ValidationError(
                    self.env._(
                        "%s charges interest: choose a product, it gives the account and the taxes.", policy.name
                    )
                )

    @api.constrains("interest_grace_days", "interest_minimum_amount")
    def _check_interest_terms(self):
        for policy in self:
            if policy.interest_grace_days < 0 or policy.interest_minimum_amount < 0:
                raise ValidationError(self.env._("%s: grace and minimum of interest are 0 or more.", policy.name))

    @api.constrains("company_id")
    def _check_company_is_root(self):
        if bad := self.filtered("company_id.parent_id")[:1]:
            raise ValidationError(
                self.env._(
                    "%(policy)s: a policy is that of a company with all its branches, so choose %(company)s.",
                    policy=bad.name,
                    company=bad.company_id.sudo().root_id.name,
                )
            )

    @api.constrains("promise_threshold", "promise_grace_days", "promise_max_days", "promise_max_count")
    def _check_promise_terms(self):
        for policy in self:
            if not 0 < policy.promise_threshold <= 1:
                raise ValidationError(
                    self.env._("%s: a promise is kept from a share above 0 and at most 1 (0.95 is 95 %%).", policy.name)
                )
            if min(policy.promise_grace_days, policy.promise_max_days, policy.promise_max_count) < 0:
                raise ValidationError(self.env._("%s: days and numbers of promises are 0 or more.", policy.name))

    case_count = fields.Integer(compute="_compute_case_count", string="Cases")

    def _compute_case_count(self):
        counts = dict(self.env["billing.case"]._read_group([("policy_id", "in", self.ids)], ["policy_id"], ["__count"]))
        for policy in self:
            policy.case_count = counts.get(policy, 0)

    @api.ondelete(at_uninstall=False)
    def _unlink_except_used(self):
        # sudo: cases of customers that the user may not read count too
        for policy in self.env["billing.case"].sudo().search([("policy_id", "in", self.ids)], limit=1).policy_id:
            raise UserError(
                self.env._(
                    "There are collection cases that follow “%s”: archive it instead. They go on with it, new cases "
                    "take another policy.",
                    policy.name,
                )
            )

    # Which policy a customer has

    @api.model
    def _get_for(self, partners, company):
        """Return the policy of each customer by the most specific scope: {partner: policy, maybe none}.

        :param partners: customers (commercial partners)
        :param company: the company that demands
        """
        result = {}
        for get_policies in (self._get_of_customers, self._get_of_tiers, self._get_of_segments):
            left_sudo = partners.filtered(lambda partner: partner not in result).sudo()  # sudo: settings, whoever asks
            for partner, policy in get_policies(left_sudo.with_company(company), company).items():
                if policy.active and policy.company_id == company:
                    result[partner] = self.browse(policy.id)
        default = self.browse(company.sudo().billing_dunning_policy_id.filtered("active").id)
        return {partner: result.get(partner, default) for partner in partners}

    @api.model
    def _get_of_customers(self, partners, company):
        """The policies that customers have of their own: {partner: policy}."""
        return {partner: partner.billing_dunning_policy_id for partner in partners if partner.billing_dunning_policy_id}

    @api.model
    def _get_of_tiers(self, partners, company):
        """The policies of the customers' tiers: {partner: policy}."""
        return {
            partner: partner.billing_tier_id.dunning_policy_id
            for partner in partners
            if partner.billing_tier_id.dunning_policy_id
        }

    @api.model
    def _get_of_segments(self, partners, company):
        """The first policy, by sequence, with a tag or the industry of the customer: {partner: policy}."""
        # sudo: as above
        policies = self.sudo().search([("company_id", "=", company.id)]).filtered(
            lambda policy: policy.category_ids or policy.industry_ids
        )
        result = {}
        for partner in partners if policies else ():
            for policy in policies:
                if partner.category_id & policy.category_ids or partner.industry_id & policy.industry_ids:
                    result[partner] = policy
                    break
        return result

    # For the kernel

    def _get_kernel_policies(self):
        """The policies as the kernel knows them: {policy: kernel policy}, with one without steps for no policy."""
        return {self.browse(): dunning.Policy(()), **{policy: policy._get_kernel_policy() for policy in self}}

    def _get_kernel_policy(self):
        """The policy with its steps, in company currency, and its working days, as the kernel knows them."""
        self.ensure_one()
        steps = sorted(self.sudo().step_ids.filtered("active"), key=lambda step: (step.days, step.id))
        return dunning.Policy(
            tuple(dunning.Step(s.id, s.days, s.working_days, s.minimum_amount) for s in steps),
            self.minimum_amount,
            self.calendar_id.sudo()._get_billing_calendar() if self.calendar_id else dunning.Calendar(),
            self.date_from or None,
        )
