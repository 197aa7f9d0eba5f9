"""A process of its own that sends notices, to be killed: collection_crash_worker.py CONF DB STEP OPTIONS.

STEP ``make`` creates customers with an overdue bill and their notices, which wait; ``work`` sends what waits, as the
job does; ``check`` prints what the database holds for one name as JSON.
"""

import json
import sys
from datetime import timedelta

from odoo import SUPERUSER_ID, Command, api, fields
from odoo.modules.registry import Registry
from odoo.tools import config

ROWS = """
    SELECT split_part(customer.name, '/', 2), step.name, notice.state, notice.amount,
           (SELECT COUNT(*) FROM mail_message message
             WHERE message.model = 'billing.case' AND message.res_id = notice.case_id
               AND message.message_type <> 'notification'
               AND EXISTS (SELECT FROM mail_notification mail WHERE mail.mail_message_id = message.id)),
           (SELECT COUNT(*) FROM mail_notification mail JOIN mail_message message ON message.id = mail.mail_message_id
             WHERE message.model = 'billing.case' AND message.res_id = notice.case_id
               AND mail.notification_type = 'email')
      FROM billing_dunning_notice notice JOIN res_partner customer ON customer.id = notice.partner_id
      JOIN billing_dunning_step step ON step.id = notice.step_id
     WHERE customer.name LIKE %s ORDER BY 1, 2"""


def make(env, name, count):
    policy = env["billing.dunning.policy"].create(
        {
            "name": name,
            "calendar_id": False,
            "step_ids": [Command.create({"name": name, "days": days}) for name, days in (("Now", 3), ("Later", 90))],
        }
    )
    partners = env["res.partner"].create(
        [
            {
                "name": f"{name}/{number:05}",
                "email": f"{name}.{number}@customer.example",
                "billing_dunning_policy_id": policy.id,
            }
            for number in range(count)
        ]
    )
    day = fields.Date.today() - timedelta(days=10)
    env["account.move"].create(
        [
            {
                "move_type": "out_invoice",
                "partner_id": partner.id,
                "invoice_date": day,
                "invoice_date_due": day,
                "invoice_payment_term_id": False,
                "invoice_line_ids": [Command.create({"name": "Service", "price_unit": 10.0 + number, "tax_ids": []})],
            }
            for number, partner in enumerate(partners)
        ]
    ).action_post()
    env["billing.case"]._attempt_chunk(env.company, partners.ids)
    waiting = env["billing.dunning.notice"].search_count([("partner_id", "in", partners.ids), ("state", "=", "queued")])
    assert waiting == count, waiting
    env.cr.commit()


def work(env, name):
    domain = [("partner_id.name", "=like", f"{name}/%"), ("state", "=", "queued")]
    print("sending", flush=True)
    while env["billing.dunning.notice"].search_count(domain):
        env["billing.dunning.notice"]._cron_send()
        env.cr.commit()
        env.invalidate_all()
    print("done", flush=True)


def check(env, name):
    env.cr.execute(ROWS, [f"{name}/%"])
    print(json.dumps([[*map(str, row[:4]), *row[4:]] for row in env.cr.fetchall()]), flush=True)


def main(conf, database, step, options):
    config.parse_config(["-c", conf, "-d", database, "--log-level=error"], setup_logging=True)
    with Registry(database).cursor() as cr:
        env = api.Environment(cr, SUPERUSER_ID, {})
        {"make": make, "work": work, "check": check}[step](env, **json.loads(options))


if __name__ == "__main__":
    main(*sys.argv[1:])
