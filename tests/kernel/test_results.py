"""Figures of collections: the spans cover the days, and the ways to count days agree where they must."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from collection_tools.results import count_back_dso, effectiveness, simple_dso, spans
from hypothesis import given
from hypothesis import strategies as st

days_st = st.dates(date(1990, 1, 1), date(2090, 1, 1))
amounts_st = st.decimals(0, 10**9, places=2)
months_st = st.lists(st.tuples(amounts_st, st.integers(28, 31)), max_size=40)


@given(days_st, st.integers(0, 1500), st.sampled_from([1, 2, 3, 4, 6, 12]))
def test_spans_cover_the_days_once_and_end_with_months(first, length, months):
    last = first + timedelta(days=length)
    found = spans(first, last, months)
    assert (found[0].first, found[-1].last) == (first, last)
    assert sum(span.days for span in found) == length + 1
    for span, later in zip(found, found[1:], strict=False):
        assert later.first == span.last + timedelta(days=1)
        assert later.first.day == 1
        assert (later.first.month - 1) % months == 0
    assert all((span.last.year - span.first.year) * 12 + span.last.month - span.first.month < months for span in found)


@pytest.mark.parametrize(
    ("first", "last", "months"),
    [(date(2026, 1, 2), date(2026, 1, 1), 1), (date(2026, 1, 1), date(2026, 2, 1), 5), (date.min, date.min, 0)],
)
def test_spans_refuse_what_makes_no_sense(first, last, months):
    with pytest.raises(ValueError, match="before|divide"):
        spans(first, last, months)


@given(amounts_st, st.decimals("0.01", 10**9, places=2), st.integers(1, 366))
def test_with_one_period_of_enough_sales_both_methods_agree(receivable, sales, days):
    receivable = min(receivable, sales)
    assert count_back_dso(receivable, [(sales, days)]) == simple_dso(receivable, sales, days)


@given(amounts_st, amounts_st, months_st)
def test_owing_more_is_never_fewer_days(receivable, more, months):
    assert 0 <= count_back_dso(receivable, months) <= count_back_dso(receivable + more, months)


@given(months_st.filter(lambda months: any(amount for amount, _days in months)))
def test_all_sales_unpaid_are_the_days_up_to_the_oldest_sale(months):
    while not months[-1][0]:
        months.pop()
    owed = sum(amount for amount, _days in months)
    assert count_back_dso(owed, months) == sum(days for _amount, days in months)


def test_a_credit_balance_is_no_days():
    assert count_back_dso(Decimal(-5), [(Decimal(10), 30)]) == 0


def test_more_credit_notes_than_sales_in_a_month_reach_further_back():
    assert count_back_dso(Decimal(100), [(Decimal(-50), 30), (Decimal(300), 30)]) == 30 + 15


@given(amounts_st, amounts_st, amounts_st, amounts_st)
def test_effectiveness_is_one_exactly_when_nothing_is_overdue(opening, sales, current, overdue):
    index = effectiveness(opening, sales, current + overdue, current)
    if opening + sales > current:
        assert index <= 1
        assert (index == 1) == (overdue == 0)
    else:
        assert index is None


def test_no_sales_have_no_days():
    assert simple_dso(Decimal(10), Decimal(0), 30) is None
