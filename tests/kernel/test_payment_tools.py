"""Declined payments are tried again as the schedule says; addresses of bills are read one way."""

import importlib.util
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

TOOLS = Path(__file__).parents[2] / "addons" / "customer_billing_payment" / "tools"


def load(name):
    spec = importlib.util.spec_from_file_location(f"payment_{name}", TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


retry, documents, expiry = load("retry"), load("documents"), load("expiry")

SCHEDULES = st.lists(st.integers(1, 60), max_size=10).map(tuple)
DAYS = st.dates(date(2020, 1, 1), date(2060, 12, 31))


@given(SCHEDULES, DAYS)
def test_a_soft_decline_is_tried_once_for_each_day_of_the_schedule(schedule, day):
    tries, last = 1, day
    while (following := retry.next_try(retry.SOFT, tries, last, schedule)) is not None:
        assert following - last == timedelta(days=schedule[tries - 1])
        tries, last = tries + 1, following
    assert tries == len(schedule) + 1
    assert last - day == timedelta(days=sum(schedule))


@given(SCHEDULES, DAYS, st.integers(1, 20))
def test_a_hard_decline_is_never_tried_again(schedule, day, tries):
    assert retry.next_try(retry.HARD, tries, day, schedule) is None


@given(SCHEDULES)
def test_a_schedule_is_read_as_it_is_written(schedule):
    assert retry.parse_days(", ".join(map(str, schedule))) == schedule


@pytest.mark.parametrize("text", ["0", "61", "-3", "3.5", "soon", ",".join(["1"] * 11)])
def test_what_is_no_schedule(text):
    with pytest.raises(ValueError):
        retry.parse_days(text)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Your card was declined.", "soft"),
        ("insufficient_funds", "soft"),
        ("Could not be processed, try again later", "soft"),
        (False, "soft"),
        ("Your card has expired.", "hard"),
        ("stolen_card", "hard"),
        ("PICK UP CARD", "hard"),
        ("Invalid account number", "hard"),
        ("Account closed", "hard"),
        ("The mandate was revoked", "hard"),
        ("do_not_try_again", "hard"),
    ],
)
def test_kinds_of_refusals(message, kind):
    assert retry.decline_kind(message) == kind


@given(st.sets(st.integers(1, 10**9 - 1), min_size=1, max_size=documents.MAX_DOCUMENTS))
def test_an_address_names_each_document_once(ids):
    assert documents.split_ids(documents.join_ids(ids)) == sorted(ids)


@given(st.text(max_size=30))
def test_there_is_one_address_for_the_same_documents(text):
    ids = documents.split_ids(text)
    assert ids is None or documents.join_ids(ids) == text


def test_too_many_documents():
    assert documents.split_ids(documents.join_ids(range(1, documents.MAX_DOCUMENTS + 2))) is None


@given(st.dates(date(2000, 1, 1), date(2099, 12, 31)))
def test_a_month_is_read_however_it_is_written(day):
    written = (f"{day:%m/%y}", f"{day:%m/%Y}", f"{day:%Y-%m}", f"{day.month}/{day.year}")
    [last] = {expiry.card_expiry(text) for text in written}
    assert (last.year, last.month) == (day.year, day.month)
    assert (last + timedelta(days=1)).day == 1


@given(st.integers(0, 99), st.integers(0, 99))
def test_what_is_no_month_is_none(month, year):
    found = expiry.card_expiry(f"{month}/{year:02}")
    assert (found is None) == (month not in range(1, 13))
