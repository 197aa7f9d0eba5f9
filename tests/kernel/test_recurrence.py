"""Boundaries and slots, compared with a walk through the calendar day by day."""

from calendar import monthrange
from datetime import date, timedelta
from itertools import islice

import pytest
from billing_tools.recurrence import (
    Cycle,
    Slot,
    anchor_date,
    bill_date,
    boundary,
    index_of,
    slots,
)
from dateutil.relativedelta import relativedelta
from hypothesis import assume, example, given
from hypothesis import strategies as st

ONE_DAY = timedelta(days=1)
MONTHLY, YEARLY = Cycle(1, "month"), Cycle(1, "year")

plain_cycles = st.builds(
    Cycle, st.integers(1, 40), st.sampled_from(["day", "week", "month", "year"])
)
month_cycles = st.builds(
    Cycle,
    st.integers(1, 18),
    st.sampled_from(["month", "year"]),
    st.sampled_from(["start", "day", "month_end"]),
    st.integers(1, 31),
)
cycles = plain_cycles | month_cycles
# Ends of months and leap days come up much more often than by chance.
edge_days = st.builds(
    lambda year, month, back: date(year, month, monthrange(year, month)[1]) - back * ONE_DAY,
    st.integers(1996, 2040),
    st.integers(1, 12),
    st.integers(0, 3),
)
starts = st.dates(date(1996, 1, 1), date(2040, 12, 31)) | edge_days
ks = st.integers(-12, 60)


def texts(cycle, start, indexes):
    return [str(boundary(cycle, start, k)) for k in indexes]


def begins_month_period(cycle, start, day):
    """Tell whether periods may begin on ``day``, by looking at this day and the next alone."""
    nominal = {"start": start.day, "day": cycle.anchor_day, "month_end": 1}[cycle.anchor]
    is_last = (day + ONE_DAY).day == 1
    return day.day == nominal or (is_last and day.day < nominal)


# --- known answers ---


def test_invariant_4_31_january_monthly():
    expected = ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]
    assert texts(MONTHLY, date(2026, 1, 31), range(5)) == expected
    assert boundary(MONTHLY, date(2028, 1, 31), 1) == date(2028, 2, 29)


def test_invariant_4_29_february_comes_back():
    expected = ["2024-02-29", "2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"]
    assert texts(YEARLY, date(2024, 2, 29), range(5)) == expected


def test_invariant_4_day_30_is_not_the_last_day():
    expected = ["2026-01-30", "2026-02-28", "2026-03-30", "2026-04-30", "2026-05-30"]
    assert texts(Cycle(1, "month", "day", 30), date(2026, 1, 10), range(5)) == expected
    assert texts(MONTHLY, date(2026, 1, 30), range(5)) == expected
    last = ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]
    assert texts(Cycle(1, "month", "day", 31), date(2026, 1, 10), range(5)) == last


def test_invariant_4_an_anchor_cut_by_a_short_month_stays_nominal():
    cycle = Cycle(1, "month", "day", 31)
    assert texts(cycle, date(2026, 2, 10), range(3)) == ["2026-02-28", "2026-03-31", "2026-04-30"]


def test_invariant_4_month_end_periods_end_with_the_month():
    cycle = Cycle(3, "month", "month_end")
    assert texts(cycle, date(2026, 1, 5), (-1, 0, 1)) == ["2025-11-01", "2026-02-01", "2026-05-01"]
    assert anchor_date(cycle, date(2026, 1, 1)) == date(2026, 1, 1)


@pytest.mark.parametrize(
    ("start", "day", "anchor"),
    [
        ("2026-01-15", 15, "2026-01-15"),
        ("2026-01-16", 15, "2026-02-15"),
        ("2026-01-14", 15, "2026-01-15"),
        ("2026-12-16", 15, "2027-01-15"),
        ("2026-02-28", 30, "2026-02-28"),
        ("2024-02-28", 30, "2024-02-29"),
        ("2026-01-31", 30, "2026-02-28"),
        ("2026-04-30", 31, "2026-04-30"),
    ],
)
def test_anchor_day(start, day, anchor):
    cycle = Cycle(1, "month", "day", day)
    assert anchor_date(cycle, date.fromisoformat(start)) == date.fromisoformat(anchor)


def test_5_january_to_15_march_in_arrears():
    start = date(2026, 1, 5)
    found = list(slots(MONTHLY, start, start, date(2026, 3, 16), None, date(2030, 1, 1)))
    billed = [(str(s.start), str(s.end - ONE_DAY), str(bill_date(s, "arrears"))) for s in found]
    assert billed == [
        ("2026-01-05", "2026-02-04", "2026-02-05"),
        ("2026-02-05", "2026-03-04", "2026-03-05"),
        ("2026-03-05", "2026-03-15", "2026-03-16"),
    ]
    assert (found[-1].period_start, found[-1].period_end) == (date(2026, 3, 5), date(2026, 4, 5))


def test_the_stub_before_the_anchor_belongs_to_the_period_before():
    cycle, start = Cycle(1, "month", "day", 15), date(2026, 1, 5)
    stub, full = islice(slots(cycle, start, start, None, None, date(2026, 12, 31)), 2)
    assert stub == Slot(start, date(2026, 1, 15), date(2025, 12, 15), date(2026, 1, 15))
    assert full == Slot(*2 * (date(2026, 1, 15), date(2026, 2, 15)))


def test_a_line_added_later_keeps_the_contract_anchor():
    found = next(
        slots(MONTHLY, date(2026, 1, 31), date(2026, 4, 10), None, None, date(2026, 12, 31))
    )
    assert found == Slot(date(2026, 4, 10), date(2026, 4, 30), date(2026, 3, 31), date(2026, 4, 30))


def test_bill_date():
    slot = Slot(date(2026, 3, 5), date(2026, 3, 16), date(2026, 3, 5), date(2026, 4, 5))
    assert bill_date(slot, "advance") == date(2026, 3, 5)
    assert bill_date(slot, "advance", 5) == date(2026, 2, 28)
    assert bill_date(slot, "arrears", 5) == date(2026, 3, 16)


# --- refused ---


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0, "month"), "interval is 0"),
        ((-1, "day"), "interval is -1"),
        ((1, "quarter"), "Unknown unit 'quarter'"),
        ((1, "month", "last"), "Unknown anchor 'last'"),
        ((1, "month", "day", 0), "anchor day is 0"),
        ((1, "year", "day", 32), "anchor day is 32"),
        ((1, "week", "day", 1), "use the anchor 'start'"),
        ((1, "day", "month_end"), "use the anchor 'start'"),
    ],
)
def test_cycles_without_meaning_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Cycle(*values)


def test_bill_date_refuses_what_it_does_not_know():
    slot = Slot(*2 * (date(2026, 3, 5), date(2026, 4, 5)))
    with pytest.raises(ValueError, match="Unknown timing 'later'"):
        bill_date(slot, "later")
    with pytest.raises(ValueError, match="lead is -1 days"):
        bill_date(slot, "advance", -1)


@pytest.mark.parametrize("cycle", [Cycle(1, "day"), Cycle(1, "week"), MONTHLY, YEARLY])
@pytest.mark.parametrize("k", [-(10**7), 10**7, 10**12])
def test_the_end_of_the_calendar_is_named(cycle, k):
    with pytest.raises(ValueError, match="outside the calendar"):
        boundary(cycle, date(2026, 1, 1), k)


def test_the_first_and_the_last_year_of_the_calendar_are_usable():
    start = date(2026, 1, 31)
    assert boundary(YEARLY, start, 9999 - 2026) == date(9999, 1, 31)
    assert boundary(YEARLY, start, 1 - 2026) == date(1, 1, 31)
    for k in (10000 - 2026, 0 - 2026):
        with pytest.raises(ValueError, match="outside the calendar"):
            boundary(YEARLY, start, k)


# --- anchored ---


@given(month_cycles, starts, ks)
@example(Cycle(1, "month", "day", 31), date(2026, 2, 10), 1)
def test_invariant_4_agrees_with_a_walk_day_by_day(cycle, start, k):
    """Boundaries are every n-th day on which a period may begin, counted from the first."""
    k = k % 4
    step = cycle.interval * (12 if cycle.unit == "year" else 1)
    day, left = start, k * min(step, 24)
    assume(step <= 24)
    while not begins_month_period(cycle, start, day):
        day += ONE_DAY
    assert anchor_date(cycle, start) == day
    while left:
        day += ONE_DAY
        left -= begins_month_period(cycle, start, day)
    assert boundary(cycle, start, k) == day


@given(plain_cycles, starts, ks)
def test_invariant_4_agrees_with_dateutil(cycle, start, k):
    step = relativedelta(**{f"{cycle.unit}s": cycle.interval * k})
    assert boundary(cycle, start, k) == start + step


@given(month_cycles, starts, starts, ks)
def test_invariant_4_depends_on_the_anchor_alone(cycle, start, other, k):
    """Contracts that share an anchor share every boundary, wherever they start."""
    assume(cycle.anchor != "start")
    anchor = anchor_date(cycle, start)
    assert boundary(cycle, anchor, k) == boundary(cycle, start, k)
    if anchor_date(cycle, other) == anchor:
        assert boundary(cycle, other, k) == boundary(cycle, start, k)


@given(cycles, starts, ks)
def test_invariant_4_boundaries_increase_and_0_is_the_anchor(cycle, start, k):
    assert boundary(cycle, start, k) < boundary(cycle, start, k + 1)
    assert boundary(cycle, start, 0) == anchor_date(cycle, start) >= start
    assert boundary(cycle, start, -1) < start or anchor_date(cycle, start) == start


@given(cycles, starts, ks, st.data())
def test_index_of_is_the_inverse_of_boundary(cycle, start, k, data):
    begin, end = boundary(cycle, start, k), boundary(cycle, start, k + 1)
    assert index_of(cycle, start, begin) == k
    assert index_of(cycle, start, end - ONE_DAY) == k
    inside = data.draw(st.dates(begin, end - ONE_DAY))
    assert index_of(cycle, start, inside) == k


# --- coverage ---


@st.composite
def lines(draw):
    """A cycle, the contract's start and a line of at most six periods, most often partial."""
    cycle, contract_start = draw(cycles), draw(starts)
    first = boundary(cycle, contract_start, draw(st.integers(-1, 20)))
    line_start = max(contract_start, first + timedelta(days=draw(st.integers(0, 40))))
    k = index_of(cycle, contract_start, line_start)
    last = boundary(cycle, contract_start, k + draw(st.integers(1, 6)))
    line_end = draw(st.dates(line_start, last))
    return cycle, contract_start, line_start, line_end


@given(lines())
def test_invariant_3_slots_partition_the_line(line):
    cycle, contract_start, line_start, line_end = line
    found = list(slots(cycle, contract_start, line_start, line_end, None, date(2999, 1, 1)))
    day = line_start
    for slot in found:
        assert slot.start == day
        assert slot.end > slot.start
        day = slot.end
    assert day == line_end


@given(lines())
def test_invariant_3_each_slot_lies_in_its_undivided_period(line):
    cycle, contract_start, line_start, line_end = line
    for slot in slots(cycle, contract_start, line_start, line_end, None, date(2999, 1, 1)):
        k = index_of(cycle, contract_start, slot.start)
        assert slot.period_start == boundary(cycle, contract_start, k)
        assert slot.period_end == boundary(cycle, contract_start, k + 1)
        assert slot.start == max(slot.period_start, line_start)
        assert slot.end == min(slot.period_end, line_end)


@given(lines(), st.data())
def test_invariant_3_starting_in_the_middle_skips_whole_slots_only(line, data):
    cycle, contract_start, line_start, line_end = line
    every = list(slots(cycle, contract_start, line_start, line_end, None, date(2999, 1, 1)))
    from_day = data.draw(st.dates(line_start - 40 * ONE_DAY, line_end + 40 * ONE_DAY))
    until = data.draw(st.dates(line_start - 40 * ONE_DAY, line_end + 40 * ONE_DAY))
    found = list(slots(cycle, contract_start, line_start, line_end, from_day, until))
    if from_day <= until:
        assert found == [s for s in every if s.end > from_day and s.start <= until]
    else:
        assert found == []


@given(lines(), st.data())
def test_invariant_3_an_end_moves_no_slot_start(line, data):
    """Ending a line early cuts its last slot; the key of every other charge stays."""
    cycle, contract_start, line_start, line_end = line
    assume(line_start < line_end)
    early = data.draw(st.dates(line_start + ONE_DAY, line_end))
    long = list(slots(cycle, contract_start, line_start, line_end, None, date(2999, 1, 1)))
    short = list(slots(cycle, contract_start, line_start, early, None, date(2999, 1, 1)))
    assert [s.start for s in short] == [s.start for s in long if s.start < early]
    assert short[:-1] == long[: len(short) - 1]


def test_a_line_without_a_day_has_no_slot():
    day = date(2026, 1, 5)
    assert not list(slots(MONTHLY, day, day, day, None, date(2030, 1, 1)))
    assert not list(slots(MONTHLY, day, day, day - ONE_DAY, None, date(2030, 1, 1)))


def test_until_is_inclusive():
    day = date(2026, 1, 5)
    assert len(list(slots(MONTHLY, day, day, None, None, date(2026, 2, 4)))) == 1
    assert len(list(slots(MONTHLY, day, day, None, None, date(2026, 2, 5)))) == 2
    assert not list(slots(MONTHLY, day, day, None, None, day - ONE_DAY))


def test_slots_are_lazy_and_do_not_walk_through_history(monkeypatch):
    """A daily contract since the year 1000 reaches its slot of today in a few steps."""
    calls = []
    module = index_of.__globals__
    original = module["boundary"]
    monkeypatch.setitem(module, "boundary", lambda *a: calls.append(a) or original(*a))
    start, today = date(1000, 1, 1), date(2026, 1, 5)
    for cycle in (Cycle(1, "day"), Cycle(1, "month", "day", 31)):
        slot = next(slots(cycle, start, start, None, today, date.max))
        assert slot.start <= today < slot.end
    assert len(calls) <= 8
