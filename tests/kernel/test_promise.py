"""Money counts once, a promise is decided by it, an agreement is broken by the first part that is missed."""

import ast
import doctest
import importlib.util
import sys
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

TOOLS = Path(__file__).parents[2] / "addons" / "customer_billing_collection" / "tools"
CENT = Decimal("0.01")
START = date(2026, 1, 1)


def load(name):
    spec = importlib.util.spec_from_file_location(f"collection_{name}", TOOLS / f"{name}.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


promise, instalment = load("promise"), load("instalment")
DAYS = st.integers(0, 40).map(lambda days: START + timedelta(days=days))
AMOUNTS = st.integers(1, 50_000).map(lambda cents: cents * CENT)
ITEMS = st.sampled_from("abc")
MONEY = st.lists(st.builds(promise.Money, ITEMS, DAYS, AMOUNTS), max_size=8)
SHARES = st.sampled_from([Decimal("0.5"), Decimal("0.95"), Decimal(1)])


@st.composite
def promises(draw):
    found = []
    for key in range(draw(st.integers(1, 4))):
        first = draw(DAYS)
        last = first + timedelta(days=draw(st.integers(0, 20)))
        found.append(promise.Promise(key, first, last, draw(AMOUNTS), draw(st.frozensets(ITEMS, max_size=2))))
    return found


@pytest.mark.parametrize("module", [promise, instalment])
def test_examples_run(module):
    result = doctest.testmod(module)
    assert result.attempted and not result.failed


@pytest.mark.parametrize("name", ["promise", "instalment"])
def test_kernels_know_no_odoo_and_no_clock(name):
    tree = ast.parse((TOOLS / f"{name}.py").read_text())
    names = {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert "odoo" not in names
    assert not {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & {"today", "now"}


@given(promises(), MONEY)
def test_money_counts_once_and_within_its_days(found, money):
    paid = promise.allot(found, money)
    assert sum(paid.values()) <= sum(entry.amount for entry in money)
    for each in found:
        fitting = [
            entry.amount for entry in money
            if each.first <= entry.day <= each.last and (not each.items or entry.item in each.items)
        ]
        assert 0 <= paid[each.key] <= min(each.amount, sum(fitting))


@given(promises(), MONEY, st.randoms())
def test_the_order_of_promises_and_of_money_changes_nothing(found, money, random):
    paid = promise.allot(found, money)
    shuffled = list(found)
    random.shuffle(shuffled)
    assert promise.allot(shuffled, money) == paid


@given(promises(), MONEY)
def test_one_promise_gets_all_that_fits(found, money):
    each = found[0]
    fitting = sum(
        entry.amount for entry in money
        if each.first <= entry.day <= each.last and (not each.items or entry.item in each.items)
    )
    assert promise.allot([each], money) == {each.key: min(each.amount, fitting)}


@given(promises(), AMOUNTS, SHARES, DAYS)
def test_a_decision_depends_on_money_and_day_alone(found, paid, share, today):
    each = found[0]
    state = promise.decide(each, paid, share, today)
    assert (state == "kept") == (paid >= each.amount * share)
    assert (state == "open") == (paid < each.amount * share and today <= each.last)
    assert promise.decide(each, Decimal(0), share, today) in ("open", "broken")


@given(st.lists(AMOUNTS, max_size=8), AMOUNTS, SHARES)
def test_items_are_covered_from_the_oldest_on(residuals, amount, share):
    items = list(enumerate(residuals))
    found = promise.covered(items, amount, share)
    assert found == set(range(len(found)))
    assert sum(residuals[: len(found)]) * share <= amount
    if len(found) < len(items):
        assert sum(residuals[: len(found) + 1]) * share > amount


@given(AMOUNTS, st.integers(1, 60), st.sampled_from([CENT, Decimal("0.05"), Decimal(1)]))
def test_parts_add_up_and_only_the_last_differs(total, count, rounding):
    total = total // rounding * rounding
    if total < count * rounding:
        with pytest.raises(ValueError):
            instalment.split(total, count, rounding)
        return
    parts = instalment.split(total, count, rounding)
    assert len(parts) == count and sum(parts) == total
    assert len(set(parts[:-1])) <= 1 and parts[-1] >= parts[0] > 0
    assert parts[-1] - parts[0] < count * rounding
    assert all(part % rounding == 0 for part in parts)


@given(DAYS, st.integers(1, 24), st.integers(1, 3))
def test_days_do_not_drift(first, count, interval):
    days = instalment.days(first, count, interval, "month")
    assert days[0] == first and days == sorted(set(days))
    for day in days:
        assert day.day == first.day or (day.day < first.day and (day + timedelta(days=1)).day == 1)
    weeks = instalment.days(first, count, interval, "week")
    assert {(b - a).days for a, b in zip(weeks, weeks[1:], strict=False)} <= {7 * interval}


@given(AMOUNTS.filter(lambda amount: amount >= 1), st.integers(1, 12), AMOUNTS, st.integers(0, 5), st.integers(0, 500))
def test_broken_means_less_paid_than_was_due(total, count, paid, grace, later):
    today = START + timedelta(days=later)
    parts = instalment.schedule(total, START, count, 1, "month", CENT)
    due = sum(part.amount for part in parts if part.day + timedelta(days=grace) < today)
    assert sum(instalment.settled(parts, paid)) == min(total, paid)
    assert (instalment.missed(parts, paid, grace, today) is not None) == (paid < due)


@given(promises(), MONEY, AMOUNTS)
def test_credits_lower_what_is_needed_and_late_money_does_not(found, money, left):
    for each in found:
        came = sum(entry.amount for entry in money if entry.item in each.items and entry.day >= each.first)
        needed = promise.needed(each, money, left)
        assert needed == min(each.amount, left + came)
        in_time = promise.allot([each], money)[each.key] if each.items else Decimal(0)
        assert in_time <= needed, "what came is never more than what was needed"
        more = [*money, promise.Money("x", each.first, Decimal(1))]
        assert each.items or promise.needed(each, more, left) == needed
