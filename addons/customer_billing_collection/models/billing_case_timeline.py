import json
from functools import cache

from markupsafe import Markup

from odoo import models
from odoo.tools import SQL, format_date
from odoo.tools.mail import generate_tracking_message_id


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
        partners_sudo = {partner_sudo.id: partner_sudo for partner_sudo in self.partner_id.sudo().with_company(company)}
        amounts = self._sum_overdue(items, self.partner_id)
        known = self.filtered(lambda case: (case.partner_id.id, case.currency_id.id) in kept).partner_id
        chosen = self._get_collectors(company, {partner: amounts[partner] for partner in known}) if known else {}
        # thousands of cases have few days, and often the same amounts
        format_day = cache(lambda day: format_date(self.env, day))
        money = cache(lambda currency, amount: currency.format(amount))
        bodies = {}
        for case in self:
            user, partner = case.collector_id, case.partner_id
            rows = items[partner.id, case.currency_id.id]
            if chosen.get(partner, user) != user:
                collector = self.env._("Collector: %s, as before.", user.sudo().name)
            else:
                collector = case._describe_collector(rules_sudo, partners_sudo[partner.id], amounts[partner])
            policy = self.env._("Policy: %s", case.policy_id.name)
            bodies[case.id] = Markup("<br/>").join((*case._describe_debt(rows, format_day, money), policy, collector))
        self._log_copies(bodies)

    def _log_copies(self, bodies):
        """As ``_message_log_batch``, for thousands of cases that open in one night: the first note is logged, the
        others are copies of its row with a text of their own.

        :param dict bodies: HTML by case id, escaped
        """
        (first, body), *others = bodies.items()
        message = self.browse(first)._message_log_batch(bodies={first: body})
        if not others:
            return
        message.flush_recordset()
        own = ("id", "res_id", "body", "message_id")
        stored = [name for name, field in message._fields.items() if field.store and field.column_type]
        names = [name for name in stored if name not in own]
        rows = [
            {"res_id": case, "body": text, "message_id": generate_tracking_message_id("message-notify")}
            for case, text in others
        ]
        self.env.execute_query(
            SQL(
                """INSERT INTO mail_message (res_id, body, message_id, %(columns)s)
                   SELECT new.res_id, new.body, new.message_id, %(values)s
                     FROM jsonb_to_recordset(%(rows)s::jsonb) AS new (res_id int, body text, message_id text)
                     JOIN mail_message first ON first.id = %(message)s
                   RETURNING id""",
                columns=SQL(", ").join(SQL.identifier(name) for name in names),
                values=SQL(", ").join(SQL.identifier("first", name) for name in names),
                rows=json.dumps(rows),
                message=message.id,
            )
        )
        self.invalidate_recordset(["message_ids"], flush=False)

    def _describe_debt(self, rows, format_day, money):
        """The oldest item and the amounts of a new case, as texts; ``format_day`` and ``money`` write them."""
        currency = self.currency_id
        oldest = min((row for row in rows if row["residual"] > 0), key=lambda row: bool(row["excluded"]))
        values = {
            "item": oldest["number"] or "/",
            "amount": money(currency, oldest["residual"]),
            "date": format_day(oldest["date_maturity"]),
            "days": oldest["days_overdue"],
        }
        if oldest["days_overdue"] > 0:
            first = self.env._(
                "Opened because of %(item)s: %(amount)s, due on %(date)s, %(days)s days overdue.", **values
            )
        else:
            first = self.env._("Opened because of %(item)s: %(amount)s, due on %(date)s.", **values)
        balance = sum(row["residual"] for row in rows)
        overdue = sum(row["residual"] for row in rows if row["residual"] < 0 or row["days_overdue"] > 0)
        return first, self.env._(
            "Balance %(open)s, overdue %(overdue)s.",
            open=money(currency, balance),
            overdue=money(currency, max(overdue, 0.0)),
        )

    def _describe_collector(self, rules, partner, amount):
        """Who collects, and by which setting, as a text.

        :param rules: the collector rules of the company, in order, as superuser
        :param partner: the customer in the company, as superuser
        :param float amount: what is overdue of the customer in all, in company currency
        """
        user = self.collector_id.sudo()  # a colleague's name
        if not user:
            return self.env._("Collector: nobody. Give a user of the company the role Collector.")
        if user == partner.billing_collector_id:
            return self.env._("Collector: %s, who collects from this customer.", user.name)
        for rule in rules:
            if user in rule.collector_ids and rule._is_for(partner, amount):
                return self.env._("Collector: %(name)s, by rule “%(rule)s”.", name=user.name, rule=rule.name)
        return self.env._("Collector: %s, as no rule fits.", user.name)
