"""Usage and minimum commitments on a ledger in memory, in the way of test_charging."""

from collections import defaultdict
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from billing_tools import charging, pricing, recurrence, trace, usage
from hypothesis import given
from hypothesis import strategies as st

DAY = timedelta(days=1)
CENT = Decimal("0.01")
START = date(2026, 1, 1)
GRADUATED = pricing.Price(
    "graduated",
    brackets=(
        pricing.Bracket(Decimal(100), Decimal("0.50")),
        pricing.Bracket(Decimal(0), Decimal("0.40")),
    ),
)


class Ledger:
    """Charges of the metered lines of one contract, read back through their traces."""

    def __init__(self):
        self.entries = defaultdict(lambda: defaultdict(list))  # line -> slot start -> entries

    def run(self, lines, until, from_day=None):
        """Usage first, then minimum commitments, as the engine does; all differences booked."""
        found, covered = [], {}
        for key, terms in sorted(lines.items(), key=lambda item: item[1].kind == "minimum"):
            terms = replace(terms, covered=covered)
            booked = self.booked(key)
            differences, _following = charging.differences(terms, booked, from_day, until)
            covered = charging.settle_minimum(covered, terms, booked, from_day, until)
            for difference in differences:
                entries = self.entries[key][difference.slot.start]
                assert difference.revision == len(entries), "revisions follow each other"
                entries.append((difference.amount, trace.from_difference(difference)))
            found += differences
        return found

    def booked(self, key):
        return {
            start: trace.to_booked(e[0][1], e[-1][1], sum(a for a, _t in e), len(e) - 1)
            for start, e in self.entries[key].items()
        }

    def sums(self):
        sums = {
            (key, start): sum(amount for amount, _trace in entries)
            for key, slots in self.entries.items()
            for start, entries in slots.items()
        }
        return {key: amount for key, amount in sums.items() if amount}


def line(kind="usage", price=None, records=(), **values):
    price = price or pricing.Price("per_unit", Decimal("0.10"))
    terms = charging.Terms(
        kind=kind,
        cycle=recurrence.Cycle(1, "month"),
        timing="advance",
        lead_days=0,
        anchor_start=START,
        start=START,
        end=None,
        holes=(),
        inputs=charging.Inputs(price, Decimal(1), Decimal(0), "actual"),
        rounding=CENT,
    )
    days = tuple(usage.DayUsage(day, Decimal(quantity)) for day, quantity in sorted(records))
    return replace(terms, days=days, **values)


days = st.integers(0, 200).map(lambda n: START + n * DAY)
quantities = st.decimals(0, 500, places=3)
records = st.lists(st.tuples(days, quantities), max_size=12)
prices = st.sampled_from([pricing.Price("per_unit", Decimal("0.123")), GRADUATED])
minimums = st.decimals(0, 300, places=2).map(lambda amount: pricing.Price("per_unit", amount))
pauses = st.lists(
    st.tuples(days, st.integers(1, 60)).map(lambda p: (p[0], p[0] + p[1] * DAY)), max_size=2
)


@given(records, prices, minimums, pauses, days)
def test_invariant_1_a_second_pass_over_usage_books_nothing(records, price, minimum, holes, until):
    lines = {
        "usage": line(price=price, records=records, holes=tuple(holes)),
        "minimum": line("minimum", price=minimum, holes=tuple(holes)),
    }
    ledger = Ledger()
    ledger.run(lines, until)
    before = ledger.sums()
    assert ledger.run(lines, until) == []
    assert ledger.sums() == before


@given(records, records, prices, minimums, days)
def test_invariant_5_late_usage_equals_usage_in_time(early, late, price, minimum, until):
    """What arrives after closing ends at the same sums as if it had been there."""
    minimum = line("minimum", price=minimum)
    slow, prompt = Ledger(), Ledger()
    slow.run({"u": line(price=price, records=early), "m": minimum}, until)
    everything = {"u": line(price=price, records=[*early, *late]), "m": minimum}
    for difference in slow.run(everything, until):
        assert difference.revision, "an adjustment"
        assert difference.days == ((difference.slot.start, difference.slot.end),), "of its period"
    prompt.run(everything, until)
    assert slow.sums() == prompt.sums()


@given(records, records, prices, minimums, days)
def test_invariant_6_usage_taken_back_nets_to_zero(kept, reversed_, price, minimum, until):
    minimum = line("minimum", price=minimum)
    ledger, untouched = Ledger(), Ledger()
    before = {"u": line(price=price, records=kept), "m": minimum}
    ledger.run(before, until)
    untouched.run(before, until)
    ledger.run({"u": line(price=price, records=[*kept, *reversed_]), "m": minimum}, until)
    ledger.run(before, until)
    assert ledger.sums() == untouched.sums()


@given(records, prices, minimums, st.lists(days, max_size=5), days)
def test_invariant_5_one_late_run_equals_runs_on_random_days(records, price, minimum, stops, until):
    lines = {"u": line(price=price, records=records), "m": line("minimum", price=minimum)}
    once, often = Ledger(), Ledger()
    once.run(lines, until)
    for day in sorted(day for day in [*stops, until] if day <= until):
        often.run(lines, day)
    assert often.sums() == once.sums()


@given(st.permutations(["a", "b", "c"]), st.integers(0, 400))
def test_order_of_minimum_lines_does_not_change_their_sum(order, quantity):
    """Of several minimum lines together the shortfall of usage to their sum is charged."""
    lines = {"u": line(records=[(START, quantity)])}
    amounts = {"a": Decimal(10), "b": Decimal(5), "c": Decimal(20)}
    for key in order:
        lines[key] = line("minimum", price=pricing.Price("per_unit", amounts[key]))
    found = Ledger().run(lines, date(2026, 2, 1))
    used = Decimal(quantity) / 10
    assert sum(d.amount for d in found) == max(used, Decimal(35))


@given(
    st.lists(st.tuples(days, st.integers(0, 86399), quantities, st.sampled_from("abc")), max_size=20),
    st.sampled_from(["sum", "max", "last", "unique"]),
    days,
    st.integers(1, 60),
)
def test_days_give_what_their_records_give(rows, method, start, length):
    """A database that adds up days first changes no result."""
    records = [
        usage.Record(datetime(d.year, d.month, d.day) + timedelta(seconds=s), q, key)
        for d, s, q, key in rows
    ]
    by_day = defaultdict(list)
    for record in records:
        by_day[record.timestamp.date(), record.key if method == "unique" else ""].append(record)
    days_ = [
        usage.DayUsage(
            day,
            sum((r.quantity for r in found), Decimal(0))
            if method == "unique"
            else usage.aggregate(method, found),
            key,
            len(found),
        )
        for (day, key), found in sorted(by_day.items(), key=lambda item: item[0])
    ]
    span = (start, start + length * DAY)
    [inside] = usage.by_period(records, [span], "UTC")
    assert usage.of_days(method, days_, [span]) == (usage.aggregate(method, inside), len(inside))


def test_known_answer_usage_is_in_arrears_also_on_a_plan_in_advance():
    terms = line(price=GRADUATED, records=[(date(2026, 1, 3), 100), (date(2026, 1, 31), 50)])
    assert Ledger().run({"u": terms}, date(2026, 1, 31)) == []
    [charge] = Ledger().run({"u": terms}, date(2026, 2, 1))
    assert (charge.amount, charge.bill_date) == (Decimal("70.00"), date(2026, 2, 1))
    assert charge.inputs.quantity == 150


def test_known_answer_late_usage_is_priced_as_its_period_was():
    ledger = Ledger()
    ledger.run({"u": line(price=GRADUATED, records=[(START, 90)])}, date(2026, 2, 1))
    dearer = pricing.Price("per_unit", Decimal(9))
    late = line(price=dearer, records=[(START, 90), (START + DAY, 20)])
    [adjustment] = ledger.run({"u": late}, date(2026, 2, 1))
    assert adjustment.amount == Decimal("9.00")  # 10 at 0.50 and 10 at 0.40
    assert (adjustment.revision, adjustment.booked_quantity) == (1, 90)
    assert adjustment.days == ((START, date(2026, 2, 1)),)


def test_known_answer_usage_that_is_late_twice_says_what_was_charged_before():
    ledger, found = Ledger(), []
    for records in ([(START, 90)], [(START, 90), (START, 20)], [(START, 90), (START, 20), (START, 5)]):
        found += ledger.run({"u": line(records=records)}, date(2026, 2, 1))
    assert [(d.booked_quantity, d.inputs.quantity) for d in found] == [(0, 90), (90, 110), (110, 115)]


def test_known_answer_usage_on_paused_days_is_not_charged():
    holes = ((date(2026, 1, 10), date(2026, 1, 20)),)
    terms = line(records=[(date(2026, 1, 9), 10), (date(2026, 1, 10), 99)], holes=holes)
    [charge] = Ledger().run({"u": terms}, date(2026, 2, 1))
    assert charge.amount == Decimal("1.00")


def test_known_answer_minimum_charges_the_shortfall_and_credits_it_for_late_usage():
    minimum = line("minimum", price=pricing.Price("per_unit", Decimal(50)))
    ledger = Ledger()
    found = ledger.run({"u": line(records=[(START, 200)]), "m": minimum}, date(2026, 2, 1))
    assert [d.amount for d in found] == [Decimal("20.00"), Decimal("30.00")]
    found = ledger.run({"u": line(records=[(START, 400)]), "m": minimum}, date(2026, 2, 1))
    assert [d.amount for d in found] == [Decimal("20.00"), Decimal("-20.00")]
    assert found[1].entitlement.covered_amount == 40


def test_known_answer_a_credit_for_usage_does_not_raise_the_minimum():
    minimum = line("minimum", price=pricing.Price("per_unit", Decimal(50)))
    found = Ledger().run({"u": line(records=[(START, -100)]), "m": minimum}, date(2026, 2, 1))
    assert [d.amount for d in found] == [Decimal("-10.00"), Decimal("50.00")]


def test_known_answer_minimum_of_a_partial_period_is_prorated():
    end = date(2026, 1, 16)
    minimum = line(
        "minimum", price=pricing.Price("per_unit", Decimal(62)), end=end, contract_end=end
    )
    [charge] = Ledger().run({"m": minimum}, date(2026, 2, 1))
    assert (charge.amount, charge.bill_date) == (Decimal("30.00"), end)  # 15 of 31 days


@pytest.mark.parametrize(
    ("holes", "end"),
    [
        ((), date(2026, 4, 1)),
        (((date(2026, 2, 10), date(2026, 2, 20)),), date(2026, 4, 1)),
        (((date(2026, 2, 1), date(2026, 3, 1)),), date(2026, 5, 1)),
        (((date(2026, 2, 1), None),), None),
    ],
)
def test_known_answer_a_coupon_counts_slots_that_are_served(holes, end):
    assert charging.end_of_slots(line("recurring", holes=holes), 3) == end
