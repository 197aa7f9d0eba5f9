"""Our ledger and the customer's: every entry in one group, whatever the order, nothing matched by chance."""

from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statement_tools.matching import (
    AMOUNT_DIFFERS,
    MATCHED,
    MATCHED_SUM,
    ONLY_OURS,
    ONLY_THEIRS,
    REASONS,
    STATUSES,
    OurItem,
    TheirItem,
    detect_sign,
    match,
    number_keys,
)

D = Decimal
DAY = date(2026, 3, 1)

# Few values, so that they meet.
amounts = st.sampled_from([D("0"), D("10"), D("20"), D("30"), D("30.01"), D("60"), D("-10"), D("-60.5")])
numbers = st.sampled_from(
    ["", "INV/2026/0001", "INV/2026/00011", "inv-2026-1", "20260001", "7", "A-7", "文7", "INV 1, 7"]
)
days = st.none() | st.integers(0, 25).map(lambda n: DAY + timedelta(days=n))
currencies = st.sampled_from(["", "EUR", "USD"])
fields = st.tuples(numbers, st.lists(numbers, max_size=2).map(tuple), days, amounts, currencies)
ours_st = st.lists(fields, max_size=14).map(lambda rows: [OurItem(i, *row) for i, row in enumerate(rows, 1)])
theirs_st = st.lists(fields, max_size=14).map(lambda rows: [TheirItem(i, *row) for i, row in enumerate(rows, 2)])
tolerances = st.sampled_from([D(0), D("0.01"), D(5)])


def our(key, number="", amount=100, day=0, refs=(), currency=""):
    return OurItem(key, number, refs, DAY + timedelta(days=day), D(str(amount)), currency)


def their(row, number="", amount=100, day=0, refs=(), currency=""):
    return TheirItem(row, number, refs, DAY + timedelta(days=day), D(str(amount)), currency)


def short(ours, theirs, **options):
    """Groups as (status, ours, theirs, text)."""
    options.setdefault("sign", 1)
    return [(g.status, g.ours, g.theirs, str(g)) for g in match(ours, theirs, **options).groups]


# --- always ---


@given(ours_st, theirs_st, st.integers(0, 12), tolerances, st.sampled_from([-1, 0, 1]))
def test_every_entry_is_in_one_group(ours, theirs, tolerance_days, tolerance, sign):
    result = match(ours, theirs, tolerance_days, tolerance, sign, "EUR")
    assert Counter(key for group in result.groups for key in group.ours) == Counter(item.id for item in ours)
    assert Counter(row for group in result.groups for row in group.theirs) == Counter(item.row for item in theirs)
    assert {group.status for group in result.groups} <= set(STATUSES)
    assert all(str(group) for group in result.groups)


@given(ours_st, theirs_st, tolerances)
def test_differences_add_up_to_the_difference_of_the_totals(ours, theirs, tolerance):
    result = match(ours, theirs, 10, tolerance)
    total = result.sign * sum(item.amount for item in theirs) - sum(item.amount for item in ours)
    assert sum(group.difference for group in result.groups) == total


@given(ours_st, theirs_st, st.randoms(), tolerances)
def test_the_order_of_entries_is_without_effect(ours, theirs, random, tolerance):
    shuffled = match(random.sample(ours, len(ours)), random.sample(theirs, len(theirs)), 10, tolerance)
    assert shuffled == match(ours, theirs, 10, tolerance)


@given(ours_st, st.booleans(), st.integers(0, 12), tolerances)
def test_a_perfect_mirror_matches_wholly(ours, mirrored, tolerance_days, tolerance):
    sign = -1 if mirrored else 1
    theirs = [TheirItem(100 + o.id, o.number, o.refs, o.date, sign * o.amount, o.currency) for o in ours]
    result = match(ours, theirs, tolerance_days, tolerance, sign)
    assert {group.status for group in result.groups} <= {MATCHED}
    assert len(result.groups) == len(ours)


@given(ours_st, theirs_st, tolerances)
def test_matches_are_of_one_currency_and_within_the_tolerance(ours, theirs, tolerance):
    by_id, by_row = {item.id: item for item in ours}, {item.row: item for item in theirs}
    for group in match(ours, theirs, 10, tolerance, 0, "EUR").groups:
        codes = {by_id[key].currency or "EUR" for key in group.ours}
        codes |= {by_row[row].currency or "EUR" for row in group.theirs}
        assert codes == {group.currency}
        if group.status in (MATCHED, MATCHED_SUM):
            assert group.ours and group.theirs and abs(group.difference) <= tolerance
            assert (len(group.ours) == len(group.theirs) == 1) is (group.status == MATCHED)
        elif group.status == AMOUNT_DIFFERS:
            assert group.ours and group.theirs and group.difference
        else:
            assert len(group.ours) == (group.status == ONLY_OURS)
            assert len(group.theirs) == (group.status == ONLY_THEIRS)


@given(ours_st, theirs_st)
def test_amounts_alone_match_only_near_in_time(ours, theirs):
    by_id, by_row = {item.id: item for item in ours}, {item.row: item for item in theirs}
    for group in match(ours, theirs, 3, sign=1).groups:
        if group.reason in ("amount_date", "amount_days"):
            (key,), (row,) = group.ours, group.theirs
            assert abs((by_id[key].date - by_row[row].date).days) <= 3


@given(ours_st, theirs_st)
def test_nothing_is_left_that_has_the_same_day_and_amount(ours, theirs):
    result = match(ours, theirs, 0, sign=1, currency="EUR")
    left = {
        (o.currency or "EUR", o.date, o.amount)
        for g in result.groups
        if g.status == ONLY_OURS
        for o in ours
        if o.id in g.ours
    }
    same = {
        (t.currency or "EUR", t.date, t.amount)
        for g in result.groups
        if g.status == ONLY_THEIRS
        for t in theirs
        if t.row in g.theirs
    }
    assert not {key for key in left & same if key[1]}


# --- numbers ---


@pytest.mark.parametrize(
    "text", ["INV/2026/0001", "inv-2026-1", "ＩＮＶ２０２６０００１", "Inv 2026 0001", "INV20260001"]
)
def test_the_same_number_written_differently(text):
    assert short([our(1, "INV/2026/0001")], [their(2, text, day=300)]) == [
        (MATCHED, (1,), (2,), "same number and amount")
    ]


def test_a_part_of_the_number_needs_the_amount_and_the_time():
    ours = [our(1, "INV/2026/0001")]
    assert short(ours, [their(2, "0001", day=5)]) == [(MATCHED, (1,), (2,), "similar number, same amount")]
    assert [row[0] for row in short(ours, [their(2, "0001", day=50)])] == [ONLY_OURS, ONLY_THEIRS]
    assert [row[0] for row in short(ours, [their(2, "0001", 90)])] == [ONLY_OURS, ONLY_THEIRS]


def test_a_common_beginning_is_not_the_same_number():
    assert not set(number_keys("INV/2026/0001")) & set(number_keys("INV/2026/00011"))
    found = short(
        [our(1, "INV/2026/0001"), our(2, "INV/2026/00011")], [their(5, "INV/2026/00011"), their(6, "INV/2026/0001")]
    )
    assert {(row[1], row[2]) for row in found} == {((1,), (6,)), ((2,), (5,))}


def test_same_number_other_amount():
    (group,) = match([our(1, "INV/1", 100)], [their(2, "INV-1", -120.5)], sign=-1).groups
    assert (group.status, group.difference, str(group)) == (AMOUNT_DIFFERS, D("20.5"), "same number, other amount")


def test_one_bill_booked_in_two_parts_that_do_not_add_up():
    found = short([our(1, "INV/1", 100)], [their(2, "INV/1", 60), their(3, "INV/1", 30)])
    assert found == [(AMOUNT_DIFFERS, (1,), (2, 3), "same number, other amount")]


def test_parts_of_one_direction_that_add_up():
    ours = [our(1, "INV/1", 60), our(2, "INV/1", 60), our(3, "INV/1", -10)]
    theirs = [their(5, "INV/1", 10), their(6, "INV/1", 20), their(7, "INV/1", 30), their(8, "INV/1", 60)]
    found = {row[:3] for row in short(ours, theirs)}
    assert (MATCHED_SUM, (2,), (5, 6, 7)) in found and (ONLY_OURS, (3,), ()) in found


def test_long_number_kept_in_part_and_other_amount():
    found = short([our(1, "INV/2026/00123", 100)], [their(2, "00123", 90, day=2)])
    assert found == [(AMOUNT_DIFFERS, (1,), (2,), "similar number, other amount")]


def test_a_payment_that_names_the_bill_is_not_the_bill():
    ours = [our(1, "INV/1", 100), our(2, "PAY/9", -100, day=20)]
    found = short(ours, [their(5, "INV/1", 100), their(6, "INV/1", -100, day=20)])
    assert {(row[0], row[1], row[2]) for row in found} == {(MATCHED, (1,), (5,)), (MATCHED, (2,), (6,))}


def test_the_number_in_a_text():
    found = short([our(1, "INV/2026/0009", 70)], [their(2, "记-12", 70, 40, ("服务费 INV/2026/0009",))])
    assert found == [(MATCHED, (1,), (2,), "same number and amount")]


def test_a_year_in_two_texts_is_no_number():
    found = short([our(1, "", 70, 0, ("rent 2026 a",))], [their(2, "", 70, 100, ("2026 rent b",))])
    assert [row[0] for row in found] == [ONLY_OURS, ONLY_THEIRS]


def test_the_same_rent_each_month_goes_with_its_month():
    ours = [our(i, f"INV/2026/{i:02}/0001", 1000, 30 * i, ("rent 2026",)) for i in range(1, 7)]
    theirs = [their(10 + i, "0001", 1000, 30 * i + 3, ("rent 2026",)) for i in (4, 6)]
    found = short(ours, theirs)
    assert {(row[1], row[2]) for row in found if row[0] == MATCHED} == {((4,), (14,)), ((6,), (16,))}


# --- amounts and dates ---


def test_nearest_date():
    ours = [our(1, day=0), our(2, day=10)]
    assert short(ours, [their(5, day=8), their(6, day=3)]) == [
        (MATCHED, (1,), (6,), "same amount, 3 days apart"),
        (MATCHED, (2,), (5,), "same amount, 2 days apart"),
    ]


def test_many_of_the_same_amount_and_day():
    ours = [our(i, day=i % 3) for i in range(1, 31)]
    theirs = [their(i, day=i % 3) for i in range(1, 28)]
    found = Counter(row[0] for row in short(ours, theirs))
    assert found == {MATCHED: 27, ONLY_OURS: 3}


def test_amount_within_the_tolerance():
    ours = [our(1, amount="100.00"), our(2, amount="100.03")]
    theirs = [their(5, amount="100.02", day=1)]
    assert [row[:3] for row in short(ours, theirs, amount_tolerance=D("0.02"))] == [
        (ONLY_OURS, (1,), ()),
        (MATCHED, (2,), (5,)),
    ]
    assert MATCHED not in {row[0] for row in short(ours, theirs)}


def test_an_entry_without_a_date_matches_when_it_is_the_only_one():
    undated = replace(their(5), date=None)
    assert [row[0] for row in short([our(1)], [undated])] == [MATCHED]
    assert MATCHED not in {row[0] for row in short([our(1), our(2, day=1)], [undated])}


def test_another_currency_is_never_matched():
    found = short([our(1, "INV/1", currency="EUR")], [their(2, "INV/1", currency="USD")])
    assert [row[0] for row in found] == [ONLY_OURS, ONLY_THEIRS]


# --- sums ---


def test_a_payment_that_pays_three_bills():
    ours = [our(1, "INV/1", 100), our(2, "INV/2", 250.5), our(3, "INV/3", 49.5), our(4, "INV/4", 70)]
    assert short(ours, [their(9, "B-1", 400, 4)])[:1] == [(MATCHED_SUM, (1, 2, 3), (9,), "sum of 3 entries")]


def test_a_payment_that_names_its_bills_from_long_ago():
    ours = [our(i, f"INV/2026/{i:04}", 10 * i, i) for i in range(1, 6)]
    found = short(ours, [their(9, "", 90, 200, ("INV/2026/0004, INV/2026/0005",))])
    assert (MATCHED_SUM, (4, 5), (9,), "sum of the 2 documents that it names") in found


def test_one_bill_booked_in_two_lines():
    found = short([our(1, "INV/1", 119)], [their(2, "INV/1", 100, 30), their(3, "INV/1", 19, 30)])
    assert found == [(MATCHED_SUM, (1,), (2, 3), "2 entries with the same number")]


def test_the_sum_of_a_day():
    ours = [our(i, "", 10 + i, 2) for i in range(1, 13)]
    found = short(ours, [their(5, "", sum(10 + i for i in range(1, 13)), 3)])
    assert found == [(MATCHED_SUM, tuple(range(1, 13)), (5,), "sum of the 12 entries of one day")]


def test_sums_that_could_be_several_are_left_to_people():
    ours = [our(1, "", 10, 0), our(2, "", 40, 1), our(3, "", 20, 2), our(4, "", 30, 3)]
    assert MATCHED_SUM not in {row[0] for row in short(ours, [their(5, "", 50, 1)])}


def test_sums_only_near_in_time():
    assert MATCHED_SUM not in {row[0] for row in short([our(1, "", 10), our(2, "", 15, 1)], [their(5, "", 25, 40)])}


def test_the_search_for_sums_has_a_budget(monkeypatch):
    matching = match.__globals__
    monkeypatch.setitem(matching, "BUDGET", 50)
    ours = [our(i, "", 1000 + i * i, i) for i in range(1, 30)]
    result = match(ours, [their(90 + i, "", 2500 + 7 * i, i) for i in range(30)], sign=1)
    assert not result.complete
    assert {group.status for group in result.groups} == {ONLY_OURS, ONLY_THEIRS}


# --- sign ---


@given(st.lists(st.integers(1, 9999), min_size=1, max_size=8, unique=True), st.sampled_from([1, -1]), st.booleans())
def test_sign_is_found(values, sign, numbered):
    ours = [our(i, f"INV/{i}", value) for i, value in enumerate(values)]
    theirs = [their(i, f"INV-{i}" if numbered else "", sign * value) for i, value in enumerate(values)]
    assert detect_sign(ours, theirs) == sign
    assert match(ours, theirs).sign == sign


def test_a_payment_that_names_the_bill_does_not_hide_the_sign():
    ours = [our(1, "INV/1", 100), our(2, "PAY/1", -100, 20)]
    assert detect_sign(ours, [their(5, "INV/1", -100, 1), their(6, "INV/1", 100, 21)]) == -1


def test_totals_decide_where_no_amount_is_the_same():
    assert detect_sign([our(1)], [their(1, amount=-90)]) == -1


def test_no_evidence_keeps_the_sign():
    assert detect_sign([], []) == detect_sign([our(1)], [their(1, amount=7)]) == 1


def test_negative_tolerance_is_refused():
    with pytest.raises(ValueError, match="zero or more"):
        match([], [], -1)


def test_every_reason_has_a_text():
    assert all(text % {"count": 2, "days": 3} for text in REASONS.values())
