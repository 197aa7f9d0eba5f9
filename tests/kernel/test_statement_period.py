"""The periods of statements follow each other without gap or overlap."""

import importlib.util
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

PATH = Path(__file__).parents[2] / "addons" / "customer_billing_statement" / "tools" / "period.py"
_spec = importlib.util.spec_from_file_location("statement_period", PATH)
period = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(period)

DAY = timedelta(days=1)
DAYS = st.dates(date(2000, 1, 1), date(2100, 12, 31))
FREQUENCIES = st.sampled_from(period.FREQUENCIES)


@given(FREQUENCIES, DAYS)
def test_the_last_period_ended_before_the_day_and_is_whole(frequency, day):
    start, end = period.last_period(frequency, day)
    assert start <= end < day
    assert period.period_start(frequency, start) == start
    assert period.period_start(frequency, end) == start
    assert period.period_start(frequency, end + DAY) == end + DAY


@given(FREQUENCIES, DAYS)
def test_one_period_follows_the_other(frequency, day):
    start, _end = period.last_period(frequency, day)
    assert period.last_period(frequency, start)[1] == start - DAY


@given(FREQUENCIES, DAYS)
def test_nothing_new_until_the_period_has_ended(frequency, day):
    _start, end = period.last_period(frequency, day)
    assert (period.last_period(frequency, day + DAY)[1] > end) == (
        period.period_start(frequency, day + DAY) == day + DAY
    )


def test_an_unknown_frequency_is_refused():
    with pytest.raises(ValueError, match="daily"):
        period.last_period("daily", date(2026, 1, 1))
