"""The engine's arithmetic on a ledger in memory: book differences, change terms, book again."""

from collections import defaultdict
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from billing_tools import charging, dates, pricing, recurrence, trace
from hypothesis import given
from hypothesis import strategies as st

DAY = timedelta(days=1)
CENT = Decimal("0.01")
START = date(2023, 11, 1)


class Ledger:
    """Charges of one line, kept and read back as the database does: through their traces."""

    def __init__(self):
        self.entries = defaultdict(list)  # slot start -> [(amount, trace)]

    def run(self, terms, until, from_day=None):
        found, following = charging.differences(terms, self.booked(terms, from_day), from_day, until)
        for difference in found:
            entries = self.entries[difference.slot.start]
            assert difference.revision == len(entries), "revisions follow each other"
            entries.append((difference.amount, trace.from_difference(difference)))
        return found, following

    def booked(self, terms, from_day):
        first = charging.slot_start(terms, from_day) if from_day else date.min
        return {
            start: trace.to_booked(
                entries[0][1], entries[-1][1], sum(a for a, _t in entries), len(entries) - 1
            )
            for start, entries in self.entries.items()
            if start >= first
        }

    def sums(self):
        sums = {start: sum(a for a, _t in entries) for start, entries in self.entries.items()}
        return {start: amount for start, amount in sums.items() if amount}

    @property
    def total(self):
        return sum(self.sums().values())


cycles = st.one_of(
    st.builds(recurrence.Cycle, st.integers(1, 45), st.just("day")),
    st.builds(recurrence.Cycle, st.integers(1, 6), st.just("week")),
    st.builds(
        recurrence.Cycle,
        st.integers(1, 12),
        st.sampled_from(["month", "year"]),
        st.sampled_from(["start", "month_end"]),
    ),
    st.builds(
        recurrence.Cycle,
        st.integers(1, 6),
        st.just("month"),
        st.just("day"),
        st.integers(1, 31),
    ),
)
days_after = st.integers(0, 500).map(lambda n: START + n * DAY)


@st.composite
def terms_of_lines(draw, holes=True, methods=("actual", "calendar", "thirty_360", "none")):
    cycle = draw(cycles)
    method = draw(st.sampled_from(methods if cycle.unit in ("month", "year") else ("actual", "none")))
    anchor = draw(days_after)
    start = anchor + draw(st.integers(0, 40)) * DAY
    end = draw(st.none() | st.integers(1, 600).map(lambda n: start + n * DAY))
    pauses = draw(
        st.lists(st.tuples(days_after, st.none() | st.integers(1, 90)), max_size=3 if holes else 0)
    )
    return charging.Terms(
        kind="recurring",
        cycle=cycle,
        timing=draw(st.sampled_from(["advance", "arrears"])),
        lead_days=draw(st.integers(0, 20)),
        anchor_start=anchor,
        start=start,
        end=end,
        holes=tuple((day, length and day + length * DAY) for day, length in pauses),
        inputs=charging.Inputs(
            price=pricing.Price("per_unit", draw(st.decimals("0.01", 5000, places=2))),
            quantity=draw(st.decimals("0.1", 50, places=1)),
            discount=draw(st.sampled_from([Decimal(0), Decimal(10), Decimal("33.33")])),
            method=method,
        ),
        rounding=CENT,
    )


@given(terms_of_lines(), days_after)
def test_invariant_1_a_second_pass_books_nothing(terms, until):
    ledger = Ledger()
    ledger.run(terms, until)
    before = ledger.sums()
    found, _following = ledger.run(terms, until)
    assert found == []
    assert ledger.sums() == before


@given(terms_of_lines(), days_after, st.lists(days_after, max_size=6))
def test_invariant_5_one_late_run_equals_runs_on_random_days(terms, until, others):
    once, often = Ledger(), Ledger()
    once.run(terms, until)
    from_day = None
    for day in sorted(day for day in [*others, until] if day <= until):
        _found, following = often.run(terms, day, from_day)
        from_day = following.start if following else (terms.end or terms.start)
    assert often.sums() == once.sums()


@given(terms_of_lines(holes=False), days_after, days_after)
def test_invariant_6_a_pause_taken_back_nets_to_zero(terms, until, day):
    ledger, untouched = Ledger(), Ledger()
    ledger.run(terms, until)
    untouched.run(terms, until)
    ledger.run(replace(terms, holes=((day, None),)), until, max(day, terms.start))
    ledger.run(terms, until, max(day, terms.start))
    assert ledger.sums() == untouched.sums()


@given(terms_of_lines(methods=("actual",)), days_after)
def test_invariant_3_every_served_day_is_paid_and_no_other(terms, until):
    ledger = Ledger()
    found, following = ledger.run(terms, until)
    paid = [span for difference in found for span in difference.entitlement.served]
    last = following.start if following else terms.end
    expected = dates.subtract([(terms.start, last)], terms.holes) if last > terms.start else []
    assert dates.merge(paid) == dates.merge(expected)
    assert dates.days(paid) == sum((end - start).days for start, end in paid), "no day twice"


@given(terms_of_lines(holes=False), st.integers(1, 400))
def test_invariant_6_closing_late_equals_having_closed_in_time(terms, served):
    """A line billed too far is credited to what it would have been charged."""
    end = terms.start + served * DAY
    late, in_time = Ledger(), Ledger()
    horizon = terms.start + 900 * DAY
    late.run(replace(terms, end=None), horizon)
    ended = replace(terms, end=end)
    late.run(ended, horizon, end - DAY)
    in_time.run(ended, horizon)
    assert late.sums() == in_time.sums()


@given(terms_of_lines(), days_after, st.decimals("0.01", 900, places=2))
def test_a_booked_slot_keeps_its_price(terms, until, other_price):
    """Only days reopen a slot: a new price on the line never changes what is booked."""
    ledger = Ledger()
    ledger.run(terms, until)
    inputs = replace(terms.inputs, price=pricing.Price("per_unit", other_price))
    found, _following = ledger.run(replace(terms, inputs=inputs), until)
    assert found == []


def monthly(**values):
    inputs = charging.Inputs(pricing.Price("per_unit", Decimal(100)), Decimal(1), Decimal(0), "actual")
    return charging.Terms(
        **{
            "kind": "recurring",
            "cycle": recurrence.Cycle(1, "month"),
            "timing": "arrears",
            "lead_days": 0,
            "anchor_start": date(2026, 1, 5),
            "start": date(2026, 1, 5),
            "end": date(2026, 3, 16),
            "holes": (),
            "inputs": inputs,
            "rounding": CENT,
            "contract_end": date(2026, 3, 16),
            **values,
        }
    )


def test_known_answer_arrears_with_a_partial_last_period():
    found, following = Ledger().run(monthly(), date(2026, 12, 31))
    assert [(d.days[0][0], d.days[-1][1] - DAY, d.bill_date, d.amount) for d in found] == [
        (date(2026, 1, 5), date(2026, 2, 4), date(2026, 2, 5), Decimal("100.00")),
        (date(2026, 2, 5), date(2026, 3, 4), date(2026, 3, 5), Decimal("100.00")),
        (date(2026, 3, 5), date(2026, 3, 15), date(2026, 3, 16), Decimal("35.48")),  # 11/31
    ]
    assert following is None


def test_known_answer_what_was_charged_elsewhere_is_not_billed():
    terms = monthly(holes=((date(2026, 1, 5), date(2026, 2, 20)),), timing="advance", end=None)
    found, following = Ledger().run(terms, date(2026, 3, 5))
    assert [(d.slot.start, d.amount) for d in found] == [
        (date(2026, 2, 5), Decimal("46.43")),  # 20 Feb to 4 Mar, 13 of 28 days
        (date(2026, 3, 5), Decimal("100.00")),
    ]
    assert following.start == date(2026, 4, 5)


def test_known_answer_credit_names_the_days_taken_back():
    ledger, terms = Ledger(), monthly(timing="advance", end=None)
    ledger.run(terms, date(2026, 3, 5))
    found, _following = ledger.run(
        replace(terms, end=date(2026, 3, 16)), date(2026, 3, 20), date(2026, 3, 15)
    )
    [credit] = found
    assert credit.amount == Decimal("-64.52")  # 20 of 31 days
    assert credit.days == ((date(2026, 3, 16), date(2026, 4, 5)),)
    assert credit.revision == 1


def test_known_answer_an_ended_line_in_arrears_comes_on_the_regular_bill():
    [_january, last], _following = Ledger().run(
        monthly(end=date(2026, 2, 15), contract_end=None), date(2026, 12, 31)
    )
    assert (last.bill_date, last.amount) == (date(2026, 3, 5), Decimal("35.71"))  # 10 of 28 days


def test_known_answer_discount():
    inputs = replace(monthly().inputs, quantity=Decimal(3), discount=Decimal("12.5"))
    found, _following = Ledger().run(monthly(inputs=inputs), date(2026, 12, 31))
    assert [d.amount for d in found] == [Decimal("262.50"), Decimal("262.50"), Decimal("93.15")]


def test_known_answer_each_adjustment_names_the_days_of_its_own_change():
    ledger, terms = Ledger(), monthly(timing="advance", end=None)
    ledger.run(terms, date(2026, 1, 5))
    first = (date(2026, 1, 10), date(2026, 1, 12))
    second = (date(2026, 1, 20), date(2026, 1, 25))
    ledger.run(replace(terms, holes=(first,)), date(2026, 1, 5))
    [credit], _following = ledger.run(replace(terms, holes=(first, second)), date(2026, 1, 5))
    assert (credit.days, credit.revision) == ((second,), 2)


def test_known_answer_what_was_credited_for_good_is_not_credited_again():
    for waived, expected in ((-100, []), (-30, [-70]), (0, [-100])):
        terms = monthly(timing="advance", end=None)
        [charge], _following = charging.differences(terms, {}, None, date(2026, 1, 5))
        entry = trace.to_booked(
            *[trace.from_difference(charge)] * 2, Decimal(100), 1, Decimal(waived)
        )
        taken_back = replace(terms, holes=((date(2026, 1, 5), None),))
        found, _following = charging.differences(taken_back, {entry.slot.start: entry}, None, date(2026, 1, 5))
        assert [d.amount for d in found] == expected


def test_one_time_charge_is_booked_once_on_its_day():
    ledger = Ledger()
    terms = monthly(kind="one_time", start=date(2026, 2, 10), end=None)
    assert ledger.run(terms, date(2026, 2, 9))[0] == []
    found, following = ledger.run(terms, date(2026, 2, 10))
    assert [(d.bill_date, d.amount) for d in found] == [(date(2026, 2, 10), Decimal("100.00"))]
    assert following is None
    assert ledger.run(terms, date(2027, 1, 1), date(2026, 2, 11))[0] == []


def test_full_price_for_any_part_without_proration():
    inputs = replace(monthly().inputs, method="none")
    found, _following = Ledger().run(monthly(inputs=inputs), date(2026, 12, 31))
    assert [d.amount for d in found] == [Decimal("100.00")] * 3
    assert {Fraction(trace.from_difference(d)["factor"]) for d in found} == {Fraction(1)}


@pytest.mark.parametrize(
    ("amount", "quantity", "discount"),
    [("100.00", "3", "0"), ("0.01", "7", "0"), ("-33.33", "12", "10"), ("1234.56", "0.7", "33.33")],
)
def test_unit_price_gives_the_amount_back(amount, quantity, discount):
    amount, quantity, discount = Decimal(amount), Decimal(quantity), Decimal(discount)
    price = charging.unit_price(amount, quantity, discount, CENT)
    assert (price * quantity * (1 - discount / 100)).quantize(CENT) == amount


def test_unit_price_has_none_for_nothing():
    assert charging.unit_price(Decimal(5), Decimal(0), Decimal(0), CENT) is None
    assert charging.unit_price(Decimal(5), Decimal(1), Decimal(100), CENT) is None
