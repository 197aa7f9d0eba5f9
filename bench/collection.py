"""Collections, measured: collection.py CONFIG [OCA_CONFIG [CUSTOMERS]].

CONFIG is of a database with customer_billing_collection, OCA_CONFIG of one with the OCA's account_credit_control; pass
- for none. All that it makes is rolled back. It measures:
- the night of CUSTOMERS customers with 10 overdue bills each: cases open, the notices that are due are proposed; then a
  second night, in which nothing happened;
- the SQL statements of a night for 500 more customers;
- interest through yesterday of 1,000 customers with 10,000 items;
- the same first night for 1,000 customers beside a run of the OCA's module.

With WRITE=1 a section of docs/benchmarks.md is appended.
"""

import configparser
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

from odoo import SUPERUSER_ID, Command, api, fields
from odoo.modules.registry import Registry
from odoo.tools import config

import open_items  # prepares the import of all else
import page
from worker import Meter

CHUNK, FEW = 500, 1000  # customers
GOAL, INTEREST_GOAL = 20.0, 5.0  # seconds


def make_policy(env):
    """Steps by mail from 3 days before to 60 days after the due date, for every customer of the company."""
    env.company.billing_dunning_policy_id = env["billing.dunning.policy"].create(
        {
            "name": "Bench",
            "calendar_id": False,
            "interest_rate": 0.08,
            "step_ids": [
                Command.create({"name": f"Step {days}", "days": days}) for days in (-3, 3, 10, 20, 30, 60)
            ],
        }
    )


def night(env, meter):
    """What a night takes."""
    company = env.company
    company.write({"billing_dunning_date": False, "billing_dunning_partner": 0})
    env.flush_all()
    env.invalidate_all()
    cron = env.registry["ir.cron"]
    with meter.measure() as result, patch.object(cron, "_commit_progress", lambda *_a, **_k: float("inf")):
        assert env["billing.case"]._work_night(company)
        env.flush_all()
    result["used"] = result["python"] + result["database"]
    return result


def measure_night(env, meter, count):
    """The first night and the second one of COUNT customers."""
    with env.cr.savepoint(flush=False) as savepoint:
        partners = open_items.make(env, count)
        first = night(env, meter)
        cases = env["billing.case"].search([("partner_id", "in", partners.ids)])
        assert len(cases) == len(cases.notice_ids) == count, (len(cases), len(cases.notice_ids))
        assert set(cases.notice_ids.step_id.mapped("days")) == {60}, "the highest step, once"
        second = night(env, meter)
        assert env["billing.dunning.notice"].search_count([("case_id", "in", cases.ids)]) == count
        interest = measure_interest(env, meter, cases[:FEW]) if count >= FEW else None
        savepoint.rollback()
    env.invalidate_all(flush=False)
    return first, second, interest


def measure_interest(env, meter, cases):
    """Interest of the first customers through yesterday."""
    env.invalidate_all()
    with meter.measure() as result:
        entries = env["billing.interest"]._accrue(env.company, fields.Date.today() - timedelta(days=1), cases)
        env.flush_all()
    assert len(entries.move_line_id) == open_items.ITEMS * len(cases)
    result["used"] = result["python"] + result["database"]
    return result


def bench_oca(conf):
    """What a run of the OCA's module takes for FEW customers, in its own process."""
    command = [sys.executable, Path(__file__).with_name("oca_collection.py"), conf, str(FEW)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def describe(count, large, few, growth, oca):
    first, second, interest = large
    items = count * open_items.ITEMS

    def row(title, result, goal=None):
        reached = result["wall"] <= goal if goal else None
        limit = f"≤ {goal:.0f}, wall" if goal else ""
        return page.goal(title, f"{result['wall']:.1f}", f"{result['used']:.1f}", limit, reached)

    yield row(f"proposal: {count:,} customers, {items:,} overdue bills, s", first, GOAL if count >= 10000 else None)
    yield row("the night after, nothing happened, s", second)
    statements = f"{growth[0]} and {growth[1]}"
    title = f"SQL statements for {CHUNK} more customers, from {CHUNK} and from {2 * CHUNK}"
    yield page.goal(title, statements, "", "constant", growth[0] == growth[1])
    if interest:
        yield row(f"interest on {FEW * open_items.ITEMS:,} items, s", interest, INTEREST_GOAL)
    if oca:
        title = f"OCA account_credit_control, a run for {FEW:,} customers, s; our proposal"
        both = [(oca[name], few[name]) for name in ("wall", "used")]
        yield page.goal(title, *(f"{theirs:.1f}; {ours:.1f}" for theirs, ours in both), "", None)
        yield page.goal("OCA ÷ ours", *(f"{theirs / ours:.1f}" for theirs, ours in both), "", None)


def main(conf, oca_conf="-", count="10000"):
    parsed = configparser.RawConfigParser()
    parsed.read(conf)
    database, count = parsed["options"]["db_name"], int(count)
    config.parse_config(["-c", conf, "-d", database], setup_logging=True)
    with Registry(database).cursor() as cr:
        env = api.Environment(cr, SUPERUSER_ID, {})
        meter = Meter(cr)
        make_policy(env)
        env.flush_all()  # what follows is rolled back
        measure_night(env, meter, 50)  # warms up
        small = [measure_night(env, meter, size)[0] for size in (CHUNK, 2 * CHUNK, 3 * CHUNK)]
        growth = [later["statements"] - sooner["statements"] for sooner, later in zip(small, small[1:], strict=False)]
        large = measure_night(env, meter, count)
        cr.rollback()
    oca = None if oca_conf == "-" else bench_oca(oca_conf)
    page.append(
        "Collections",
        f"Customers with {open_items.ITEMS} overdue bills each. The OCA's module makes a line for each bill, ours a "
        f"case and one notice for each customer; neither prints or sends here. Load of the machine at the end "
        f"{os.getloadavg()[2]:.1f}.",
        "",
        *page.HEAD,
        *describe(count, large, small[1], growth, oca),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
