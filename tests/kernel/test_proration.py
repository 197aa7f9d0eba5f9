"""Shares of a period, and amounts that add up."""

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from billing_tools.money import round_amount
from billing_tools.proration import elapsed, parts
from hypothesis import given
from hypothesis import strategies as st

METHODS = ["actual", "calendar", "thirty_360", "none"]
PRORATING = METHODS[:3]
ONE_DAY = timedelta(days=1)
CENT = Decimal("0.01")

methods = st.sampled_from(METHODS)
prorating = st.sampled_from(PRORATING)
roundings = st.sampled_from([CENT, Decimal(1), Decimal("0.05"), Decimal("0.001")])
amounts = st.decimals(-(10**7), 10**7, places=6)


@st.composite
def periods(draw, longest=800):
    start = draw(st.dates(date(1999, 1, 1), date(2035, 12, 31)))
    return start, start + draw(st.integers(1, longest)) * ONE_DAY


@st.composite
def cut_periods(draw):
    """A period and a partition of it into at most nine intervals."""
    start, end = draw(periods())
    cuts = sorted({start, end, *draw(st.lists(st.dates(start, end), max_size=8))})
    return start, end, list(pairwise(cuts))


# --- known answers ---


@pytest.mark.parametrize(
    ("method", "start", "end", "day", "share"),
    [
        ("actual", "2026-02-01", "2026-03-01", "2026-02-11", Fraction(10, 28)),
        ("actual", "2024-01-01", "2025-01-01", "2024-03-01", Fraction(60, 366)),
        ("calendar", "2026-02-01", "2026-03-01", "2026-02-11", Fraction(10, 28)),
        ("calendar", "2026-01-01", "2026-04-01", "2026-02-01", Fraction(1, 3)),
        ("calendar", "2026-01-01", "2026-04-01", "2026-02-15", Fraction(1, 2)),
        # 16/31 of January and 14/28 of February; the whole is 63/62 of a month.
        ("calendar", "2026-01-16", "2026-02-15", "2026-02-01", Fraction(32, 63)),
        ("thirty_360", "2026-02-01", "2026-03-01", "2026-02-16", Fraction(15, 30)),
        ("thirty_360", "2026-01-01", "2026-02-01", "2026-01-30", Fraction(29, 30)),
        ("thirty_360", "2026-01-01", "2026-02-01", "2026-01-31", Fraction(29, 30)),
        ("thirty_360", "2026-01-01", "2027-01-01", "2026-03-01", Fraction(2, 12)),
        ("thirty_360", "2026-02-01", "2026-03-01", "2026-02-28", Fraction(27, 30)),
        ("none", "2026-02-01", "2026-03-01", "2026-02-02", Fraction(1)),
        ("none", "2026-02-01", "2026-03-01", "2026-02-01", Fraction(0)),
    ],
)
def test_known_shares(method, start, end, day, share):
    assert elapsed(method, *map(date.fromisoformat, (start, end, day))) == share


def test_every_whole_month_of_a_quarter_costs_the_same_by_calendar():
    months = [date(2026, month, 1) for month in (1, 2, 3, 4)]
    intervals = list(pairwise(months))
    found = parts(Decimal(300), "calendar", months[0], months[-1], intervals, CENT)
    assert found == [Decimal(100)] * 3


def test_a_third_of_the_days_costs_a_third_rounded_cumulatively():
    start = date(2026, 4, 1)
    thirds = [(start + i * 10 * ONE_DAY, start + (i + 1) * 10 * ONE_DAY) for i in range(3)]
    found = parts(Decimal(100), "actual", start, date(2026, 5, 1), thirds, CENT)
    assert found == [Decimal("33.33"), Decimal("33.34"), Decimal("33.33")]
    assert [str(part) for part in found] == ["33.33", "33.34", "33.33"]


def test_days_outside_the_period_cost_nothing():
    start, end = date(2026, 4, 1), date(2026, 5, 1)
    outside = [(start - 9 * ONE_DAY, start), (end, end + ONE_DAY), (start, start)]
    for method in METHODS:
        assert parts(Decimal(100), method, start, end, outside, CENT) == [0, 0, 0]


def test_reversed_interval_costs_nothing():
    start, end = date(2026, 4, 1), date(2026, 5, 1)
    for method in METHODS:
        assert parts(Decimal(100), method, start, end, [(end, start)], CENT) == [0]


def test_without_proration_the_first_served_interval_costs_all():
    start, end = date(2026, 4, 1), date(2026, 5, 1)
    late = (date(2026, 4, 20), date(2026, 4, 25))
    early = (date(2026, 4, 10), date(2026, 4, 12))
    assert parts(Decimal("9.999"), "none", start, end, [late, early], CENT) == [0, Decimal(10)]
    assert parts(Decimal(9), "none", start, end, [(start, start), late], CENT) == [0, 9]
    assert parts(Decimal(9), "none", start, end, [], CENT) == []


def test_refused():
    day = date(2026, 4, 1)
    with pytest.raises(ValueError, match="Unknown proration 'half'"):
        elapsed("half", day, day + ONE_DAY, day)
    for method in METHODS:
        with pytest.raises(ValueError, match="no day to prorate over"):
            elapsed(method, day, day, day)
        with pytest.raises(ValueError, match="step above zero"):
            parts(Decimal(1), method, day, day + ONE_DAY, [(day, day + ONE_DAY)], Decimal(0))


# --- sum ---


@given(methods, periods(), st.data())
def test_invariant_6_share_is_in_0_to_1_and_never_falls(method, period, data):
    start, end = period
    around = st.dates(start - 9 * ONE_DAY, end + 9 * ONE_DAY)
    one, other = sorted((data.draw(around), data.draw(around)))
    low, high = (elapsed(method, start, end, day) for day in (one, other))
    assert 0 <= low <= high <= 1
    assert isinstance(low, Fraction)


@given(methods, periods())
def test_invariant_6_share_goes_from_0_to_exactly_1(method, period):
    start, end = period
    assert elapsed(method, start, end, start) == 0
    assert elapsed(method, start, end, start - ONE_DAY) == 0
    assert elapsed(method, start, end, end) == 1
    assert elapsed(method, start, end, end + ONE_DAY) == 1


@given(methods, cut_periods(), amounts, roundings)
def test_invariant_6_parts_add_up_to_the_whole(method, cut, full, rounding):
    start, end, intervals = cut
    found = parts(full, method, start, end, intervals, rounding)
    assert len(found) == len(intervals)
    assert sum(found) == round_amount(full, rounding)


@given(methods, cut_periods(), amounts, roundings, st.randoms())
def test_invariant_6_order_of_the_parts_is_without_effect(method, cut, full, rounding, random):
    start, end, intervals = cut
    shuffled = random.sample(intervals, len(intervals))
    in_order = dict(
        zip(intervals, parts(full, method, start, end, intervals, rounding), strict=True)
    )
    found = dict(zip(shuffled, parts(full, method, start, end, shuffled, rounding), strict=True))
    assert found == in_order


@given(methods, cut_periods(), amounts, roundings)
def test_invariant_6_a_credit_mirrors_its_charge(method, cut, full, rounding):
    start, end, intervals = cut
    charged = parts(full, method, start, end, intervals, rounding)
    assert parts(-full, method, start, end, intervals, rounding) == [-part for part in charged]


@given(prorating, cut_periods(), amounts, roundings)
def test_invariant_6_a_part_is_its_share_to_one_step(method, cut, full, rounding):
    start, end, intervals = cut
    found = parts(full, method, start, end, intervals, rounding)
    for (first, after), part in zip(intervals, found, strict=True):
        share = elapsed(method, start, end, after) - elapsed(method, start, end, first)
        assert abs(Fraction(part) - Fraction(full) * share) <= Fraction(rounding)


@given(prorating, cut_periods(), amounts, roundings, st.data())
def test_invariant_6_cutting_a_part_again_changes_no_total(method, cut, full, rounding, data):
    """What an amendment and its reversal do: the pieces cost what the part cost."""
    start, end, intervals = cut
    first, after = data.draw(st.sampled_from(intervals))
    middle = data.draw(st.dates(first, after))
    whole = parts(full, method, start, end, [(first, after)], rounding)
    pieces = parts(full, method, start, end, [(first, middle), (middle, after)], rounding)
    assert sum(pieces) == sum(whole)


# --- independent computations, one day at a time ---


def calendar_weight(start, end):
    total = Fraction(0)
    while start < end:
        following = date(start.year + start.month // 12, start.month % 12 + 1, 1)
        total += Fraction(1, (following - start.replace(day=1)).days)
        start += ONE_DAY
    return total


@given(periods(120), st.integers(0, 120))
def test_calendar_agrees_with_a_sum_over_days(period, served):
    start, end = period
    day = min(end, start + served * ONE_DAY)
    expected = calendar_weight(start, day) / calendar_weight(start, end)
    assert elapsed("calendar", start, end, day) == expected


def eurobond_days(start, end):
    """Count days as ISDA 2006, section 4.16(g) writes the formula."""
    first, last = min(start.day, 30), min(end.day, 30)
    return 360 * (end.year - start.year) + 30 * (end.month - start.month) + (last - first)


@given(periods(400), st.integers(0, 400))
def test_thirty_360_agrees_with_the_published_formula(period, served):
    start, end = period
    day = min(end, start + served * ONE_DAY)
    expected = Fraction(eurobond_days(start, day), eurobond_days(start, end) or 1)
    if start < day < end:
        assert elapsed("thirty_360", start, end, day) == expected


def test_a_period_that_30e_360_does_not_count_still_costs_its_price():
    start, end = date(2026, 1, 30), date(2026, 1, 31)
    assert eurobond_days(start, end) == 0
    assert parts(Decimal(7), "thirty_360", start, end, [(start, end)], CENT) == [Decimal(7)]


@pytest.mark.parametrize("method", METHODS)
def test_every_short_period_of_a_leap_year_has_a_length(method):
    """No start and length from one to three days divides by zero."""
    for offset in range(366):
        start = date(2024, 1, 1) + offset * ONE_DAY
        for length in (1, 2, 3):
            end = start + length * ONE_DAY
            assert 0 <= elapsed(method, start, end, start + ONE_DAY) <= 1
