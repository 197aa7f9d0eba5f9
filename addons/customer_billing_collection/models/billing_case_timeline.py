from markupsafe import Markup

from odoo import models
from odoo.tools import format_date


class BillingCase(models.Model):
    """The first note of a case: why it opened, and who got it."""

    _name = "billing.case"
    _inherit = "billing.case"

    def _open(self, company, today, items, known, kept=None):
        cases = super()._open(company, today, items, known, kept)
        if cases:
            cases._log_opening(company, items, kept or {})
        return cases

    def _log_opening(self, company, items, kept):
        """Note on new cases why they opened. The number of queries does not depend on the number of cases.

        :param dict items: the items by customer and currency, see ``_read_items``
        :param kept: customers and currencies whose collectors could go on
        """
        # sudo: settings, whoever opens
        rules_sudo = self.env["billing.collector.rule"].sudo().search([("company_id", "=", company.id)])
        amounts = self._sum_overdue(items, self.partner_id)
        known = self.filtered(lambda case: (case.partner_id.id, case.currency_id.id) in kept).partner_id
        chosen = self._get_collectors(company, {partner: amounts[partner] for partner in known}) if known else {}
        bodies = {}
        for case in self:
            user, partner = case.collector_id, case.partner_id
            if chosen.get(partner, user) != user:
                collector = self.env._("Collector: %s, as before.", user.sudo().name)
            else:
                collector = case._describe_collector(rules_sudo, amounts[partner])
            lines = [
                *case._describe_debt(items[partner.id, case.currency_id.id]),
                self.env._("Policy: %s", case.policy_id.name),
                collector,
            ]
            bodies[case.id] = Markup("<br/>").join(lines)
        self._message_log_batch(bodies=bodies)

    def _describe_debt(self, rows):
        """The oldest item and the amounts of a new case, as texts."""
        money = self.currency_id.format
        oldest = min((row for row in rows if row["residual"] > 0), key=lambda row: bool(row["excluded"]))
        overdue = sum(row["residual"] for row in rows if row["residual"] < 0 or row["days_overdue"] > 0)
        values = {
            "item": oldest["number"] or "/",
            "amount": money(oldest["residual"]),
            "date": format_date(self.env, oldest["date_maturity"]),
            "days": oldest["days_overdue"],
        }
        if oldest["days_overdue"] > 0:
            first = self.env._(
                "Opened because of %(item)s: %(amount)s, due on %(date)s, %(days)s days overdue.", **values
            )
        else:
            first = self.env._("Opened because of %(item)s: %(amount)s, due on %(date)s.", **values)
        return first, self.env._(
            "Balance %(open)s, overdue %(overdue)s.",
            open=money(sum(row["residual"] for row in rows)),
            overdue=money(max(overdue, 0.0)),
        )

    def _describe_collector(self, rules, amount):
        """Who collects, and by which setting, as a text.

        :param rules: the collector rules of the company, in order, as superuser
        :param float amount: what is overdue of the customer in all, in company currency
        """
        user = self.collector_id
        partner_sudo = self.partner_id.sudo().with_company(self.company_id)  # a setting, whoever opens
        if not user:
            return self.env._("Collector: nobody. Give a user of the company the role Collector.")
        if user == partner_sudo.billing_collector_id:
            return self.env._("Collector: %s, who collects from this customer.", user.sudo().name)
        for rule in rules:
            if user in rule.collector_ids and rule._is_for(partner_sudo, amount):
                return self.env._("Collector: %(name)s, by rule “%(rule)s”.", name=user.sudo().name, rule=rule.name)
        return self.env._("Collector: %s, as no rule fits.", user.sudo().name)
