"""A process of its own that works in small chunks, to be killed: crash_worker.py CONF DB STEP OPTIONS.

STEP ``make`` creates equal contracts under each of the given names, ``work`` goes on with the run of one name and
prints each phase as it enters it, ``check`` prints what the database holds for one name as JSON. The same for
statements of account: ``make_statements``, ``work_statements``, ``check_statements``; and for bills that are charged
automatically: ``make_charges``, ``work_charges``, ``check_charges``.
"""

import datetime
import io
import json
import sys
import time
from pathlib import Path
from unittest.mock import patch

from odoo import SUPERUSER_ID, Command, api
from odoo.modules.registry import Registry
from odoo.tools import config
from odoo.tools.pdf import PdfFileWriter

JANUARY = datetime.date(2026, 1, 1)


def make(env, names, count, **_options):
    """COUNT contracts under each name: in advance, in arrears with usage and a minimum, several on one bill, and
    paused and amended ones. One in five customers has an e-mail address."""
    plans = env["billing.plan"].create(
        [{"name": "CRASH", "anchor": "month_end"}, {"name": "CRASH", "anchor": "month_end", "timing": "arrears"}]
    )
    meter = env["billing.meter"].create({"name": "CRASH", "code": "CRASH"})
    manager = env.ref("customer_billing.group_billing_manager")
    env["res.users"].create({"name": "CRASH", "login": "CRASH", "group_ids": [Command.link(manager.id)]})
    product = env["product.product"].create({"name": "CRASH", "type": "service", "list_price": 10.0})
    for name in names:
        partners = env["res.partner"].create(
            [
                {
                    "name": f"{name}/{number:05}",
                    "email": number % 5 == 0 and f"{name}.{number}@customer.example",
                    "billing_consolidation": "customer" if number % 4 == 2 else False,
                }
                for number in range(count)
            ]
        )
        contracts = env["billing.contract"].create(
            [
                {
                    "name": f"{name}/{number:05}",
                    # of four contracts the third and the fourth come on one bill
                    "partner_id": partners[number - (number % 4 == 3)].id,
                    "plan_id": plans[number % 4 == 1].id,
                    "date_start": JANUARY,
                    "client_ref": name,
                    "line_ids": _lines(number, product, meter),
                }
                for number in range(count)
            ]
        )
        contracts.action_activate()
        env["billing.usage"].create(
            [
                {"contract_line_id": line.id, "timestamp": f"2026-{month:02}-15 12:00:00"}
                | {"quantity": 7 * month + number % 50}
                for number, contract in enumerate(contracts)
                for line in contract.line_ids.filtered("meter_id")
                for month in (1, 2, 3)
            ]
        )
        for contract in contracts[3::8]:
            contract.action_pause("2026-01-11")
            contract.action_resume("2026-01-21")
            contract.action_amend({"lines": [{"line_id": contract.line_ids[0].id, "quantity": 5}]}, "2026-02-10")
    env.cr.commit()


def _lines(number, product, meter):
    lines = [{"quantity": 1 + number % 3}, {"price_unit": 33.33}]
    if number % 4 == 1:
        lines += [
            {"charge_type": "usage", "meter_id": meter.id, "price_unit": 0.5},
            {"charge_type": "minimum", "price_unit": 12.0},
        ]
    return [
        Command.create({"product_id": product.id, "sequence": sequence, **line}) for sequence, line in enumerate(lines)
    ]


def work(env, name, until, **_options):
    """Propose, make, post and send the bills of the contracts as the background jobs do, from where it stopped."""
    contracts = env["billing.contract"].search([("client_ref", "=", name)])
    runs = env["billing.run"].search([("contract_ids", "in", contracts.ids)])
    run = runs or env["billing.run"].create(
        {"date": until, "invoice_date": until, "contract_ids": [Command.set(contracts.ids)]}
    )
    if not runs:
        run.write({"state": "proposed", "job": "propose"})
        env.cr.commit()
    phase = ""
    while run.state != "sent":
        if phase != (phase := _phase(run)):
            print(phase, flush=True)
        if run.job:
            run._work()
        elif run.state == "proposed":
            run.job = "generate"
        elif run.state == "generated":
            run.with_user(env["res.users"].search([("login", "=", "CRASH")])).action_approve()
            run.job = "post"
        else:
            run.move_ids.filtered(lambda move: not move.billing_delivery_state)._queue_delivery()
            env.cr.commit()
            env["account.move"]._cron_deliver()
        env.cr.commit()
        env.invalidate_all()
    print("done", flush=True)


def _phase(run):
    return run.job or {"proposed": "generate", "generated": "post", "posted": "send"}[run.state]


LEDGER = {
    "charges": """
        SELECT split_part(c.name, '/', 2), l.sequence, l.date_start, h.kind, h.slot_start, h.period_start,
               h.period_end, h.bill_date, h.revision, h.quantity, h.price_unit, h.amount, h.waived, h.state,
               b.parent_state, h.trace::text
          FROM billing_charge h JOIN billing_contract c ON c.id = h.contract_id
          JOIN billing_contract_line l ON l.id = h.contract_line_id
          LEFT JOIN account_move_line b ON b.id = h.move_line_id WHERE c.client_ref = %s""",
    "contracts": """
        SELECT split_part(c.name, '/', 2), c.state, c.next_bill_date, l.sequence, l.date_start, l.recompute_from
          FROM billing_contract c JOIN billing_contract_line l ON l.contract_id = c.id WHERE c.client_ref = %s""",
    "usage": """
        SELECT split_part(c.name, '/', 2), u.date, u.quantity, h.slot_start
          FROM billing_usage u JOIN billing_contract c ON c.id = u.contract_id
          LEFT JOIN billing_charge h ON h.id = u.charge_id WHERE c.client_ref = %s""",
    "lines": """
        SELECT split_part(p.name, '/', 2), m.move_type, l.display_type, l.sequence, a.id,
               CASE WHEN l.display_type = 'payment_term' THEN '' ELSE l.name END, l.quantity, l.price_unit, l.discount,
               l.price_subtotal, l.price_total, l.balance, l.amount_currency, l.amount_residual, l.parent_state,
               l.billing_period_start, l.billing_period_end, l.date_maturity
          FROM account_move_line l JOIN account_move m ON m.id = l.move_id JOIN res_partner p ON p.id = m.partner_id
          LEFT JOIN account_account a ON a.id = l.account_id WHERE m.ref = %s""",
    "bills": """
        SELECT split_part(p.name, '/', 2), m.move_type, m.state, m.invoice_date, m.amount_untaxed, m.amount_tax,
               m.amount_total, m.amount_residual, m.billing_delivery_state,
               (SELECT count(*) FROM mail_message g
                  JOIN mail_notification n ON n.mail_message_id = g.id AND n.notification_type = 'email'
                 WHERE g.model = 'account.move' AND g.res_id = m.id)
          FROM account_move m JOIN res_partner p ON p.id = m.partner_id WHERE m.ref = %s""",
    "numbers": "SELECT sequence_prefix, sequence_number FROM account_move WHERE ref = %s",
}


def make_statements(env, names, count, **_options):
    """COUNT customers with an e-mail address and three posted entries each under each name."""
    accounts = env["account.account"]
    receivable = accounts.search([("account_type", "=", "asset_receivable")], limit=1)
    income = accounts.search([("account_type", "=", "income")], limit=1)
    partners = env["res.partner"].create(
        [
            {"name": f"{name}/{number:05}", "email": f"{name}.{number}@customer.example"}
            for name in names
            for number in range(count)
        ]
    )
    env["account.move"].create(
        [
            {
                "date": date,
                "line_ids": [
                    Command.create({"account_id": receivable.id, "partner_id": partner.id, "balance": amount}),
                    Command.create({"account_id": income.id, "balance": -amount}),
                ],
            }
            for partner in partners
            for date, amount in (
                ("2025-12-15", 7.0),
                ("2026-01-10", 100.0 + int(partner.name[-5:])),
                ("2026-01-20", -40.0),
            )
        ]
    ).action_post()
    env.cr.commit()


def work_statements(env, name, **_options):
    """Prepare and send the statements of the customers as the background jobs do, from where it stopped."""
    partners = env["res.partner"].search([("name", "like", f"{name}/%")])
    run = env["billing.statement.run"].search([("partner_ids", "in", partners.ids)])
    if not run:
        run = run.create({"date_from": JANUARY, "date_to": "2026-01-31", "partner_ids": [Command.set(partners.ids)]})
        run._start()
        run.job = "prepare"
        env.cr.commit()
    if run.job:
        print("prepare", flush=True)
        run._work()
        env.cr.commit()
    if run.state != "sent":
        print("send", flush=True)
        run._get_unsent().filtered(lambda statement: not statement.delivery_state)._queue_delivery()
        env.cr.commit()
    while run.state != "sent":
        env["billing.statement"]._cron_deliver()
        env.cr.commit()
        env.invalidate_all()
    # mails that were written and not sent when the process was killed
    env["mail.mail"].process_email_queue()
    env.cr.commit()
    print("done", flush=True)


STATEMENTS = {
    "lines": """
        SELECT split_part(p.name, '/', 2), l.sequence, l.date, l.kind, l.debit, l.credit, l.balance, l.residual
          FROM billing_statement_line l JOIN billing_statement s ON s.id = l.statement_id
          JOIN res_partner p ON p.id = s.partner_id WHERE p.name LIKE %s || '/%%'""",
    "statements": """
        SELECT split_part(p.name, '/', 2), s.state, s.delivery_state, s.date_from, s.date_to, s.balance_open,
               s.amount_debit, s.amount_credit, s.balance_close, s.sha256_xlsx IS NOT NULL,
               (SELECT count(*) FROM mail_message g
                  JOIN mail_notification n ON n.mail_message_id = g.id AND n.notification_type = 'email'
                 WHERE g.model = 'billing.statement' AND g.res_id = s.id),
               (SELECT count(*) FROM ir_attachment f
                 WHERE f.res_model = 'billing.statement' AND f.res_id = s.id AND f.res_field IN ('pdf', 'xlsx'))
          FROM billing_statement s JOIN res_partner p ON p.id = s.partner_id WHERE p.name LIKE %s || '/%%'""",
    "outcomes": """
        SELECT split_part(p.name, '/', 2), l.outcome, l.reason, s.partner_id = p.id
          FROM billing_statement_run_line l JOIN res_partner p ON p.id = l.partner_id
          LEFT JOIN billing_statement s ON s.id = l.statement_id WHERE p.name LIKE %s || '/%%'""",
    "numbers": """
        SELECT s.name FROM billing_statement s JOIN res_partner p ON p.id = s.partner_id
         WHERE p.name LIKE %s || '/%%'""",
}


def check(env, name, **_options):
    """What the database holds, read by plain SQL, without the ids."""
    _print_rows(env, LEDGER, name)


def check_statements(env, name, **_options):
    """As ``check``."""
    _print_rows(env, STATEMENTS, name)


def _print_rows(env, queries, name):
    found = {}
    for part, query in queries.items():
        env.cr.execute(query, [name])
        found[part] = sorted([list(map(str, row)) for row in env.cr.fetchall()])
    print(json.dumps(found), flush=True)


def make_charges(env, names, count, **_options):
    """COUNT customers under each name with a due bill, a saved method that the provider accepts, and their consent.

    The server's own job is switched off: the workers are the jobs."""
    env.ref("customer_billing_payment.ir_cron_charge").active = False
    day = datetime.date.today() - datetime.timedelta(days=3)
    plan = env["billing.plan"].create({"name": "CHARGE", "invoice_policy": "charge"})
    product = env["product.product"].create({"name": "CHARGE", "type": "service", "list_price": 10.0})
    partners = env["res.partner"].create(
        [{"name": f"{name}/{number:05}"} for name in names for number in range(count)]
    )
    provider = env["payment.provider"].search([("code", "=", "demo"), ("company_id", "=", env.company.id)], limit=1)
    tokens = env["payment.token"].create(
        [
            {
                "provider_id": provider.id,
                "payment_method_id": env.ref("payment_demo.payment_method_demo").id,
                "payment_details": "4242",
                "partner_id": partner.id,
                "provider_ref": partner.name,
                "demo_simulated_state": "done",
            }
            for partner in partners
        ]
    )
    env["billing.payment.mandate"].create(
        [
            {
                "partner_id": token.partner_id.id,
                "company_id": env.company.id,
                "token_id": token.id,
                "consent_text": "I agree",
                "consent_date": f"{day}",
                "consent_user_id": env.uid,
            }
            for token in tokens
        ]
    )
    contracts = env["billing.contract"].create(
        [
            {"partner_id": partner.id, "plan_id": plan.id, "date_start": day}
            | {"line_ids": [Command.create({"product_id": product.id, "price_unit": 10.0 + number})]}
            for number, partner in enumerate(partners)
        ]
    )
    contracts.action_activate()
    values = {"date": day, "invoice_date": day, "contract_ids": [Command.set(contracts.ids)]}
    run = env["billing.run"].create({**values, "state": "proposed", "job": "propose"})
    manager = env.ref("customer_billing.group_billing_manager")
    approver = env["res.users"].create(
        {"name": "CHARGE", "login": f"charge-{names[0]}", "group_ids": [Command.link(manager.id)]}
    )
    run._work()
    run.job = "generate"
    run._work()
    run.with_user(approver).action_approve()
    run.job = "post"
    run._work()
    run.move_ids.invoice_date_due = day
    env.cr.commit()


def work_charges(env, name, calls, pause=0.0, hang=0, start=None, mute=False, **_options):
    """The job that charges, once. The provider notes the reference of each call in the file CALLS and takes PAUSE
    seconds; in call number HANG it takes the money and never answers. A provider that is MUTE cannot be asked later
    what became of a payment. Waits for the file START."""
    model = env.registry["payment.transaction"]
    original, asked = model._send_payment_request, []

    def send(transaction):
        ours = transaction.partner_id.name.startswith(f"{name}/")
        with open(calls, "a") as file:
            file.write(f"{transaction.reference}\n")
        asked.extend(transaction.ids if ours else ())
        if ours and len(asked) == hang:
            print("asked", flush=True)
            time.sleep(600)
        time.sleep(pause)
        return original(transaction)

    print("ready", flush=True)
    while start and not Path(start).exists():
        time.sleep(0.05)
    ask = model._poll_billing_outcome
    with (
        patch.object(model, "_send_payment_request", send),
        patch.object(model, "_poll_billing_outcome", (lambda transaction: None) if mute else ask),
    ):
        env["billing.payment.attempt"]._cron_charge()
    env.cr.commit()
    print("done", flush=True)


CHARGES = """
    SELECT p.name, m.billing_charge_state, m.amount_total, m.amount_residual,
           (SELECT array_agg(a.state ORDER BY a.number) FROM billing_payment_attempt a WHERE a.move_id = m.id),
           (SELECT array_agg(t.reference) FROM payment_transaction t JOIN account_invoice_transaction_rel r
                ON r.transaction_id = t.id WHERE r.invoice_id = m.id),
           (SELECT array_agg(y.amount) FROM account_payment y JOIN account_move e ON e.id = y.move_id
             WHERE y.partner_id = p.id AND e.state = 'posted')
      FROM account_move m JOIN res_partner p ON p.id = m.partner_id
     WHERE p.name LIKE %s || '/%%' AND m.move_type = 'out_invoice' ORDER BY p.name"""


def check_charges(env, name, **_options):
    """Each bill as it is now: what was tried, which transactions, which payments."""
    env.cr.execute(CHARGES, [name])
    keys = ("name", "state", "total", "open", "attempts", "references", "payments")
    rows = [dict(zip(keys, row, strict=True)) for row in env.cr.fetchall()]
    print(json.dumps(rows, default=float), flush=True)


def _print(*_args, **_kwargs):
    """An empty page: the printing program is not what is tested, and takes a second per bill."""
    writer, buffer = PdfFileWriter(), io.BytesIO()
    writer.add_blank_page(200, 200)
    writer.write(buffer)
    return buffer.getvalue()


def main(conf, database, step, options):
    config.parse_config(["-c", conf, "-d", database, "--log-level=error"], setup_logging=True)
    registry = Registry(database)
    from odoo.addons.base.models.ir_actions_report import IrActionsReport
    from odoo.addons.customer_billing.models import billing_run
    from odoo.addons.customer_billing_statement.models import billing_statement_run

    options = json.loads(options)
    billing_run.CHUNK_SIZE = billing_run.POST_SIZE = options.get("chunk", 8)
    billing_statement_run.CHUNK_SIZE = options.get("chunk", 8)
    steps = (make, work, check, make_statements, work_statements, check_statements)
    steps += (make_charges, work_charges, check_charges)
    with registry.cursor() as cr, patch.object(IrActionsReport, "_run_wkhtmltopdf", _print):
        env = api.Environment(cr, SUPERUSER_ID, {})
        {method.__name__: method for method in steps}[step](env, **options)


if __name__ == "__main__":
    main(*sys.argv[1:])
