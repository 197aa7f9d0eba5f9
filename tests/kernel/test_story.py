"""Whole lives of a contract: amendments, pauses, ends, late usage and credit notes between runs, in any order.

In the end the ledger is compared with a count day by day that shares no code with the kernels: it walks through the
days one by one, with periods from dateutil and shares of a month as fractions.
"""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

from billing_tools import charging, pricing, recurrence, trace, usage
from dateutil.relativedelta import relativedelta
from hypothesis import given, settings
from hypothesis import strategies as st

DAY = timedelta(days=1)
START = date(2023, 10, 31)
PRICE, USAGE_PRICE, MINIMUM = Decimal("99.99"), Decimal("0.37"), Decimal("20.01")


@dataclass
class Entry:
    amount: Decimal
    trace: dict
    waived: bool = False


@dataclass
class Line:
    kind: str
    start: date
    end: date | None = None
    quantity: int = 1
    looked_at_from: date = START
    previous: "Line | None" = None
    entries: dict = field(default_factory=lambda: defaultdict(list))  # slot start -> entries


class Contract:
    """The contract as the database keeps it, and the ledger; ``run`` is the engine's own way of booking."""

    def __init__(self, months, timing, lead_days):
        self.cycle = recurrence.Cycle(months, "month")
        self.months, self.timing, self.lead_days = months, timing, lead_days
        self.lines = [Line(kind, START) for kind in ("recurring", "usage", "minimum")]
        self.pauses, self.end, self.records = [], None, []

    def ends(self, line):
        return min((end for end in (line.end, self.end) if end), default=None)

    def terms(self, line):
        price = {"recurring": PRICE, "usage": USAGE_PRICE, "minimum": MINIMUM}[line.kind]
        days = defaultdict(list)
        for day, quantity in self.records:
            days[day].append(quantity)
        return charging.Terms(
            kind=line.kind,
            cycle=self.cycle,
            timing=self.timing,
            lead_days=self.lead_days,
            anchor_start=START,
            start=line.start,
            end=self.ends(line),
            holes=tuple(self.pauses),
            inputs=charging.Inputs(
                pricing.Price("per_unit", price), Decimal(line.quantity), Decimal(0), "actual"
            ),
            rounding=Decimal("0.01"),
            contract_end=self.end,
            handover=next((other.start for other in self.lines if other.previous is line), None),
            days=tuple(usage.DayUsage(day, Decimal(sum(found))) for day, found in sorted(days.items())),
        )

    def run(self, until):
        covered = {}
        for line in sorted(self.lines, key=lambda line: line.kind == "minimum"):
            terms = replace(self.terms(line), covered=covered)
            # the engine looks at metered lines of a contract with a minimum from one day on
            from_day = line.looked_at_from if line.kind == "recurring" else START
            booked = self.booked(line, charging.slot_start(terms, from_day))
            found, following = charging.differences(terms, booked, from_day, until)
            covered = charging.settle_minimum(covered, terms, booked, from_day, until)
            for difference in found:
                entries = line.entries[difference.slot.start]
                assert difference.revision == len(entries), "revisions follow each other"
                entries.append(Entry(difference.amount, trace.from_difference(difference)))
            line.looked_at_from = following.start if following else max(terms.end, line.start)

    def booked(self, line, first):
        found = {}
        for start, entries in line.entries.items():
            if start >= first:
                counted = [entry for entry in entries if not entry.waived]
                found[start] = trace.to_booked(
                    entries[0].trace,
                    (counted or entries)[-1].trace,
                    sum((entry.amount for entry in counted), Decimal(0)),
                    len(entries) - 1,
                    sum((entry.amount for entry in entries if entry.waived), Decimal(0)),
                )
        return found

    def touch(self, day):
        for line in self.lines:
            line.looked_at_from = min(day, line.looked_at_from)

    # What people do

    def amend(self, day, quantity):
        line = next(line for line in reversed(self.lines) if line.kind == "recurring")
        day = max(day, line.start)
        line.end = day
        self.lines.append(Line("recurring", day, quantity=quantity, looked_at_from=day, previous=line))
        self.touch(day - DAY)

    def pause(self, day, length):
        self.pauses.append((day, length and day + length * DAY))
        self.touch(day)

    def resume(self, number, _length):
        if self.pauses:
            day, _end = self.pauses.pop(number.toordinal() % len(self.pauses))
            self.touch(day)

    def close(self, day, _length):
        before, self.end = self.end, max(day, START + DAY)
        self.touch(min(self.end, before or self.end) - DAY)  # the last day charged

    def reopen(self, _day, _length):
        if self.end:
            self.touch(self.end - DAY)
            self.end = None

    def record(self, day, quantity):
        self.records.append((day, quantity))

    def credit(self, day, waived):
        """A credit note over what a slot holds: for good, or to be billed again."""
        line = self.lines[day.toordinal() % len(self.lines)]
        for start in sorted(line.entries):
            entries = line.entries[start]
            held = sum((entry.amount for entry in entries), Decimal(0))
            if start <= day and held > 0:
                credited = {**entries[-1].trace, "credit_of": "INV", "served": []}
                entries.append(Entry(-held, credited, waived=bool(waived % 2)))
                self.touch(start)
                return

    def sums(self, waived=False):
        found = {}
        for line in self.lines:
            for start, entries in line.entries.items():
                if amount := sum(entry.amount for entry in entries if entry.waived == waived):
                    found[line.kind, line.start, line.quantity, start] = (
                        found.get((line.kind, line.start, line.quantity, start), 0) + amount
                    )
        return found


def cents(value):
    exact = Decimal(value.numerator) / Decimal(value.denominator)
    return exact.quantize(Decimal("0.01"), ROUND_HALF_UP)


def count_by_day(contract, until):
    """What every slot should cost, by walking through the days of each line."""
    found = {}
    for line in sorted(contract.lines, key=lambda line: line.kind == "minimum"):
        number = 0
        while (first := START + relativedelta(months=number * contract.months)) <= until + 40 * DAY:
            number += 1
            after = START + relativedelta(months=number * contract.months)
            served = [
                day
                for day in (first + n * DAY for n in range((after - first).days))
                if line.start <= day
                and not (line.end and day >= line.end)
                and not (contract.end and day >= contract.end)
                and not any(a <= day and (b is None or day < b) for a, b in contract.pauses)
            ]
            slot = max(first, line.start)
            if not is_billable(contract, line, slot, after, until) or not served:
                continue
            quantity = sum(q for day, q in contract.records if day in served)
            if line.kind == "usage":
                amount = cents(Fraction(USAGE_PRICE) * quantity)
            else:
                price = Fraction(PRICE) * line.quantity if line.kind == "recurring" else Fraction(MINIMUM)
                amount = price_of_days(price, first, after, served)
            if line.kind == "minimum":
                amount -= min(amount, cents(Fraction(USAGE_PRICE) * quantity))
            if amount:
                key = (line.kind, line.start, line.quantity, slot)
                found[key] = found.get(key, 0) + amount
    return found


def is_billable(contract, line, slot, after, until):
    if line.kind == "recurring" and contract.timing == "advance":
        return slot - contract.lead_days * DAY <= until
    return min(after, contract.end or after) <= until


def price_of_days(price, first, after, served):
    """Each stretch of days: round(price up to its end) − round(price up to its start)."""
    length = (after - first).days
    amount = Decimal(0)
    for day in served:
        if day - DAY not in served:
            amount -= cents(price * Fraction((day - first).days, length))
        if day + DAY not in served:
            amount += cents(price * Fraction((day - first).days + 1, length))
    return amount


days = st.integers(0, 300).map(lambda n: START + n * DAY)
deeds = st.lists(
    st.tuples(
        st.sampled_from(["amend", "pause", "resume", "close", "reopen", "record", "credit", "run"]),
        days,
        st.integers(1, 60),
    ),
    max_size=14,
)
contracts = st.tuples(st.sampled_from([1, 1, 3]), st.sampled_from(["advance", "arrears"]), st.integers(0, 20))
END = START + 330 * DAY


def live(values, deeds):
    """A contract's life: runs on days that never go back, everything else on any day."""
    contract, until = Contract(*values), START
    for name, day, number in deeds:
        if name == "run":
            until = max(until, day)
            contract.run(until)
        else:
            getattr(contract, name)(day, number)
    contract.run(END)
    return contract


@settings(max_examples=300)
@given(contracts, deeds)
def test_invariant_3_any_life_ends_at_the_count_by_day(values, deeds):
    contract = live(values, deeds)
    found, expected, waived = contract.sums(), count_by_day(contract, END), contract.sums(waived=True)
    for key in {*found, *expected, *waived}:
        amount = expected.get(key, 0)
        # what was credited for good is not credited again, unless another line charges these days
        assert found.get(key, 0) in (amount, max(amount, -waived.get(key, 0)))


@given(contracts, deeds, days)
def test_no_credit_is_given_twice(values, deeds, day):
    """However a contract without amendments ends: no slot comes to less than nothing."""
    contract = live(values, [deed for deed in deeds if deed[0] != "amend"])
    contract.close(day, 1)
    contract.run(END)
    for line in contract.lines:
        for entries in line.entries.values():
            assert sum(entry.amount for entry in entries) >= 0


@given(contracts, deeds)
def test_invariant_1_after_any_life_a_second_run_books_nothing(values, deeds):
    contract = live(values, deeds)
    before = {id(line): {s: len(e) for s, e in line.entries.items()} for line in contract.lines}
    contract.touch(START)
    contract.run(END)
    assert {id(line): {s: len(e) for s, e in line.entries.items()} for line in contract.lines} == before


@given(contracts, deeds, st.lists(days, max_size=12))
def test_invariant_5_runs_between_change_no_sum(values, deeds, nights):
    """One run for all of it, and runs on random nights, end at the same sums."""
    deeds = [deed for deed in deeds if deed[0] not in ("run", "credit")]
    runs = [("run", night, 1) for night in sorted(nights)]
    often = [deed for pair in zip(deeds, runs, strict=False) for deed in pair]
    rest = deeds[len(nights) :]
    assert live(values, [*often, *rest]).sums() == live(values, deeds).sums()


arrivals_of_usage = st.permutations([("record", START + 17 * n * DAY, n + 1) for n in range(12)])


@given(contracts, arrivals_of_usage, st.lists(days, max_size=12))
def test_invariant_5_the_order_in_which_usage_arrives_changes_no_sum(values, arrivals, nights):
    """Records that come late, early or mixed with runs cost what they cost in order."""
    mixed = [*arrivals]
    for night in sorted(nights):
        mixed.insert(night.toordinal() % len(mixed), ("run", night, 1))
    assert live(values, mixed).sums() == live(values, sorted(arrivals, key=lambda deed: deed[1])).sums()


@given(contracts, deeds, days, st.integers(2, 9), days)
def test_invariant_6_an_amendment_taken_back_nets_to_zero(values, deeds, day, quantity, night):
    """Changed and changed back from the same day on: in sum as if nothing had been."""
    deeds = [deed for deed in deeds if deed[0] in ("pause", "run", "record")]
    plain, changed = live(values, deeds), live(values, deeds)
    changed.amend(day, quantity)
    changed.run(END + (night - START))
    changed.amend(day, 1)
    plain.run(END + (night - START))
    changed.run(END + (night - START))
    assert sum(changed.sums().values()) == sum(plain.sums().values())
