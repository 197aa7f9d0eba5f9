from odoo import api, fields, models
from odoo.exceptions import ValidationError


class BillingCollectorRule(models.Model):
    """Who collects from which customers: the first rule whose criteria all fit. Empty criteria fit all."""

    _name = "billing.collector.rule"
    _description = "Collector Rule"
    _order = "sequence, id"
    _check_company_auto = True

    name = fields.Char(required=True)
    sequence = fields.Integer(default=10)
    active = fields.Boolean(default=True)
    company_id = fields.Many2one(
        "res.company", required=True, index=True, default=lambda self: self.env.company.root_id,
        domain=[("parent_id", "=", False)],
    )  # fmt: skip
    currency_id = fields.Many2one(related="company_id.currency_id", string="Company Currency")
    country_ids = fields.Many2many("res.country", string="Countries")
    state_ids = fields.Many2many("res.country.state", string="States")
    tier_ids = fields.Many2many("billing.tier", string="Tiers")
    category_ids = fields.Many2many("res.partner.category", string="Customer Tags")
    industry_ids = fields.Many2many("res.partner.industry", string="Industries")
    lang_ids = fields.Many2many("res.lang", string="Languages")
    amount_from = fields.Monetary(
        string="Overdue From",
        help="Of the customer in all, in company currency. When what is overdue crosses it later, the night passes the "
        "case on, unless a person has chosen the collector.",
    )
    collector_ids = fields.Many2many(
        "res.users", string="Collectors", domain=[("share", "=", False)],
        help="Of several, the one with the fewest open cases. Who is archived or no collector any more is passed over.",
    )  # fmt: skip

    @api.constrains("collector_ids")
    def _check_collectors(self):
        if bad := self.filtered(lambda rule: not rule.collector_ids)[:1]:
            raise ValidationError(self.env._("Rule “%s” needs at least one collector.", bad.name))

    @api.constrains("company_id")
    def _check_company_is_root(self):
        if bad := self.filtered("company_id.parent_id")[:1]:
            raise ValidationError(
                self.env._(
                    "Rule “%(rule)s” is for a company with all its branches: choose %(company)s.",
                    rule=bad.name,
                    company=bad.company_id.sudo().root_id.name,
                )
            )

    def _is_for(self, partner, amount):
        """Whether a customer meets all criteria.

        :param partner: the customer, in the company of the rule
        :param float amount: overdue of the customer, in company currency
        """
        self.ensure_one()
        criteria = (
            (self.country_ids, partner.country_id),
            (self.state_ids, partner.state_id),
            (self.tier_ids, partner.billing_tier_id),
            (self.category_ids, partner.category_id),
            (self.industry_ids, partner.industry_id),
        )
        return (
            all(not wanted or wanted & found for wanted, found in criteria)
            and (not self.lang_ids or partner.lang in self.lang_ids.mapped("code"))
            and self.currency_id.compare_amounts(amount, self.amount_from) >= 0
        )
