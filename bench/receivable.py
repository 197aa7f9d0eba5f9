"""Measures the data of statements against two plain SQL aggregates: receivable.py CONFIG [CUSTOMERS ...].

Each customer has 72 entries, 36 invoices and 36 payments, most of them matched. The data of a month's statement for
all customers is: closing balances with ageing, the month's movements, and the open items. The plain side sums, over
the same rows, amounts and matches by customer and currency, which is the least that a balance needs.
"""

import configparser
import json
import statistics
import sys
from datetime import date

from odoo import SUPERUSER_ID, Command, api
from odoo.modules.registry import Registry
from odoo.tools import SQL, config

from worker import Meter

MONTHS, OPEN = 36, 2
DAYS = (date(2026, 3, 31), date(2025, 3, 31))  # the last month, and a year before

PLAIN = (
    """SELECT partner_id, currency_id, SUM(amount_currency), SUM(balance)
         FROM account_move_line
        WHERE account_id = %(account)s AND parent_state = 'posted' AND company_id = %(company)s AND date <= %(date)s
        GROUP BY partner_id, currency_id""",
    """SELECT line.partner_id, line.currency_id, SUM(side.amount_currency), SUM(side.amount)
         FROM (SELECT debit_move_id AS line_id, max_date, debit_amount_currency AS amount_currency, amount
                 FROM account_partial_reconcile
                UNION ALL
               SELECT credit_move_id, max_date, -credit_amount_currency, -amount FROM account_partial_reconcile) side
         JOIN account_move_line line ON line.id = side.line_id
        WHERE line.account_id = %(account)s AND line.parent_state = 'posted' AND line.company_id = %(company)s
          AND line.date <= %(date)s AND side.max_date <= %(date)s
        GROUP BY line.partner_id, line.currency_id""",
)


class Side:
    def __init__(self, env):
        self.env = env
        if not env.company.chart_template:
            env["account.chart.template"].try_loading("generic_coa", env.company, install_demo=False)
        self.meter = Meter(env.cr)
        self.count = 0
        self.templates = self.make_templates()

    def make_templates(self):
        """An invoice and its payment, which all others are copies of."""
        env = self.env
        partner = env["res.partner"].create({"name": "Template"})
        invoice = env["account.move"].create(
            {
                "move_type": "out_invoice",
                "partner_id": partner.id,
                "invoice_date": "2023-04-01",
                "invoice_line_ids": [Command.create({"name": "Service", "price_unit": 100.0, "tax_ids": []})],
            }
        )
        invoice.action_post()
        journal = env["account.journal"].search([("type", "=", "bank"), ("company_id", "=", env.company.id)], limit=1)
        payment = env["account.payment"].create(
            {"partner_id": partner.id, "amount": 100.0, "date": "2023-04-20", "journal_id": journal.id}
        )
        payment.action_post()
        lines = (invoice | payment.move_id).line_ids.filtered(
            lambda line: line.account_id.account_type == "asset_receivable"
        )
        self.account = lines.account_id
        lines.reconcile()
        env.flush_all()
        return invoice, payment.move_id, lines.matched_debit_ids

    def insert(self, table, record, source, **values):
        """Copy a row of a table for each row of ``source``, with other values."""
        rows = self.env.execute_query(
            SQL("SELECT column_name FROM information_schema.columns WHERE table_name = %s", table)
        )
        names = [name for (name,) in rows if name != "id"]
        self.env.cr.execute(
            SQL(
                "INSERT INTO %s (%s) SELECT %s FROM %s template, %s WHERE template.id = %s",
                SQL.identifier(table),
                SQL(", ").join(map(SQL.identifier, names)),
                SQL(", ").join(values.get(name, SQL.identifier("template", name)) for name in names),
                SQL.identifier(table),
                source,
                record.id,
            )
        )

    def grow(self, count):
        """Add customers until there are ``count``."""
        env = self.env
        prefix = f"Receivable {self.count}"
        env["res.partner"].create([{"name": f"{prefix} {number}"} for number in range(count - self.count)])
        self.count = count
        env.flush_all()
        invoice, payment, match = self.templates
        customers = SQL("(SELECT id FROM res_partner WHERE name LIKE %s)", f"{prefix} %")
        invoice, payment, match = self.templates
        for move, kind in ((invoice, "RI"), (payment, "RP")):
            self.insert(
                "account_move",
                move,
                SQL("%s customer, generate_series(0, %s) month", customers, MONTHS - 1),
                name=SQL("%s || '/' || customer.id || '/' || month", kind),
                partner_id=SQL("customer.id"),
                commercial_partner_id=SQL("customer.id"),
                date=SQL("template.date + month * INTERVAL '1 month'"),
                invoice_date=SQL("template.invoice_date + month * INTERVAL '1 month'"),
            )
            env.cr.execute("ANALYZE account_move, res_partner")
            for line in move.line_ids:
                self.insert_lines(line, kind, customers)
        env.cr.execute("ANALYZE account_move_line")
        self.insert_matches(match, customers)
        env.cr.commit()
        env.cr.execute("ANALYZE")
        env.cr.commit()

    def insert_lines(self, line, kind, customers):
        """A line of all new moves; the receivable of the last two months is open."""
        values = {
            "move_id": SQL("move.id"),
            "move_name": SQL("move.name"),
            "partner_id": SQL("move.partner_id"),
            "date": SQL("move.date"),
            "invoice_date": SQL("move.invoice_date"),
            "date_maturity": SQL("move.date + 30"),
        }
        if line.account_id == self.account:
            is_open = SQL("split_part(move.name, '/', 3)::int >= %s", MONTHS - OPEN)
            for name, value in (
                ("reconciled", "FALSE"),
                ("amount_residual", "template.balance"),
                ("amount_residual_currency", "template.amount_currency"),
                ("matching_number", "NULL"),
                ("full_reconcile_id", "NULL"),
            ):
                values[name] = SQL(
                    "CASE WHEN %s THEN %s ELSE template.%s END", is_open, SQL(value), SQL.identifier(name)
                )
        moves = SQL("(SELECT * FROM account_move WHERE name LIKE %s AND partner_id IN %s) move", f"{kind}/%", customers)
        self.insert("account_move_line", line, moves, **values)

    def insert_matches(self, match, customers):
        """The matches of all new invoices but the last with their payments."""
        pairs = SQL(
            """(SELECT debit.id AS debit_id, credit.id AS credit_id, credit.date
                  FROM account_move_line debit
                  JOIN account_move_line credit ON credit.move_name = 'RP' || SUBSTRING(debit.move_name FROM 3)
                 WHERE debit.partner_id IN %s AND debit.move_name LIKE 'RI/%%' AND debit.account_id = %s
                   AND credit.account_id = %s AND NOT debit.reconciled IS FALSE) pair""",
            customers,
            self.account.id,
            self.account.id,
        )
        self.insert(
            "account_partial_reconcile",
            match,
            pairs,
            debit_move_id=SQL("pair.debit_id"),
            credit_move_id=SQL("pair.credit_id"),
            max_date=SQL("pair.date"),
        )

    # The two sides

    def ours(self, day):
        receivable, company = self.env["billing.receivable"], self.env.company
        balances = receivable._get_balances(company, day)
        movements = receivable._get_movements(company, day.replace(day=1), day)
        items = receivable._get_open_items(company, day)
        return len(balances), len(movements), len(items)

    def plain(self, day):
        values = {"account": self.account.id, "company": self.env.company.id, "date": day}
        for query in PLAIN:
            self.env.cr.execute(query, values)
            self.env.cr.fetchall()

    def measure(self, rounds=7):
        """Milliseconds of the processor by side and day, medians of rounds that take turns."""
        figures = {}
        for day in DAYS:
            found = {"ours": [], "plain": []}
            for _round in range(rounds):
                for kind, times in found.items():
                    self.env.invalidate_all()
                    with self.meter.measure() as result:
                        rows = getattr(self, kind)(day)
                    times.append(1000 * (result["python"] + result["database"]))
                    if kind == "ours":
                        figures[f"{day} rows"] = rows
            medians = {kind: statistics.median(times[1:]) for kind, times in found.items()}
            figures[str(day)] = {**medians, "ratio": medians["ours"] / medians["plain"]}
        return figures


def main(conf, *counts):
    parser = configparser.RawConfigParser()
    parser.read(conf)
    database = parser["options"]["db_name"]
    config.parse_config(["-c", conf, "-d", database], setup_logging=True)
    with Registry(database).cursor() as cr:
        side = Side(api.Environment(cr, SUPERUSER_ID, {}))
        for count in map(int, counts or ("1000", "10000")):
            side.grow(count)
            print(json.dumps({"customers": count, **side.measure()}, indent=1), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
