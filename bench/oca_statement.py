"""The data of the OCA's partner_statement, measured: oca_statement.py CONFIG OUTSTANDING ACTIVITY.

Prints JSON: {kind: [wall, processor]} of its outstanding and its activity statement for so many customers, who have
the entries of statement.py. Nothing that it makes stays.
"""

import configparser
import functools
import json
import sys

from odoo import SUPERUSER_ID, api
from odoo.modules.registry import Registry
from odoo.tools import config

import data
import statement


def read(env, kind, partners):
    """What the module's report of a kind shows of the month, with its age bands; {partner id: its data}."""
    values = {
        "company_id": env.company.id,
        "partner_ids": partners.ids,
        "date_start": statement.FIRST if kind == "activity" else None,
        "date_end": statement.LAST,
        "account_type": "asset_receivable",
        "excluded_accounts_ids": [],
        "show_only_overdue": False,
        "show_aging_buckets": True,
        "aging_type": "days",
        "filter_non_due_partners": False,
        "filter_negative_balances": False,
        "is_activity": kind == "activity",
    }
    return env[f"report.partner_statement.{kind}_statement"]._get_report_values(partners.ids, values)["data"]


def main(conf, *counts):
    parsed = configparser.RawConfigParser()
    parsed.read(conf)
    database = parsed["options"]["db_name"]
    config.parse_config(["-c", conf, "-d", database], setup_logging=True)
    with Registry(database).cursor() as cr:
        env = api.Environment(cr, SUPERUSER_ID, {})
        cr.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        counts = dict(zip(("outstanding", "activity"), map(int, counts), strict=True))
        partners = data.make_partners(env, max(counts.values()), "Data")
        statement.make_entries(env, partners, statement.ENTRIES)
        found = {}
        for kind, count in counts.items():
            some = partners[:count]
            shown = read(env, kind, some)  # it also warms up
            lines = [len(values["lines"]) for one in shown.values() for values in one["currencies"].values()]
            entries = statement.ENTRIES if kind == "activity" else statement.ENTRIES // 2
            assert lines == [entries] * count, (kind, lines[:3])
            found[kind] = statement.seconds(functools.partial(read, env, kind, some), cr)
        cr.rollback()
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
