"""Customers with open bills, written as rows: what collections are measured on, ours and the OCA's."""

from datetime import timedelta

from odoo import Command, fields
from odoo.tools import SQL

import data

ITEMS = 10  # open bills of each customer; they were due 5 to 95 days ago


def make(env, count):
    """COUNT customers, each with ITEMS posted bills that are overdue; returns the customers."""
    if not env.company.chart_template:
        env["account.chart.template"].try_loading("generic_coa", env.company, install_demo=False)
    partners = data.make_partners(env, count, "Debtor")
    today = fields.Date.today()
    bills = env["account.move"].create(
        [
            {
                "move_type": "out_invoice",
                "partner_id": partners[0].id,
                "invoice_date": today - timedelta(days=35 + 10 * number),
                "invoice_date_due": today - timedelta(days=5 + 10 * number),
                "invoice_payment_term_id": False,
                "invoice_line_ids": [Command.create({"name": "Service", "price_unit": 100.0 + number, "tax_ids": []})],
            }
            for number in range(ITEMS)
        ]
    )
    bills.action_post()
    env.flush_all()
    others = partners[1:].ids
    _copy(
        env, "account_move", SQL("template.id = ANY(%s)", bills.ids), SQL("unnest(%s) customer (id)", others),
        name=SQL("'DEBT/' || customer.id || '/' || template.id"),
        partner_id=SQL("customer.id"), commercial_partner_id=SQL("customer.id"),
    )  # fmt: skip
    env.cr.execute("ANALYZE account_move, res_partner")
    _copy(
        env, "account_move_line",
        SQL("template.move_id = ANY(%s) AND move.name = 'DEBT/' || customer.id || '/' || template.move_id", bills.ids),
        SQL("unnest(%s) customer (id) JOIN account_move move ON move.partner_id = customer.id", others),
        move_id=SQL("move.id"), move_name=SQL("move.name"), partner_id=SQL("customer.id"),
    )  # fmt: skip
    env.invalidate_all()
    env.cr.execute("ANALYZE")
    return partners


def _copy(env, table, where, source, **values):
    """Copy the rows of a table that ``where`` names for each row of ``source``, with other values."""
    rows = env.execute_query(SQL("SELECT column_name FROM information_schema.columns WHERE table_name = %s", table))
    names = [name for (name,) in rows if name != "id"]
    env.cr.execute(
        SQL(
            "INSERT INTO %s (%s) SELECT %s FROM %s template CROSS JOIN %s WHERE %s",
            SQL.identifier(table),
            SQL(", ").join(map(SQL.identifier, names)),
            SQL(", ").join(values.get(name, SQL.identifier("template", name)) for name in names),
            SQL.identifier(table),
            source,
            where,
        )
    )
