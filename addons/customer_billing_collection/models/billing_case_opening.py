from markupsafe import Markup

from odoo import models
from odoo.tools import format_date


class BillingCase(models.Model):
    """The first note of a case: why it opened, and who got it."""

    _name = "billing.case"
    _inherit = "billing.case"

    def _log_opening(self, items, amounts, kept):
        """Note on new cases why they opened. The number of queries does not depend on the number of cases.

        :param dict items: the items by customer and currency, see ``_read_items``
        :param dict amounts: what is overdue by customer, in company currency
        :param dict kept: collectors by customer and currency that went on
        """
        # sudo: settings, whoever opens
        rules_sudo = self.env["billing.collector.rule"].sudo().search([("company_id", "in", self.company_id.ids)])
        bodies = {}
        for case in self:
            key = (case.partner_id.id, case.currency_id.id)
            lines = [
                *case._describe_debt(items[key]),
                self.env._("Policy: %s", case.policy_id.name),
                case._describe_collector(rules_sudo, amounts[case.partner_id], kept.get(key)),
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

    def _describe_collector(self, rules, amount, kept):
        """Who collects, and by which setting, as a text."""
        user, partner_sudo = self.collector_id, self.partner_id.sudo().with_company(self.company_id)  # sudo: as above
        rule = next((r for r in rules if user in r.collector_ids and r._is_for(partner_sudo, amount)), rules[:0])
        if not user:
            return self.env._("Collector: nobody. Give a user of the company the role Collector.")
        if user == kept:
            return self.env._("Collector: %s, as before.", user.sudo().name)
        if user == partner_sudo.billing_collector_id:
            return self.env._("Collector: %s, who collects from this customer.", user.sudo().name)
        if rule:
            return self.env._("Collector: %(name)s, by rule “%(rule)s”.", name=user.sudo().name, rule=rule.name)
        return self.env._("Collector: %s, as no rule fits.", user.sudo().name)
