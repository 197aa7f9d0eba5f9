"""A run of the OCA's account_credit_control, measured: oca_collection.py CONFIG CUSTOMERS.

Prints JSON: what the run takes for so many customers with the bills of open_items.py. Nothing that it makes stays.
"""

import configparser
import json
import sys

from odoo import SUPERUSER_ID, Command, api, fields
from odoo.modules.registry import Registry
from odoo.tools import config

import open_items
from worker import Meter


def make_policy(env):
    """The same steps after the due date as ours, for all receivable accounts and the company."""
    template = env["mail.template"].search([("model", "=", "credit.control.communication")], limit=1)
    accounts = env["account.account"].search([("account_type", "=", "asset_receivable")])
    policy = env["credit.control.policy"].create(
        {
            "name": "Bench",
            "company_id": env.company.id,
            "account_ids": [Command.set(accounts.ids)],
            "apply_max_policy_level": True,
            "level_ids": [
                Command.create(
                    {
                        "name": f"Step {days}", "level": number, "computation_mode": "net_days", "delay_days": days,
                        "email_template_id": template.id, "channel": "email", "custom_text": "Pay",
                        "custom_mail_text": "Pay",
                    }
                )
                for number, days in enumerate((3, 10, 20, 30, 60), 1)
            ],
        }
    )  # fmt: skip
    env.company.credit_policy_id = policy
    return policy


def main(conf, count):
    parsed = configparser.RawConfigParser()
    parsed.read(conf)
    database = parsed["options"]["db_name"]
    config.parse_config(["-c", conf, "-d", database], setup_logging=True)
    with Registry(database).cursor() as cr:
        env = api.Environment(cr, SUPERUSER_ID, {})
        open_items.make(env, int(count))
        policy = make_policy(env)
        meter = Meter(cr)
        run = env["credit.control.run"].create(
            {"date": fields.Date.today(), "policy_ids": [Command.set(policy.ids)], "company_id": env.company.id}
        )
        env.flush_all()
        env.invalidate_all()
        with meter.measure() as result:
            run.generate_credit_lines()
            env.flush_all()
        assert run.line_ids, "no line was made"
        result.update({"used": result["python"] + result["database"], "lines": len(run.line_ids)})
        cr.rollback()
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
