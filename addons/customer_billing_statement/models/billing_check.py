from collections import defaultdict
from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import ValidationError
from odoo.tools import SQL, format_date

DAY = timedelta(days=1)


class BillingCheck(models.Model):
    """Checks of statements: ``_check_<code>(statements, params)`` returns {statement: message}.

    ``statements`` are drafts of one company whose lines are there, as superuser.
    """

    _inherit = "billing.check"

    source = fields.Selection(
        selection_add=[("statement", "Asked of every statement")],
        ondelete={"statement": "cascade"},
    )

    @api.constrains("code", "source")
    def _check_has_method(self):
        super()._check_has_method()
        for check in self.filtered(lambda check: check.source == "statement"):
            if not check._get_method():
                raise ValidationError(
                    self.env._("No installed module knows how to check “%s”.", check.code)
                )

    @api.model
    def _run_statement_checks(self, statements):
        """Ask all checks of ``statements``; writes nothing.

        :return: {(statement, check): message}
        """
        findings = {}
        self.env.flush_all()
        for company, of_company in statements.grouped("company_id").items():
            # sudo: what a check finds does not depend on who asks
            checks_sudo = self.sudo().with_company(company).with_context(
                lang=company.sudo().partner_id.lang or self.env.lang
            )
            statements_sudo = checks_sudo.env["billing.statement"].browse(of_company.ids)
            checks_sudo = checks_sudo._get_checks(company, "statement")
            for check in checks_sudo.filtered(lambda check: check.severity != "off"):
                for statement, message in check._run_alone(statements_sudo).items():
                    key = (statement.with_env(self.env), check.with_env(self.env))
                    findings[key] = message
        return findings

    @api.model
    def _check_statement_sums(self, statements, params):
        """Opening + movements = closing = open items = ageing, from the lines as they stand."""
        found = {}
        for statement in statements:
            if message := statement._get_sum_difference():
                found[statement] = message
        return found

    @api.model
    def _check_statement_ledger(self, statements, params):
        """The opening and the closing balance tie to the customer's receivable in the general ledger."""
        found = {}
        receivable = self.env["billing.receivable"]
        for (company, date_from, date_to), group in statements.grouped(
            lambda statement: (statement.company_id, statement.date_from, statement.date_to)
        ).items():
            balances = receivable._check_identity(company, date_to, group.partner_id.ids, date_from)
            for statement in group:
                values = balances.get((statement.partner_id.id, statement.currency_id.id))
                if message := values and self._describe_ledger_difference(statement, values):
                    found[statement] = message
        return found

    def _describe_ledger_difference(self, statement, values):
        """Why a statement does not tie to the ledger, or False."""
        currency, company_currency = statement.currency_id, statement.company_currency_id
        for closing in (values["closing"], values["closing_by_sums"]):
            if currency.compare_amounts(statement.balance_close, closing):
                return self.env._(
                    "The closing balance is %(close)s, but the ledger has %(ledger)s.",
                    close=currency.format(statement.balance_close),
                    ledger=currency.format(closing),
                )
        if currency.compare_amounts(statement.balance_open, values["opening_by_sums"]):
            return self.env._(
                "The opening balance is %(open)s, but the ledger has %(ledger)s.",
                open=currency.format(statement.balance_open),
                ledger=currency.format(values["opening_by_sums"]),
            )
        if not company_currency.is_zero(values["difference_company"]):
            return self.env._(
                "The open items are %(difference)s away from the general ledger.",
                difference=company_currency.format(values["difference_company"]),
            )
        return False

    @api.model
    def _check_statement_opening(self, statements, params):
        """The opening balance is the closing balance of the statement before, without a gap."""
        found = {}
        for statement in statements.filtered("previous_id"):
            previous = statement.previous_id
            if previous.date_to + DAY != statement.date_from:
                found[statement] = self.env._(
                    "%(previous)s ends on %(end)s and this one begins on %(start)s: the days in "
                    "between are on no statement.",
                    previous=previous.name,
                    end=format_date(self.env, previous.date_to),
                    start=format_date(self.env, statement.date_from),
                )
                continue
            difference = statement.balance_open - previous.balance_close
            if statement.currency_id.is_zero(difference):
                continue
            found[statement] = self.env._(
                "The opening balance is %(difference)s away from the closing balance of "
                "%(previous)s: documents dated up to %(date)s were entered or changed since.",
                difference=statement.currency_id.format(difference),
                previous=previous.name,
                date=format_date(self.env, previous.date_to),
            )
        return found

    @api.model
    def _check_statement_duplicate(self, statements, params):
        """No entry twice on a statement, nor on another one of the customer for these days."""
        found = {}
        rows = self.env.execute_query(
            SQL(
                """
                SELECT statement_id, MIN(number)
                  FROM billing_statement_line
                 WHERE statement_id IN %s
              GROUP BY statement_id, key
                HAVING COUNT(*) > 1
                """,
                tuple(statements.ids),
            )
        )
        for statement_id, number in rows:
            found[statements.browse(statement_id)] = self.env._("%s is on it twice.", number)
        rows = self.env.execute_query(
            SQL(
                """
                SELECT s.id, o.name
                  FROM billing_statement s
                  JOIN billing_statement o
                    ON o.company_id = s.company_id AND o.partner_id = s.partner_id
                   AND o.currency_id = s.currency_id AND o.kind = s.kind
                   AND o.id <> s.id AND o.date_from <= s.date_to AND o.date_to >= s.date_from
                   AND o.state NOT IN ('superseded', 'cancelled')
                 WHERE s.id IN %s AND s.kind <> 'open_item'
                """,
                tuple(statements.ids),
            )
        )
        for statement_id, name in rows:
            found[statements.browse(statement_id)] = self.env._(
                "Statement %s is about some of the same days.", name
            )
        return found

    @api.model
    def _check_statement_drafts(self, statements, params):
        """Drafts of bills and payments that would be on it if they were posted."""
        counts = defaultdict(int)
        moves = self.env["account.move.line"]._read_group(
            [
                ("company_id", "child_of", statements.company_id.root_id.ids),
                ("partner_id", "child_of", statements.partner_id.ids),
                ("account_id.account_type", "=", "asset_receivable"),
                ("parent_state", "=", "draft"),
                ("date", "<=", max(statements.mapped("date_to"))),
            ],
            ["partner_id", "currency_id", "date:day"],
            ["move_id:count_distinct"],
        )
        for partner, currency, day, count in moves:
            counts[partner.commercial_partner_id, currency, day] += count
        found = {}
        for statement in statements:
            count = sum(
                number
                for (partner, currency, day), number in counts.items()
                if partner == statement.partner_id
                and currency == statement.currency_id
                and day <= statement.date_to
            )
            if count:
                found[statement] = self.env._(
                    "%(count)s drafts dated up to %(date)s are not on it: post or delete them.",
                    count=count,
                    date=format_date(self.env, statement.date_to),
                )
        return found

    @api.model
    def _check_statement_email(self, statements, params):
        """There is nobody to send it to."""
        recipients = statements._map_recipients()
        return {
            statement: self.env._("No e-mail address: it cannot be sent.")
            for statement in statements
            if not recipients[statement]
        }
