"""Usage records to quantities, whatever the order they came in."""

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise

import pytest
from billing_tools.usage import Record, aggregate, by_period, local_day
from hypothesis import given
from hypothesis import strategies as st

D = Decimal
METHODS = ["sum", "max", "last", "unique"]
ZONES = ["UTC", "Europe/Berlin", "America/Los_Angeles", "Asia/Shanghai", "Pacific/Apia"]
# Naive on purpose: UTC as Odoo stores it.
NOON = datetime.fromisoformat("2026-01-10 12:00")

moments = st.datetimes(NOON - timedelta(days=9), NOON + timedelta(days=110))
# Few instants, so that several records share one.
records_st = st.lists(
    st.builds(
        Record,
        moments | st.integers(0, 3).map(lambda hours: NOON + timedelta(hours=hours)),
        st.decimals(-1000, 1000, places=3),
        st.sampled_from(["ann", "bob", "cleo"]),
    ),
    max_size=12,
)


def record(hours, quantity, key=""):
    return Record(NOON + timedelta(hours=hours), D(quantity), key)


# --- aggregation ---


def test_known_quantities():
    records = [record(2, 3, "ann"), record(5, 1, "bob"), record(1, 9, "ann")]
    assert [aggregate(method, records) for method in METHODS] == [13, 9, 1, 2]


@pytest.mark.parametrize("method", METHODS)
def test_no_record_is_zero(method):
    assert aggregate(method, []) == 0
    assert isinstance(aggregate(method, iter(())), Decimal)


def test_last_of_one_instant_goes_by_key_then_quantity():
    assert aggregate("last", [record(0, 9, "a"), record(0, 1, "b"), record(-1, 7, "c")]) == 1
    assert aggregate("last", [record(0, 2, "a"), record(0, 3, "a")]) == 3


def test_reversal_in_sum_and_unique():
    records = [record(0, 1, "ann"), record(1, 1, "bob"), record(2, -1, "ann")]
    assert aggregate("sum", records) == 1
    assert aggregate("unique", records) == 1
    assert aggregate("unique", [*records, record(3, 1, "ann")]) == 2


def test_max_of_credits_only_is_the_smallest_credit():
    assert aggregate("max", [record(0, -5), record(1, -2)]) == -2


def test_unknown_method_is_refused():
    with pytest.raises(ValueError, match="Unknown usage method 'mean'"):
        aggregate("mean", [])


@given(st.sampled_from(METHODS), records_st, st.randoms())
def test_order_of_records_is_without_effect(method, records, random):
    shuffled = random.sample(records, len(records))
    assert aggregate(method, shuffled) == aggregate(method, records)


@given(records_st, st.integers(0, 12))
def test_sum_of_parts_is_the_sum(records, cut):
    parts = aggregate("sum", records[:cut]) + aggregate("sum", records[cut:])
    assert parts == aggregate("sum", records)


@given(records_st)
def test_max_last_and_unique_come_from_the_records(records):
    largest, latest = aggregate("max", records), aggregate("last", records)
    assert 0 <= aggregate("unique", records) <= len({r.key for r in records})
    if records:
        assert all(r.quantity <= largest for r in records)
        assert largest in {r.quantity for r in records}
        newest = max(r.timestamp for r in records)
        assert latest in {r.quantity for r in records if r.timestamp == newest}


def test_sum_is_exact_beyond_28_digits():
    tiny, huge = D("1E-15"), D("1E+20")
    assert aggregate("sum", [record(0, huge), record(1, tiny), record(2, -huge)]) == tiny


# --- days ---


@pytest.mark.parametrize(
    ("timestamp", "tz", "day"),
    [
        ("2026-01-31 22:59:59", "Europe/Berlin", "2026-01-31"),
        ("2026-01-31 23:00:00", "Europe/Berlin", "2026-02-01"),
        ("2026-06-30 22:00:00", "Europe/Berlin", "2026-07-01"),
        ("2026-02-01 07:59:59", "America/Los_Angeles", "2026-01-31"),
        ("2026-02-01 08:00:00", "America/Los_Angeles", "2026-02-01"),
        ("2026-01-31 16:00:00", "Asia/Shanghai", "2026-02-01"),
        # Clocks in Berlin jump on 29 March 2026 at 01:00 UTC: that day has 23 hours.
        ("2026-03-28 23:00:00", "Europe/Berlin", "2026-03-29"),
        ("2026-03-29 22:00:00", "Europe/Berlin", "2026-03-30"),
        # Apia skipped 30 December 2011 altogether.
        ("2011-12-30 09:59:59", "Pacific/Apia", "2011-12-29"),
        ("2011-12-30 10:00:00", "Pacific/Apia", "2011-12-31"),
    ],
)
def test_days_begin_at_local_midnight(timestamp, tz, day):
    assert local_day(datetime.fromisoformat(timestamp), tz) == date.fromisoformat(day)


def test_zone_and_timestamp_are_checked():
    for tz in ("Mars/Olympus", "", "../etc/passwd"):
        with pytest.raises(ValueError, match="Unknown time zone"):
            local_day(NOON, tz)
    with pytest.raises(ValueError, match="carries a time zone"):
        local_day(NOON.replace(tzinfo=timezone.utc), "UTC")


# --- periods ---


@st.composite
def disjoint_intervals(draw):
    days = draw(st.lists(st.dates(date(2025, 12, 30), date(2026, 5, 2)), unique=True, max_size=9))
    days.sort()
    pairs = list(pairwise(days))
    kept = [pair for pair in pairs if draw(st.booleans())]
    return draw(st.permutations(kept))


@given(records_st, disjoint_intervals(), st.sampled_from(ZONES))
def test_each_record_is_in_the_period_of_its_local_day(records, intervals, tz):
    found = by_period(records, intervals, tz)
    assert found == [
        [r for r in records if start <= local_day(r.timestamp, tz) < end]
        for start, end in intervals
    ]


@given(records_st, disjoint_intervals(), st.sampled_from(ZONES))
def test_no_record_is_counted_twice(records, intervals, tz):
    assert sum(map(len, by_period(records, intervals, tz))) <= len(records)


@pytest.mark.parametrize("shift", [-1, 0])
def test_overlapping_periods_are_refused(shift):
    first = (date(2026, 1, 1), date(2026, 2, 1))
    second = (date(2026, 2, 1) + timedelta(days=shift), date(2026, 3, 1))
    if shift:
        with pytest.raises(ValueError, match="overlap"):
            by_period([], [second, first], "UTC")
    else:
        assert by_period([], [second, first], "UTC") == [[], []]


def test_an_empty_period_holds_nothing_and_hides_nothing():
    day = date(2026, 1, 10)
    month = (date(2026, 1, 1), date(2026, 2, 1))
    assert by_period([record(0, 1)], [(day, day), month], "UTC") == [[], [record(0, 1)]]
