"""A run and a person at work on the same contract, with two real transactions, in every order.

The order is made by hand, not by sleeping: the run is stopped at a point, the person starts in a thread, and the run
goes on when the person is done or waits for one of the run's locks. Who is refused by the database tries again, as
Odoo does with every request. Afterwards the ledger is counted day by day (see ledger.py).
"""

import os
import random
import threading
import time
import uuid
from contextlib import contextmanager
from datetime import date, timedelta
from unittest.mock import patch

import ledger
import pytest
from psycopg2 import OperationalError

import live

DAY = timedelta(days=1)
FIRST, MARCH, APRIL = date(2026, 1, 1), date(2026, 3, 1), date(2026, 4, 1)


@pytest.fixture(scope="module")
def registry():
    from odoo.modules.registry import Registry
    from odoo.tools import config

    config.parse_config(["-c", os.environ["BILLING_CONF"], "-d", live.DATABASE, "--log-level=critical"])
    yield Registry(live.DATABASE)


@contextmanager
def transaction(registry):
    """An environment of its own; committed unless it raises."""
    from odoo import SUPERUSER_ID, api

    with registry.cursor() as cr:
        yield api.Environment(cr, SUPERUSER_ID, {"tracking_disable": True})


def again_and_again(registry, work):
    """``work(env)`` in a transaction, anew when it collides; returns how often it was refused."""
    from odoo.exceptions import ConcurrencyError

    for refused in range(5):
        try:
            with transaction(registry) as env:
                work(env)
            return refused
        except (OperationalError, ConcurrencyError):
            continue
    raise AssertionError("refused five times")


class Person(threading.Thread):
    """Does ``work`` in a transaction of its own, again when refused. ``go_on`` returns when it is done or waits."""

    def __init__(self, registry, work):
        super().__init__(daemon=True)
        self.registry, self.work = registry, work
        self.pids, self.refused, self.error = [], None, None

    def run(self):
        def work(env):
            env.cr.execute("SELECT pg_backend_pid()")
            self.pids.append(env.cr.fetchone()[0])
            self.work(env)

        try:
            self.refused = again_and_again(self.registry, work)
        except Exception as error:
            self.error = error

    def go_on(self):
        deadline = time.monotonic() + 60
        while self.is_alive() and time.monotonic() < deadline:
            with self.registry.cursor() as cr:
                cr.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s) AND wait_event_type = 'Lock'",
                    [self.pids],
                )
                if cr.fetchone()[0]:
                    return
            self.join(0.02)

    def finish(self):
        self.join(60)
        assert not self.is_alive(), "waits for ever"
        if self.error:
            raise self.error


class Case:
    """A contract with its records, made and billed up to March 1 unless told otherwise."""

    def __init__(self, registry, timing="advance", billed=True):
        self.registry = registry
        with transaction(registry) as env:
            name = f"COLLISION {uuid.uuid4()}"
            plan = env["billing.plan"].create({"name": name, "anchor": "month_end", "timing": timing})
            meter = env["billing.meter"].create({"name": name, "code": name})
            product = env["product.product"].create({"name": name, "type": "service", "taxes_id": False})
            used = {"product_id": product.id, "charge_type": "usage", "meter_id": meter.id, "price_unit": 0.37}
            partner = env["res.partner"].create({"name": name, "email": "collision@customer.example"})
            contract = env["billing.contract"].create(
                {
                    "partner_id": partner.id,
                    "plan_id": plan.id,
                    "date_start": FIRST,
                    "line_ids": [
                        (0, 0, {"product_id": product.id, "price_unit": 99.99, "quantity": 3, "discount": 7}),
                        (0, 0, used),
                    ],
                }
            )
            contract.action_activate()
            self.id, self.plan_id, self.meter, self.number = contract.id, plan.id, name, contract.name
            self.recurring, self.usage = contract.line_ids.ids
            self.record(env, 10, "2026-01-15")
            self.record(env, 20, "2026-02-15")
        if billed:
            self.bill(MARCH)

    def record(self, env, quantity, day):
        [result] = env["billing.usage"].record_batch(
            [{"external_id": f"{self.meter}/{day}/{quantity}", "meter": self.meter, "contract_id": self.id,
              "timestamp": f"{day} 12:00:00", "quantity": quantity}]
        )  # fmt: skip
        assert result["status"] in ("created", "duplicate"), result

    def contract(self, env):
        return env["billing.contract"].browse(self.id)

    def propose(self, until):
        with transaction(self.registry) as env:
            run = env["billing.run"].create({"date": until, "invoice_date": until, "contract_ids": [(6, 0, [self.id])]})
            run.action_propose()
            return run.id

    def generate(self, run):
        return again_and_again(self.registry, lambda env: env["billing.run"].browse(run).action_generate())

    def post(self):
        """All drafts of the contract, whatever the checks say of them."""

        def post(env):
            moves = self.bills(env).filtered(lambda move: move.state == "draft")
            moves.sudo().billing_exception_ids.filtered(lambda e: e.state == "open").sudo().state = "waived"
            for move in moves.sudo():
                move.billing_approved_amount = move.amount_total_signed
            moves.with_context(billing_checked=_checked())._post(soft=False)

        again_and_again(self.registry, post)

    def bill(self, until):
        run = self.propose(until)
        self.generate(run)
        self.post()

    def bills(self, env):
        return self.contract(env).move_ids.filtered(lambda move: move.state != "cancel").sorted("id")

    def outcome(self, run):
        with transaction(self.registry) as env:
            [line] = env["billing.run"].browse(run).line_ids
            return line.outcome, line.reason

    def check(self, until):
        """The next run bills what is left; then everything is as it should be."""
        self.post()
        self.bill(until)
        with transaction(self.registry) as env:
            ledger.check(env.cr, [self.id], until)
            found = self.contract(env)._compute_due_in_full(until)
            assert not [item for due in found for item in due.items if item.amount], "something is left"


def _checked():
    from odoo.addons.customer_billing.models.account_move import CHECKED

    return CHECKED


@pytest.mark.parametrize("seed", range(int(os.environ.get("LIVES", "6"))))
def test_invariant_5_any_life_ends_at_the_count_by_day(registry, seed):
    """Changes of all kinds on random days, runs between them; what is refused changes nothing."""
    from odoo.exceptions import UserError

    choose = random.Random(seed)
    case, until = Case(registry, choose.choice(("advance", "arrears")), billed=False), FIRST
    story = []
    for _number in range(choose.randrange(4, 16)):
        day = FIRST + choose.randrange(150) * DAY
        if choose.random() < 0.3:
            until = max(until, day)
            story.append(f"run {until}")
            case.bill(until)
            continue
        name, deed = choose.choice(list(LIFE.items()))
        story.append(f"{name} {day}")
        try:
            with transaction(registry) as env:
                deed(case, env, day, choose)
        except UserError:
            story[-1] += " (refused)"
    try:
        case.check(LATEST)
    except AssertionError as error:
        raise AssertionError(f"{story}: {error}") from error


def life_amend(case, env, day, choose):
    lines = case.contract(env).line_ids.filtered(lambda line: not line.date_end or line.date_end >= day)
    values = choose.choice(({"quantity": choose.randrange(1, 9)}, {"price_unit": choose.randrange(1, 999) / 100}))
    line = choose.choice(lines.sorted("id"))
    if line.meter_id:
        values = {"price_unit": choose.randrange(1, 999) / 100}
    change = choose.choice(({"line_id": line.id, **values}, {"line_id": line.id, "end": True}))
    case.contract(env).action_amend({"lines": [change], "bill_now": choose.random() < 0.3}, day)


def life_pause(case, env, day, choose):
    length = choose.choice((0, choose.randrange(60)))
    env["billing.contract.pause"].create(
        {"contract_id": case.id, "date_from": day, "date_to": day + length * DAY if length else False}
    )


def life_unpause(case, env, _day, choose):
    if pauses := case.contract(env).pause_ids.sorted("id"):
        choose.choice(pauses).unlink()


def life_resume(case, env, day, _choose):
    case.contract(env).action_resume(day)


def life_close(case, env, day, _choose):
    case.contract(env).action_close(day)


def life_reopen(case, env, _day, _choose):
    case.contract(env).date_end = False


def life_record(case, env, day, choose):
    env["billing.usage"].create(
        {"contract_id": case.id, "meter_id": env["billing.meter"].search([("code", "=", case.meter)]).id,
         "timestamp": f"{day} 11:00:00", "quantity": choose.randrange(1, 500)}
    )  # fmt: skip


def life_reverse(case, env, _day, choose):
    records = env["billing.usage"].search([("contract_id", "=", case.id)], order="id")
    choose.choice(records).action_reverse()


def life_credit(case, env, _day, choose):
    if moves := case.bills(env).filtered(lambda m: m.move_type == "out_invoice" and m.payment_state == "not_paid"):
        move = choose.choice(moves).with_context(billing_again=choose.random() < 0.5)
        move._reverse_moves([{"invoice_date": MARCH}], cancel=True)


def life_cancel(case, env, _day, choose):
    if moves := case.bills(env).filtered(lambda m: m.payment_state == "not_paid"):
        move = choose.choice(moves)
        move.button_draft()
        move.with_context(billing_again=True).button_cancel()


LIFE = {name.removeprefix("life_"): deed for name, deed in list(globals().items()) if name.startswith("life_")}


# What a person may do on a contract that is billed up to March 1, while a run up to April 1 is made. #

def amend(case, env):
    case.contract(env).action_amend({"lines": [{"line_id": case.recurring, "quantity": 4}]}, "2026-02-11")


def amend_usage(case, env):
    case.contract(env).action_amend({"lines": [{"line_id": case.usage, "price_unit": 0.5}]}, "2026-03-11")


def add_a_line(case, env):
    product = case.contract(env).line_ids[0].product_id.id
    case.contract(env).action_amend({"lines": [{"product_id": product, "price_unit": 12.34}]}, "2026-03-05")


def pause(case, env):
    case.contract(env).action_pause("2026-02-20")


def pause_and_resume(case, env):
    case.contract(env).action_pause("2026-03-10")
    case.contract(env).action_resume("2026-03-21")


def close(case, env):
    case.contract(env).action_close("2026-03-17")


def close_in_the_past(case, env):
    case.contract(env).action_close("2026-01-17")


def late_usage(case, env):
    case.record(env, 1000, "2026-02-28")


def usage_of_the_period(case, env):
    case.record(env, 77, "2026-03-31")


def reverse_usage(case, env):
    env["billing.usage"].search([("contract_id", "=", case.id), ("date", "=", "2026-01-15")]).action_reverse()


def change_the_plan(case, env):
    env["billing.plan"].browse(case.plan_id).lead_days = 3


def change_the_price(case, env):
    case.contract(env).line_ids.product_id.list_price = 1.0


def reset_to_draft(case, env):
    case.bills(env)[0].button_draft()


def cancel_a_bill(case, env):
    move = case.bills(env)[0]
    move.button_draft()
    move.with_context(billing_again=True).button_cancel()


def credit(case, env, **context):
    move = case.bills(env)[0].with_context(**context)
    move._reverse_moves([{"invoice_date": MARCH}], cancel=True)


def credit_again(case, env):
    credit(case, env, billing_again=True)


def nightly_sweep(case, env):
    case.contract(env)._sweep()


def run_beside(case, env):
    run = env["billing.run"].create({"date": "2026-05-01", "invoice_date": MARCH, "contract_ids": [(6, 0, [case.id])]})
    run.action_propose()
    run.action_generate()


DEEDS = [
    amend, amend_usage, add_a_line, pause, pause_and_resume, close, close_in_the_past, late_usage,
    usage_of_the_period, reverse_usage, change_the_plan, change_the_price, reset_to_draft, cancel_a_bill, credit,
    credit_again, nightly_sweep, run_beside,
]  # fmt: skip
LATEST = date(2026, 5, 1)


@contextmanager
def stopped_at(point, act):
    """``act()`` once, when a run gets to POINT."""
    from odoo.addons.customer_billing.models.billing_engine import BillingEngine
    from odoo.addons.customer_billing.models.billing_run import BillingRun

    owner, name = {
        "before the lock": (BillingRun, "_generate_chunk"),
        "before computing": (BillingEngine, "_compute_due"),
        "computed": (BillingEngine, "_group"),
        "booked": (BillingEngine, "_log_creation"),
    }[point]
    original, done = getattr(owner, name), []

    def stop(model, *args):
        if not done:
            done.append(True)
            if point == "before the lock":  # the transaction sees the database as it is now
                model.env.cr.execute("SELECT 1 FROM billing_charge LIMIT 1")
            act()
        return original(model, *args)

    with patch.object(owner, name, stop):
        yield
    assert done, "the run did not get there"


def no_failure(case, run):
    outcome, reason = case.outcome(run)
    assert outcome in ("billed", "held", "nothing", "proposed"), f"recorded as bad data: {outcome}, {reason}"


@pytest.mark.parametrize(
    ("point", "timing"),
    [
        ("before the lock", "arrears"),
        ("before computing", "advance"),
        ("computed", "advance"),
        ("computed", "arrears"),
        ("booked", "advance"),
    ],
)
@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
def test_invariant_1_a_person_acts_while_a_run_is_made(registry, deed, point, timing):
    case = Case(registry, timing)
    run = case.propose(APRIL)
    person = Person(registry, lambda env: deed(case, env))

    def act():
        person.start()
        person.go_on()

    with stopped_at(point, act):
        case.generate(run)
    person.finish()
    no_failure(case, run)
    case.check(LATEST)


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
def test_invariant_1_a_run_is_made_while_a_person_acts(registry, deed):
    """The person has changed but not saved yet; the run comes by, and is done first."""
    case = Case(registry)
    run = case.propose(APRIL)
    runs = []

    def act(env):
        deed(case, env)
        env.flush_all()
        if not runs:
            helper = Person(registry, lambda other: other["billing.run"].browse(run).action_generate())
            runs.append(helper)
            helper.start()
            helper.go_on()

    again_and_again(registry, act)
    runs[0].finish()
    no_failure(case, run)
    case.check(LATEST)


@pytest.mark.parametrize("point", ["before the lock", "before computing", "computed", "booked"])
@pytest.mark.parametrize("other_date", [APRIL, LATEST], ids=["the same date", "another date"])
def test_invariant_1_two_runs_over_the_same_contract(registry, point, other_date):
    case = Case(registry)
    first, second = case.propose(APRIL), case.propose(other_date)
    other = Person(registry, lambda env: env["billing.run"].browse(second).action_generate())

    def act():
        other.start()
        other.go_on()

    with stopped_at(point, act):
        case.generate(first)
    other.finish()
    for run in (first, second):
        no_failure(case, run)
    case.check(LATEST)
