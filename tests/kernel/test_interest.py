"""Late interest: known answers, and the sums that must come out however the days are cut."""

import doctest
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from itertools import pairwise

import pytest
from billing_tools.money import round_amount
from collection_tools import interest
from collection_tools.interest import Item, Span, Terms, accrue, count_days, get_adjustments, get_stretches
from hypothesis import given
from hypothesis import strategies as st

BASES = ["actual_365", "actual_360", "thirty_360"]
DAY = timedelta(days=1)
DUE = date(2026, 1, 31)
cents = partial(round_amount, rounding=Decimal("0.01"))


@st.composite
def items(draw):
    amount = draw(st.decimals("0.01", 10**7, places=2))
    due = draw(st.dates(date(2019, 1, 1), date(2030, 12, 31)))
    left, payments = amount, []
    for days in draw(st.lists(st.integers(-40, 400), max_size=5)):
        paid = draw(st.decimals(0, left, places=2))
        payments.append((due + days * DAY, paid))
        left -= paid
    return Item(amount, due, draw(st.integers(0, 20)), tuple(payments))


@st.composite
def terms(draw):
    rate = draw(st.decimals(0, "0.5", places=4))
    return Terms(rate, draw(st.sampled_from(BASES)), draw(st.sampled_from([Decimal(0), Decimal("0.05")])))


@st.composite
def cut_days(draw, item):
    """Moments from the due date on that cut the days after it."""
    return [item.due, *(item.due + days * DAY for days in sorted(draw(st.sets(st.integers(1, 500), min_size=1))))]


def one(item, rate, basis, through, cap=0):
    [entry] = accrue(item, [Span(item.due, through, Terms(Decimal(rate), basis, Decimal(cap)))], cents)
    return entry.amount


def test_doctests_run_and_pass():
    result = doctest.testmod(interest)
    assert result.failed == 0
    assert result.attempted > 5


# --- known answers ---


@pytest.mark.parametrize(
    ("basis", "start", "end", "days"),
    [
        ("actual_365", "2024-02-01", "2024-03-01", 29),
        ("actual_360", "2025-12-31", "2026-12-31", 365),
        ("thirty_360", "2025-12-31", "2026-12-31", 360),
        ("thirty_360", "2026-01-30", "2026-01-31", 0),
        ("thirty_360", "2026-02-28", "2026-03-01", 3),
        ("thirty_360", "2024-02-29", "2024-08-31", 181),  # 30E/360, where ISDA's German variant has 180
    ],
)
def test_day_counts(basis, start, end, days):
    assert count_days(basis, date.fromisoformat(start), date.fromisoformat(end)) == days


def test_an_unknown_day_count_is_refused():
    with pytest.raises(ValueError, match="actual_365"):
        count_days("actual", DUE, DUE)


def test_a_year_costs_the_rate():
    year = DUE.replace(year=2027)
    assert one(Item(Decimal(1000), DUE), "0.08", "actual_365", year) == Decimal("80.00")
    assert one(Item(Decimal(1000), DUE), "0.08", "actual_360", year) == Decimal("81.11")
    assert one(Item(Decimal(1000), DUE), "0.08", "thirty_360", year) == Decimal("80.00")


def test_the_day_after_the_due_date_is_the_first_and_the_day_of_payment_the_last():
    item = Item(Decimal(365_000), DUE, 0, ((DUE + 3 * DAY, Decimal(365_000)),))
    assert one(item, "0.1", "actual_365", DUE + DAY) == 100
    assert one(item, "0.1", "actual_365", DUE + 90 * DAY) == 300


def test_payments_on_the_due_date_bear_nothing():
    assert one(Item(Decimal(100), DUE, 0, ((DUE, Decimal(100)),)), "0.1", "actual_365", DUE + 90 * DAY) == 0


def test_what_is_paid_in_the_grace_bears_nothing_and_the_rest_from_the_due_date():
    item = Item(Decimal(730_000), DUE, 5, ((DUE + 5 * DAY, Decimal(365_000)),))
    assert one(item, "0.1", "actual_365", DUE + 5 * DAY) == 0
    assert one(item, "0.1", "actual_365", DUE + 6 * DAY) == 600
    [stretch] = get_stretches(item, Span(DUE, DUE + 6 * DAY, Terms(Decimal("0.1"), "actual_365")))
    assert (stretch.days, stretch.residual) == (6, 365_000)


def test_the_cap_is_over_the_life_of_the_item():
    item = Item(Decimal(1000), DUE)
    assert one(item, "0.5", "actual_365", DUE + 40 * DAY, "0.05") == 50
    spans = [Span(DUE + n * 20 * DAY, DUE + (n + 1) * 20 * DAY, Terms(Decimal("0.5"), "actual_365", Decimal("0.05")))
             for n in range(3)]  # fmt: skip
    assert [str(entry.amount) for entry in accrue(item, spans, cents)] == ["27.40", "22.60", "0.00"]


def test_a_changed_rate_leaves_the_days_before():
    spans = [Span(DUE, DUE + 10 * DAY, Terms(Decimal("0.1"), "actual_365")),
             Span(DUE + 10 * DAY, DUE + 20 * DAY, Terms(Decimal("0.2"), "actual_360"))]  # fmt: skip
    assert [str(entry.amount) for entry in accrue(Item(Decimal(36_500), DUE), spans, cents)] == ["100.00", "202.78"]


# --- properties ---


@given(st.data())
def test_invariant_15_two_runs_give_what_one_run_gives(data):
    item, rate = data.draw(items()), data.draw(terms())
    moments = data.draw(cut_days(item))
    spans = [Span(start, end, rate) for start, end in pairwise(moments) if end > item.grace_end]
    if spans:  # the first run after the grace begins at the due date
        spans[0] = Span(item.due, spans[0].end, rate)
    parts = accrue(item, spans, cents)
    [whole] = accrue(item, [Span(item.due, moments[-1], rate)], cents)
    assert sum(part.amount for part in parts) == whole.amount
    assert all(part.amount >= 0 for part in parts)


@given(items(), terms(), st.integers(1, 500))
def test_agrees_with_a_walk_day_by_day(item, rate, days):
    through = item.due + days * DAY
    exact = Fraction(0)
    for number in range(days if through > item.grace_end else 0):
        morning = item.due + number * DAY
        known = max(morning, item.grace_end)
        residual = item.amount - sum(amount for day, amount in item.payments if day <= known)
        if rate.basis == "thirty_360":
            day = 30 * (morning + DAY).month + min((morning + DAY).day, 30) - 30 * morning.month - min(morning.day, 30)
            day += 360 * ((morning + DAY).year - morning.year)
        else:
            day = 1
        exact += Fraction(residual) * Fraction(rate.rate) * day / (365 if rate.basis == "actual_365" else 360)
    most = cents(Fraction(item.amount * rate.cap)) if rate.cap else None
    expected = cents(exact) if most is None else min(cents(exact), most)
    assert one(item, rate.rate, rate.basis, through, rate.cap) == expected


@given(items(), terms(), st.integers(1, 400))
def test_invariant_15_stretches_never_overlap(item, rate, days):
    stretches = get_stretches(item, Span(item.due, item.due + days * DAY, rate))
    assert all(first.end <= second.start for first, second in pairwise(stretches))
    assert all(stretch.start < stretch.end and stretch.residual > 0 for stretch in stretches)
    assert not stretches or stretches[0].start >= item.due


@given(st.data())
def test_adjustments_add_up_to_the_difference(data):
    item, rate = data.draw(items()), data.draw(terms())
    entries = accrue(item, [Span(a, b, rate) for a, b in pairwise(data.draw(cut_days(item)))], cents)
    booked = [data.draw(st.decimals(0, 1000, places=2)) for _entry in entries]
    changed = [data.draw(st.booleans()) for _entry in entries]
    found = get_adjustments(entries, booked, changed)
    assert sum(found) == sum(entry.amount for entry in entries) - sum(booked)
    untouched = zip(found[:-1], changed[:-1], strict=True)
    assert all(amount == 0 for amount, is_changed in untouched if not is_changed)
