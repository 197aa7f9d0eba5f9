"""Usage and minimum commitments on a ledger in memory, in the way of test_charging."""

import math
from collections import defaultdict
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

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


BRACKET_PRICES = (
    GRADUATED,
    replace(GRADUATED, model="volume"),
    replace(GRADUATED, minimum_amount=Decimal(30)),
    pricing.Price("stairstep", brackets=(
        pricing.Bracket(Decimal(50), flat_amount=Decimal(20)), pricing.Bracket(Decimal(0), flat_amount=Decimal(35)))),
    pricing.Price("package", Decimal("3.333"), package_size=Decimal(40)),
    pricing.Price("flat", Decimal(12)),
    pricing.Price("per_unit", Decimal("0.123")),
)  # fmt: skip


def chain(parts):
    """Lines that replace each other, each with what it counts on, as the engine prepares them."""
    lines, previous = {}, None
    for number, terms in enumerate(parts):
        lines[number] = previous = terms if previous is None else charging.count_on(terms, previous, {})
    return lines


def cut(cuts, records, price, **values):
    """The line ``line(price)`` cut into several on the days ``cuts``, with the records of their days."""
    bounds = [START, *sorted({day for day in cuts if day > START}), None]
    return [
        line(price=price, start=start, end=end, **values,
             records=[r for r in records if start <= r[0] and (end is None or r[0] < end)])
        for start, end in zip(bounds, bounds[1:], strict=False)
    ]  # fmt: skip


def independent_cost(price, quantity):
    """The cost of a period by the words of the price, without the kernel."""
    if price.model == "flat":
        cost = price.unit_amount
    elif price.model == "per_unit":
        cost = quantity * price.unit_amount
    elif price.model == "package":
        cost = math.ceil(quantity / price.package_size) * price.unit_amount
    else:
        first, second = price.brackets
        above = max(quantity - first.up_to, Decimal(0))
        if price.model == "graduated":
            cost = (quantity - above) * first.unit_amount + above * second.unit_amount
        else:
            used = second if above else first
            cost = quantity * used.unit_amount + used.flat_amount
    return max(cost, price.minimum_amount).quantize(CENT, ROUND_HALF_UP)


@given(
    st.sampled_from(BRACKET_PRICES), records, st.lists(days, max_size=4), st.sampled_from(["sum", "max", "last"])
)
def test_invariant_6_a_line_cut_by_amendments_costs_what_it_costs_whole(price, records, cuts, aggregation):
    """Brackets count the usage of the whole period when the price was kept, wherever it was cut."""
    until = date(2026, 8, 1)
    records = sorted(dict(records).items())
    ledger = Ledger()
    lines = chain(cut(cuts, records, price, aggregation=aggregation))
    ledger.run(lines, until)
    assert ledger.run(lines, until) == []
    months = defaultdict(Decimal)
    for (_key, start), amount in ledger.sums().items():
        months[start.month] += amount
    for month in range(1, 8):
        used = [quantity for day, quantity in records if day.month == month]
        quantity = {"sum": sum, "max": max, "last": lambda found: found[-1]}[aggregation](used) if used else Decimal(0)
        assert months[month] == independent_cost(price, Decimal(quantity))


@given(records, records, st.lists(days, min_size=1, max_size=3), days)
def test_invariant_5_late_usage_before_a_cut_is_netted_after_it(early, late, cuts, until):
    """What comes late for the line before changes what the line after costs, in one pass."""
    slow, prompt = Ledger(), Ledger()
    slow.run(chain(cut(cuts, sorted(early), GRADUATED)), until)
    everything = chain(cut(cuts, sorted([*early, *late]), GRADUATED))
    slow.run(everything, until)
    prompt.run(everything, until)
    assert slow.sums() == prompt.sums()
    assert slow.run(everything, until) == []


def test_brackets_begin_anew_with_another_price_and_another_period():
    other = replace(GRADUATED, minimum_amount=Decimal(1))
    records = [(date(2026, 1, 5), 90), (date(2026, 1, 20), 90), (date(2026, 2, 10), 90)]
    kept = cut([date(2026, 1, 15)], records, GRADUATED)
    assert chain(kept)[1].before == (usage.DayUsage(date(2026, 1, 5), Decimal(90)),)
    before, after = kept
    changes = {
        "price": replace(after, inputs=replace(after.inputs, price=other)),
        "plan": replace(after, cycle=recurrence.Cycle(3, "month")),
        "counting": replace(after, aggregation="max"),
        "gap": replace(after, start=date(2026, 1, 16)),
    }
    for name, changed in changes.items():
        assert charging.count_on(changed, before, {}).before is None, name
    paused = replace(before, holes=((START, date(2026, 1, 15)),))
    assert charging.count_on(after, paused, {}).before is None, "nothing was charged before"
    boundary = chain(cut([date(2026, 2, 1)], records, GRADUATED))
    assert boundary[1].before is None
    # 90 at 0.50 in the old terms, then 10 at 0.50 and 80 at 0.40; February alone.
    found = Ledger().run(chain(kept), date(2026, 3, 1))
    assert [difference.amount for difference in found] == [Decimal(45), Decimal(37), Decimal(45)]


def test_slots_booked_when_brackets_began_anew_stay_as_they_are():
    lines = chain(cut([date(2026, 1, 15)], [(date(2026, 1, 5), 90), (date(2026, 1, 20), 90)], GRADUATED))
    ledger = Ledger()
    ledger.run({key: replace(terms, before=None) for key, terms in lines.items()}, date(2026, 2, 1))
    for slots in ledger.entries.values():
        for entries in slots.values():
            entries[:] = [(amount, {**found, "v": 1}) for amount, found in entries]
    assert ledger.run(lines, date(2026, 2, 1)) == []
