"""A process of its own that bills contracts in small chunks, to be killed: crash_worker.py CONF DB STEP.

STEP ``make`` creates the contracts, ``work`` goes on with their run (READY is printed before), ``check`` prints the
ledger as JSON.
"""

import json
import sys

from odoo import SUPERUSER_ID, Command, api
from odoo.modules.registry import Registry
from odoo.tools import config

REF = "CRASH-TEST"
CHUNK = 8


def make(env, count, first, **_options):
    """Contracts of two lines, monthly in advance from the day FIRST."""
    plan = env["billing.plan"].create({"name": REF, "anchor": "month_end"})
    product = env["product.product"].create({"name": REF, "type": "service", "list_price": 10.0})
    for number in range(count):
        partner = env["res.partner"].create({"name": f"{REF} {number}", "email": f"crash{number}@customer.example"})
        contract = env["billing.contract"].create(
            {
                "partner_id": partner.id,
                "plan_id": plan.id,
                "date_start": first,
                "client_ref": REF,
                "line_ids": [
                    Command.create({"product_id": product.id, "quantity": 1 + number % 3}),
                    Command.create({"product_id": product.id, "price_unit": 33.33}),
                ],
            }
        )
        contract.action_activate()
    env.cr.commit()


def work(env, until, **_options):
    """Propose, make and post the bills of the contracts as the background job does, from where it stopped."""
    contracts = env["billing.contract"].search([("client_ref", "=", REF)])
    run = env["billing.run"].search([("contract_ids", "in", contracts.ids), ("state", "!=", "sent")], limit=1)
    if not run:
        run = env["billing.run"].create(
            {"date": until, "invoice_date": until, "contract_ids": [Command.set(contracts.ids)]}
        )
        run.write({"state": "proposed", "job": "propose"})
        env.cr.commit()
    print("READY", flush=True)
    while run.state != "posted":
        if run.job:
            run._work()
        elif run.state == "proposed":
            run.job = "generate"
        elif run.state == "generated":
            run.action_approve()
            run.job = "post"
        env.cr.commit()
        env.invalidate_all()
    print("DONE", flush=True)


def check(env, **_options):
    """What the database holds, read by plain SQL."""
    env.cr.execute(
        """SELECT c.id, count(h.id), count(DISTINCT (h.contract_line_id, h.slot_start)), coalesce(sum(h.amount), 0),
                  count(DISTINCT l.move_id), count(*) FILTER (WHERE l.parent_state = 'posted')
             FROM billing_contract c
             LEFT JOIN billing_charge h ON h.contract_id = c.id AND h.state = 'billed'
             LEFT JOIN account_move_line l ON l.id = h.move_line_id
            WHERE c.client_ref = %s GROUP BY c.id ORDER BY c.id""",
        [REF],
    )
    contracts = [[float(value) for value in row] for row in env.cr.fetchall()]
    env.cr.execute(
        """SELECT coalesce(sum(m.amount_untaxed), 0), coalesce(sum(m.amount_total), 0),
                  (SELECT coalesce(sum(l.balance), 0) FROM account_move_line l JOIN account_move n ON n.id = l.move_id
                     JOIN account_account a ON a.id = l.account_id
                    WHERE n.ref = %s AND n.state = 'posted' AND a.account_type = 'asset_receivable')
             FROM account_move m WHERE m.ref = %s AND m.state = 'posted'""",
        [REF, REF],
    )
    print(json.dumps({"contracts": contracts, "bills": [float(value) for value in env.cr.fetchone()]}), flush=True)


def main(conf, database, step, options):
    config.parse_config(["-c", conf, "-d", database, "--log-level=error"], setup_logging=True)
    registry = Registry(database)
    from odoo.addons.customer_billing.models import billing_run

    billing_run.CHUNK_SIZE = billing_run.POST_SIZE = CHUNK
    with registry.cursor() as cr:
        env = api.Environment(cr, SUPERUSER_ID, {})
        {"make": make, "work": work, "check": check}[step](env, **json.loads(options))


if __name__ == "__main__":
    main(*sys.argv[1:])
