"""One side of a measurement: worker.py CONFIG DATABASE KIND BILLS, inside Odoo.

Each line on standard input is a command, with its arguments; the answer is one line of JSON. Rounds of several
workers are interleaved by whoever starts them, so that noise on the machine meets all sides alike. Time of the
processor is that of this process and of its database connection; it is what to compare on a busy machine.
"""

import contextlib
import gc
import json
import resource
import sys
import time

import psutil

from odoo import SUPERUSER_ID, Command, api, fields
from odoo.modules.registry import Registry
from odoo.tools import config

import data

BATCH = 100  # bills that the plain side creates and posts together


class Meter:
    """Wall clock, processor time of both processes, statements and memory, between two points."""

    def __init__(self, cr):
        self.cr = cr
        self.process = psutil.Process()
        cr.execute("SELECT pg_backend_pid(), inet_server_addr() IS NULL")
        pid, local = cr.fetchone()
        self.backend = None
        if local and psutil.pid_exists(pid):
            self.backend = psutil.Process(pid)

    def read(self):
        backend = self.backend.cpu_times() if self.backend else None
        return {
            "wall": time.perf_counter(),
            "python": time.process_time(),
            "database": backend.user + backend.system if backend else 0.0,
            "statements": self.cr.sql_log_count,
            "memory": self.process.memory_info().rss / 2**20,
        }

    @contextlib.contextmanager
    def measure(self, **values):
        gc.collect()
        result, before = values, self.read()
        yield result
        after = self.read()
        result.update({key: after[key] - before[key] for key in after})
        result["peak"] = after["memory"]


class Side:
    """What all sides share: customers, one tax, three products."""

    def __init__(self, env, count):
        self.env, self.count, self.month = env, count, 0
        if not env.company.chart_template:
            env["account.chart.template"].try_loading("generic_coa", env.company, install_demo=False)
        self.tax, self.products = data.make_masters(env)
        self.partners = data.make_partners(env, count)
        self.prepare()
        env.cr.commit()
        env.cr.execute("ANALYZE")
        env.cr.commit()
        self.meter = Meter(env.cr)

    def prepare(self):
        """What exists before the bills are made."""

    def next_date(self):
        self.month += 1
        return fields.Date.add(fields.Date.to_date(data.DATE), months=self.month - 1)

    def bills(self):
        """One round: every customer gets one posted bill."""
        date = self.next_date()
        self.env.invalidate_all()
        with self.meter.measure(bills=self.count) as result:
            self.make_bills(date)
        return result


class Plain(Side):
    """The same bills by the plain ORM, created and posted in batches, each its own commit."""

    def make_bills(self, date):
        lines = [
            {
                "product_id": product.id,
                "quantity": quantity,
                "price_unit": product.list_price,
                "tax_ids": [Command.set(self.tax.ids)],
            }
            for quantity, product in enumerate(self.products, start=1)
        ]
        for start in range(0, self.count, BATCH):
            moves = self.env["account.move"].create(
                [
                    {
                        "move_type": "out_invoice",
                        "partner_id": partner.id,
                        "invoice_date": date,
                        "invoice_line_ids": [Command.create(dict(line)) for line in lines],
                    }
                    for partner in self.partners[start : start + BATCH]
                ]
            )
            moves.action_post()
            self.env.cr.commit()


class Ours(Side):
    """A run: its job books the charges and the bills, and posts them."""

    def prepare(self):
        self.plan = self.env["billing.plan"].create({"name": "Bench monthly"})
        data.make_contracts(self.env, self.plan, self.products, self.partners)

    def propose(self, date, plans=None):
        """A proposed run, as the job makes it."""
        plans = plans or self.plan
        run = self.env["billing.run"].create(
            {"date": date, "invoice_date": date, "plan_ids": [Command.set(plans.ids)]}
        )
        run.write({"state": "proposed", "job": "propose"})
        self.env.cr.commit()
        run._work()
        return run

    def work(self, run, job):
        run.job = job
        self.env.cr.commit()
        run._work()

    def bill(self, run):
        self.work(run, "generate")
        run.action_approve()
        self.work(run, "post")
        assert run.state == "posted", run.state

    def bills(self):
        run = self.propose(self.next_date())
        self.env.invalidate_all()
        with self.meter.measure(bills=self.count) as result:
            self.bill(run)
        return result

    def proposal(self):
        """The preview of all contracts."""
        with self.meter.measure(bills=self.count) as result:
            run = self.propose(self.next_date())
        assert run.bill_count == self.count, run.bill_count
        run.action_cancel()
        self.env.cr.commit()
        self.month -= 1
        return result


class Scale(Ours):
    """Runs over many contracts, which other workers made; two plans have half of them each."""

    PLANS = ("Bench half A", "Bench half B")

    def __init__(self, env, count):
        self.env, self.meter = env, Meter(env.cr)
        self.plans = env["billing.plan"].search([("name", "in", self.PLANS)], order="name")

    def get_month(self):
        """The first day that all contracts are billed for next."""
        [[date]] = self.env["billing.contract"]._read_group(
            [("plan_id", "in", self.plans.ids)], [], ["next_bill_date:max"]
        )
        return date or fields.Date.to_date(data.DATE)

    def make(self, count):
        """Add contracts until there are ``count``."""
        self.plans = self.plans or self.env["billing.plan"].create(
            [{"name": name} for name in self.PLANS]
        )
        start = self.get_month()
        _tax, products = data.make_masters(self.env)
        for plan in self.plans:
            there = self.env["billing.contract"].search_count([("plan_id", "=", plan.id)])
            partners = data.make_partners(self.env, int(count) // len(self.plans) - there)
            data.make_contracts(self.env, plan, products, partners, start)
            self.env.cr.commit()
        self.env.cr.execute("ANALYZE")
        self.env.cr.commit()
        return {}

    def start(self, half=None):
        """Propose a run over all contracts, or over one half."""
        plans = self.plans if half is None else self.plans[int(half)]
        count = self.env["billing.contract"].search_count([("plan_id", "in", plans.ids)])
        date = self.get_month()
        self.env.invalidate_all()
        with self.meter.measure(bills=count) as result:
            self.run = self.propose(date, plans)
        assert self.run.bill_count == count, self.run.bill_count
        return result

    def finish(self):
        """Make and post the bills of the proposed run; ``top`` is the most memory ever used."""
        self.env.invalidate_all()
        with self.meter.measure(bills=self.run.bill_count) as result:
            self.bill(self.run)
        return {**result, "top": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10}


class Oca(Side):
    """The contract module of the OCA: drafts in one transaction as its own job makes them, then posted."""

    def prepare(self):
        self.contracts = self.env["contract.contract"].create(
            [
                {
                    "name": f"Bench {partner.id}",
                    "partner_id": partner.id,
                    "line_recurrence": True,
                    "recurring_rule_type": "monthly",
                    "recurring_interval": 1,
                    "date_start": data.DATE,
                    "recurring_next_date": data.DATE,
                    "contract_line_ids": [
                        Command.create(
                            {
                                "product_id": product.id,
                                "name": product.name,
                                "quantity": quantity,
                                "price_unit": product.list_price,
                                "uom_id": product.uom_id.id,
                                "recurring_rule_type": "monthly",
                                "recurring_interval": 1,
                                "date_start": data.DATE,
                                "recurring_next_date": data.DATE,
                            }
                        )
                        for quantity, product in enumerate(self.products, start=1)
                    ],
                }
                for partner in self.partners
            ]
        )

    def make_bills(self, date):
        moves = self.contracts._recurring_create_invoice(date)
        assert len(moves) == self.count, len(moves)
        assert len(moves.invoice_line_ids) == self.count * data.LINES
        for start in range(0, self.count, BATCH):
            moves[start : start + BATCH].action_post()
        self.env.cr.commit()


KINDS = {"ours": Ours, "plain": Plain, "oca": Oca, "scale": Scale}


def main(conf, database, kind, count):
    config.parse_config(["-c", conf, "-d", database], setup_logging=True)
    registry = Registry(database)
    with registry.cursor() as cr:
        side = KINDS[kind](api.Environment(cr, SUPERUSER_ID, {}), int(count))
        print(json.dumps({"ready": kind}), flush=True)
        for line in sys.stdin:
            command, *arguments = line.split()
            print(json.dumps(getattr(side, command)(*arguments)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
