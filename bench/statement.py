"""Statements of account, measured: statement.py CONFIG [PDFS [CUSTOMERS]].

Needs a database with customer_billing_statement; all that it makes is rolled back. It prints:
- a PDF of 100 lines, beside the same lines in Odoo's stock external layout, and the goal;
- the data of statements for CUSTOMERS customers with 72 entries each, beside two plain SQL queries that
  aggregate the same entries.

Processor time is that of Python, of wkhtmltopdf and of the database connection (the server that gives the stock
layout its styles comes on top): compare it on a busy machine.
"""

import configparser
import contextlib
import resource
import socket
import statistics
import subprocess
import sys
import time

import psutil

from odoo import SUPERUSER_ID, Command, api
from odoo.modules.registry import Registry
from odoo.tools import SQL, config

import data  # prepares the import of all else

LINES = 100
ENTRIES = 72
STOCK = """<t t-name="bench.stock">
  <t t-call="web.html_container">
    <t t-foreach="docs" t-as="o">
      <t t-call="web.external_layout">
        <div class="page">
          <h2>Statement of Account <span t-field="o.name"/></h2>
          <table class="table table-sm">
            <thead><tr><th>Date</th><th>Number</th><th>Reference</th><th>Due</th><th>Charged</th><th>Credited</th>
              <th>Balance</th><th>Open</th></tr></thead>
            <tbody>
              <tr t-foreach="o.line_ids" t-as="line">
                <td><span t-field="line.date"/></td><td><span t-field="line.number"/></td>
                <td><span t-field="line.ref"/></td><td><span t-field="line.date_maturity"/></td>
                <td class="text-end"><span t-field="line.debit"/></td>
                <td class="text-end"><span t-field="line.credit"/></td>
                <td class="text-end"><span t-field="line.balance"/></td>
                <td class="text-end"><span t-field="line.residual"/></td>
              </tr>
            </tbody>
          </table>
        </div>
      </t>
    </t>
  </t>
</t>
"""


def seconds(call, cr=None):
    """Wall clock and processor seconds of ``call``, with those of its children and its database connection."""
    backend = None
    if cr:
        cr.execute("SELECT pg_backend_pid()")
        [pid] = cr.fetchone()
        backend = psutil.Process(pid) if psutil.pid_exists(pid) else None

    def read():
        child = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = time.process_time() + child.ru_utime + child.ru_stime
        if backend:
            used += sum(backend.cpu_times()[:2])
        return time.perf_counter(), used

    before = read()
    call()
    return [after - start for start, after in zip(before, read(), strict=True)]


def medians(calls, rounds, cr=None):
    """{name: (wall, processor)}: medians of rounds in which the calls take turns, after one that warms up."""
    found = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            result = seconds(call, cr)
            if number:
                found[name].append(result)
    return {name: [statistics.median(column) for column in zip(*results, strict=True)]
            for name, results in found.items()}  # fmt: skip


def make_entries(env, partners, count):
    """Posted receivable entries, ``count`` for each partner, every second one a payment that settles most of the
    one before. Written as rows: what is measured only reads them, and nothing of it stays."""
    company = env.company
    if not company.chart_template:
        env["account.chart.template"].try_loading("generic_coa", company, install_demo=False)
    accounts = env["account.account"]
    receivable = accounts.search([("account_type", "=", "asset_receivable")], limit=1)
    income = accounts.search([("account_type", "=", "income")], limit=1)
    moves = env["account.move"].create(
        [
            {
                "move_type": "entry",
                "date": f"2026-01-{1 + number % 28:02d}",
                "line_ids": [
                    Command.create({"partner_id": partners[0].id, "account_id": receivable.id,
                                    "name": f"Entry {number}", "balance": amount, "date_maturity": "2026-02-28"}),
                    Command.create({"account_id": income.id, "name": "Counterpart", "balance": -amount}),
                ],
            }
            for number in range(count)
            for amount in ((-90.0 if number % 2 else 100.0),)
        ]
    )  # fmt: skip
    moves.action_post()
    env.flush_all()
    lines = moves.line_ids.filtered(lambda line: line.account_id == receivable)
    env.cr.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'account_move_line' "
        "AND column_name NOT IN ('id', 'partner_id')"
    )
    columns = SQL(", ").join(SQL.identifier(name) for [name] in env.cr.fetchall())
    if len(partners) > 1:
        env.cr.execute(
            SQL(
                "INSERT INTO account_move_line (partner_id, %(columns)s) SELECT p.id, %(columns)s "
                "FROM account_move_line l, unnest(%(partners)s) AS p (id) WHERE l.id IN %(lines)s",
                columns=columns, partners=partners[1:].ids, lines=tuple(lines.ids),
            )
        )  # fmt: skip
    env.cr.execute(
        SQL(
            """
            INSERT INTO account_partial_reconcile (debit_move_id, credit_move_id, amount, debit_amount_currency,
                credit_amount_currency, debit_currency_id, credit_currency_id, company_id, max_date)
            SELECT d.id, c.id, 90, 90, 90, d.currency_id, c.currency_id, d.company_id, c.date
              FROM account_move_line d
              JOIN account_move_line c ON c.partner_id = d.partner_id AND c.account_id = d.account_id
                   AND c.move_id = d.move_id + 1
             WHERE d.account_id = %s AND d.balance > 0 AND c.balance < 0 AND d.partner_id IN %s
            """,
            receivable.id, tuple(partners.ids),
        )
    )  # fmt: skip
    env.invalidate_all()
    return receivable


def bench_pdf(env, rounds):
    partner = data.make_partners(env, 1)
    make_entries(env, partner, LINES)
    statement = env["billing.statement"].create(
        {"partner_id": partner.id, "date_from": "2026-01-01", "date_to": "2026-01-31", "template": "ageing"}
    )
    statement.action_check()
    assert statement.state == "checked", statement.exception_ids.mapped("message")
    view = env["ir.ui.view"].create({"name": "bench.stock", "type": "qweb", "arch": STOCK, "key": "bench.stock"})
    report = env["ir.actions.report"].create(
        {"name": "Bench", "model": "billing.statement", "report_type": "qweb-pdf", "report_name": view.key}
    )

    def stock():
        env["ir.actions.report"].with_context(force_report_rendering=True)._render_qweb_pdf(report, statement.ids)

    found = medians({"stock": stock, "lean": statement._render_pdf}, rounds)
    print(f"PDF of {len(statement.line_ids)} lines, medians of {rounds}:")
    for name, (wall, used) in found.items():
        print(f"  {name:6} {wall:6.3f} s wall {used:6.3f} s processor")
    (stock_wall, stock_used), (wall, used) = found["stock"], found["lean"]
    print(f"  stock ÷ lean: wall {stock_wall / wall:.1f}, processor {stock_used / used:.1f}; goal ≤ 0.4 s wall")


def bench_data(env, count):
    partners = data.make_partners(env, count, "Data")
    account = make_entries(env, partners, ENTRIES)
    env.cr.execute("ANALYZE account_move_line, account_partial_reconcile, account_move")
    ids = tuple(partners.ids)

    def plain():
        """Totals, and what is open by age: what a statement says, without its lines."""
        env.execute_query(
            SQL(
                """
                SELECT partner_id, currency_id,
                       SUM(amount_currency) FILTER (WHERE date < '2026-01-01'),
                       SUM(amount_currency) FILTER (WHERE date >= '2026-01-01' AND amount_currency > 0),
                       SUM(amount_currency) FILTER (WHERE date >= '2026-01-01' AND amount_currency < 0),
                       SUM(amount_currency), SUM(balance)
                  FROM account_move_line
                 WHERE account_id = %s AND parent_state = 'posted' AND partner_id IN %s AND date <= '2026-01-31'
              GROUP BY partner_id, currency_id
                """,
                account.id, ids,
            )
        )  # fmt: skip
        env.execute_query(
            SQL(
                """
                WITH matched AS (
                    SELECT id, SUM(amount) AS amount
                      FROM (SELECT debit_move_id AS id, debit_amount_currency AS amount
                              FROM account_partial_reconcile WHERE max_date <= '2026-01-31'
                         UNION ALL
                            SELECT credit_move_id, -credit_amount_currency
                              FROM account_partial_reconcile WHERE max_date <= '2026-01-31') AS sides
                  GROUP BY id
                )
                SELECT l.partner_id, l.currency_id, (DATE '2026-01-31' - l.date_maturity) / 30,
                       SUM(l.amount_currency - COALESCE(m.amount, 0)), COUNT(*)
                  FROM account_move_line l
             LEFT JOIN matched m ON m.id = l.id
                 WHERE l.account_id = %s AND l.parent_state = 'posted' AND l.partner_id IN %s
                   AND l.date <= '2026-01-31' AND l.amount_currency <> COALESCE(m.amount, 0)
              GROUP BY 1, 2, 3
                """,
                account.id, ids,
            )
        )  # fmt: skip

    first, last = (env["billing.statement"]._fields["date_from"].to_date(text) for text in ("2026-01-01", "2026-01-31"))

    def ours():
        env["billing.statement"]._read_period(env.company, first, last, list(ids), {"activity"})

    found = medians({"plain": plain, "ours": ours}, 3, env.cr)
    print(f"Data of statements, {count} customers with {ENTRIES} entries, medians of 3:")
    for name, (wall, used) in found.items():
        print(f"  {name:6} {wall:6.3f} s wall {used:6.3f} s processor")
    wall, used = (found["ours"][index] / found["plain"][index] for index in range(2))
    print(f"  ours ÷ plain: wall {wall:.1f}, processor {used:.1f}")


def wait_for(port, limit=60):
    for _second in range(limit):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(1)
    raise SystemExit(f"no server answers on port {port}")


def main(conf, rounds="5", count="200"):
    parsed = configparser.RawConfigParser()
    parsed.read(conf)
    database = parsed["options"]["db_name"]
    config.parse_config(["-c", conf, "-d", database], setup_logging=True)
    port = parsed["options"]["http_port"]
    command = [sys.executable, "-c", "import odoo.cli; odoo.cli.main()", "-c", conf, "-d", database,
               "--http-interface", "127.0.0.1", "--log-level", "error"]  # fmt: skip
    # the stock layout loads its styles and scripts from the server
    with subprocess.Popen(command) as server, Registry(database).cursor() as cr:
        env = api.Environment(cr, SUPERUSER_ID, {})
        env["ir.config_parameter"].set_param("report.url", f"http://127.0.0.1:{port}")
        try:
            wait_for(int(port))
            bench_pdf(env, int(rounds))
        finally:
            server.terminate()
        bench_data(env, int(count))
        cr.rollback()


if __name__ == "__main__":
    main(*sys.argv[1:])
