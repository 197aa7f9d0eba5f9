"""Dunning: whatever happens, nobody is asked twice for a step, nor for an earlier one, nor for what is not owed."""

import doctest
from datetime import date, timedelta

from collection_tools import dunning
from collection_tools.dunning import Calendar, Item, Policy, Step
from hypothesis import given
from hypothesis import strategies as st

DAY = timedelta(days=1)
START = date(2026, 1, 1)
WEEK = Calendar(frozenset((kind, day) for kind in (0, 1) for day in range(5)), frozenset([date(2026, 1, 1)]))

days = st.integers(0, 120).map(lambda number: START + number * DAY)
cents = st.integers(-50_000, 50_000).filter(bool).map(lambda number: number / 100)
calendars = st.sampled_from([Calendar(), WEEK])
steps = st.lists(
    st.tuples(st.integers(-15, 60), st.booleans(), st.sampled_from([0.0, 20.0, 200.0])),
    max_size=6,
    unique_by=lambda step: step[0],
).map(lambda found: tuple(Step(days, days, working, least) for days, working, least in sorted(found)))
exclusions = st.sampled_from([None, None, None, "dispute", "promise", "transit"])


@st.composite
def policies(draw):
    return Policy(draw(steps), draw(st.sampled_from([0.0, 50.0])), draw(calendars))


@st.composite
def items(draw):
    return [
        Item(key, draw(days), amount := draw(cents), amount, draw(exclusions) if amount > 0 else None)
        for key in range(draw(st.integers(0, 6)))
    ]


@given(policies(), items(), days, st.integers(0, 60))
def test_invariant_14_a_demand_is_owed_and_due(policy, found, today, reached):
    demand = dunning.demand_overdue(found, policy, today, reached)
    if demand is None or demand.reason:
        return
    by_key = {item.key: item for item in found}
    listed = [by_key[key] for key in demand.keys]
    debts = [item for item in listed if item.amount > 0]
    assert debts and all(item.due < today and not item.excluded for item in debts)
    assert {item.key for item in found if item.amount < 0} <= set(demand.keys)
    assert round(sum(item.amount for item in listed), 2) == round(demand.amount, 2) > 0
    assert demand.step.days > reached
    owed = [item for item in dunning.uncovered(found) if item in debts]
    assert policy.step_day(demand.step, min(item.due for item in owed)) <= today
    assert demand.amount_company >= max(policy.minimum, demand.step.minimum) - 0.01


@given(items())
def test_credits_cover_the_oldest_items(found):
    owed = dunning.uncovered(found)
    free = [item for item in found if item.amount > 0 and not item.excluded]
    covered, left = [i for i in free if i not in owed], [i for i in free if i in owed]
    credit = -sum(item.amount for item in found if item.amount < 0)
    assert sum(item.amount for item in covered) <= credit + 0.01
    assert not left or sum(item.amount for item in covered) + min(left, key=lambda i: (i.due, i.key)).amount > credit
    assert all((one.due, one.key) < (other.due, other.key) for one in covered for other in left)
    assert {item.key for item in owed} == {i.key for i in left} | {i.key for i in found if i.excluded}


@given(policies(), items(), st.lists(days, min_size=1, max_size=30))
def test_invariant_14_steps_never_go_back_and_come_once(policy, found, nights):
    reached, done = 0, []
    for today in sorted(nights):
        demand = dunning.demand_overdue(found, policy, today, reached, done)
        if demand and not demand.reason:
            assert demand.step.days > reached and demand.step.key not in done
            reached = demand.step.days
            done.append(demand.step.key)
    assert done == sorted(set(done))


@given(policies(), days, days)
def test_invariant_14_the_highest_step_after_a_pause(policy, due, today):
    found = [Item(1, due, 1000.0, 1000.0)]
    demand = dunning.demand_overdue(found, policy, today)
    late = [step.days for step in policy.steps if step.days > 0 and policy.step_day(step, due) <= today]
    expected = max(late, default=None) if due < today else None
    assert (demand and demand.step.days) == expected


@given(policies(), items(), st.lists(days, min_size=1, max_size=30))
def test_invariant_14_a_due_date_is_reminded_of_by_each_step_once(policy, found, nights):
    covered, told = {}, []
    by_key = {item.key: item for item in found}
    for today in sorted(nights):
        for demand in dunning.demand_reminders(found, policy, today, covered):
            if demand.reason:
                continue
            listed = [by_key[key] for key in demand.keys]
            assert abs(sum(item.amount for item in listed) - demand.amount) < 0.001
            debts = [item for item in listed if item.amount > 0]
            assert not any(item.excluded for item in debts)
            first = by_key[demand.keys[0]].due  # what is due before is listed beside its credits
            for due in {item.due for item in debts if item.due >= first}:
                assert demand.step.days > covered.get(due, -100)
                covered[due] = demand.step.days
                told.append((due, demand.step.key))
    assert len(told) == len(set(told))


@given(
    st.sets(st.integers(-15, 0), min_size=2, max_size=4),
    st.lists(st.tuples(st.integers(-5, 15), cents), min_size=2, max_size=6),
)
def test_invariant_14_a_credit_is_deducted_once_in_a_night(before, amounts):
    today = START
    policy = Policy(tuple(Step(number, number) for number in sorted(before)))
    found = [Item(key, today + due * DAY, amount, amount) for key, (due, amount) in enumerate(amounts)]
    by_key = {item.key: item for item in found}
    overdue = sum(item.amount for item in found if item.amount > 0 and item.due < today and not item.excluded)
    credit = -sum(item.amount for item in found if item.amount < 0)
    deducted = 0.0
    for demand in dunning.demand_reminders(found, policy, today):
        first = by_key[demand.keys[0]].due
        own = [by_key[key] for key in demand.keys if by_key[key].amount > 0 and by_key[key].due >= first]
        total = sum(item.amount for item in own)
        deducted += min(total - demand.amount, total)
    assert deducted <= max(credit - overdue, 0.0) + 0.001


@given(st.lists(st.integers(1, 50_000), min_size=1, max_size=6))
def test_credits_that_settle_what_is_due_before_are_not_listed(amounts):
    debts = [Item(key, START, amount / 100, amount / 100) for key, amount in enumerate(amounts)]
    credits = [Item(key + 100, START, -amount / 100, -amount / 100) for key, amount in enumerate(sorted(amounts))]
    later = Item(200, START + 5 * DAY, 9.99, 9.99)
    found = dunning.demand_reminders([*debts, *credits, later], Policy((Step(1, -3),)), START + 3 * DAY)
    assert [(demand.keys, demand.amount) for demand in found] == [((200,), 9.99)]


@given(policies(), days)
def test_no_step_on_a_day_off(policy, due):
    for step in policy.steps:
        day = policy.step_day(step, due)
        assert policy.calendar.is_working(day)
        assert day >= due + step.days * DAY if step.days > 0 else day <= due + step.days * DAY


@given(policies(), days, st.integers(0, 200))
def test_reminders_begin_within_the_horizon(policy, due, before):
    if policy.is_reminded(due, due - before * DAY):
        assert before <= policy.horizon


@given(calendars, days, st.integers(-20, 20))
def test_working_days_are_counted(calendar, day, count):
    found = calendar.add(day, count)
    between = [day + n * DAY for n in range(1, (found - day).days + 1)]
    if count < 0:
        between = [found + n * DAY for n in range((day - found).days)]
    assert sum(calendar.is_working(each) for each in between) == abs(count)


@given(
    st.dictionaries(st.integers(0, 5), st.integers(1, 10_000).map(float), max_size=5),
    st.lists(st.tuples(st.integers(1, 20_000).map(float), st.lists(st.integers(0, 5), max_size=3)), max_size=4),
)
def test_what_is_on_its_way_is_counted_once(amounts, payments):
    allocated = dunning.allocate_transit(amounts, payments)
    sums = {key: sum(parts.values()) for key, parts in allocated.items()}
    assert sum(sums.values()) == min(sum(amounts.values()), sum(amount for amount, _named in payments))
    assert all(0 < amount <= amounts[key] for key, amount in sums.items())
    for position, (amount, _named) in enumerate(payments):
        assert sum(parts.get(position, 0) for parts in allocated.values()) <= amount


@given(
    st.floats(-1e6, 1e9),
    st.integers(-50, 5000),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 1e6),
    st.integers(0, 60),
)
def test_priority_grows_with_amount_and_age(amount, age, late, broken, more, older):
    base = dunning.priority(amount, age, late, broken)[0]
    assert 0 <= base <= dunning.MAX_PRIORITY
    assert dunning.priority(amount + more, age, late, broken)[0] >= base
    assert dunning.priority(amount, age + older, late, broken)[0] >= base


def test_doctests_run_and_pass():
    result = doctest.testmod(dunning)
    assert result.attempted > 20 and not result.failed
