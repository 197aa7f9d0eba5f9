"""What a contract line should be charged, and what is still missing in the ledger.

The functions here are pure: they get the terms of one line and the charges that exist, and
return the differences to book. Running them again on the result gives no difference.
All spans are half-open ``[start, end)``; amounts are in the currency of the contract.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal

from . import dates, money, pricing, proration, recurrence, usage

ONE_DAY = timedelta(days=1)
METERED = ("usage", "minimum")  # always in arrears: the quantity is known at the end only
Period = tuple[date, date]  # an undivided service period


@dataclass(frozen=True, slots=True)
class Inputs:
    """The frozen inputs of one slot's amount.

    ``quantity`` is in the unit of the price, ``discount`` a percentage (10 = 10 %).
    The quantity of usage is the one input that stays open: late records change it. After an
    amendment within the period that keeps the price, ``before`` is what was used in the period
    under the line before, and ``total`` what it makes with ``quantity``. ``counts_on`` is False for
    slots that were booked when brackets began anew with each line.
    """

    price: pricing.Price
    quantity: Decimal
    discount: Decimal
    method: str  # proration method, see proration.elapsed
    before: Decimal | None = None
    total: Decimal = Decimal(0)
    counts_on: bool = True


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of one contract line.

    ``holes`` are the days that are not charged: pauses, and what was charged elsewhere
    before migration. ``end`` is exclusive, None for an open-ended line.
    ``rounding`` is the smallest amount of the currency (0.01).

    A usage line has what its meter counted in ``days``, sorted; ``aggregation`` says how days
    come together. A minimum line has in ``covered`` what usage of the contract cost, by undivided
    period: only the shortfall is charged.
    """

    kind: str  # recurring | usage | one_time | minimum
    cycle: recurrence.Cycle
    timing: str  # advance | arrears
    lead_days: int
    anchor_start: date  # the start of the contract, never of the line
    start: date
    end: date | None
    holes: tuple[tuple[date, date | None], ...]
    inputs: Inputs
    rounding: Decimal
    contract_end: date | None = None  # exclusive
    aggregation: str = "sum"  # see usage.aggregate
    days: tuple[usage.DayUsage, ...] = ()
    covered: Mapping[Period, Decimal] = field(default_factory=dict)
    handover: date | None = None  # from this day on another line charges in place of this one
    taken_over: Decimal = Decimal(0)  # what that line charges for the rest of the period
    before: tuple[usage.DayUsage, ...] | None = None  # of the first slot's period, see `count_on`


@dataclass(frozen=True, slots=True)
class Booked:
    """What the ledger holds for one slot: the sum of its entries that count, the revision of
    the latest with the quantity and the days served by then, the inputs frozen by the first,
    and the sum of what was credited for good."""

    slot: recurrence.Slot
    amount: Decimal
    revision: int
    inputs: Inputs
    served: tuple[tuple[date, date], ...] = ()
    quantity: Decimal = Decimal(0)
    waived: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Entitlement:
    """What one slot should cost, with everything needed to explain it.

    ``covered_amount`` is the part of a minimum commitment that usage has paid for."""

    amount: Decimal
    full_amount: Decimal  # unrounded price of the undivided period, after discount
    gross_amount: Decimal  # before discount
    served: tuple[tuple[date, date], ...]
    steps: tuple[pricing.Step, ...]
    covered_amount: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Difference:
    """One entry to book: ``amount`` is negative for a credit."""

    slot: recurrence.Slot
    revision: int
    bill_date: date
    amount: Decimal
    booked_amount: Decimal
    entitlement: Entitlement
    inputs: Inputs
    days: tuple[tuple[date, date], ...]  # what the entry is about: the days gained or lost
    booked_quantity: Decimal = Decimal(0)
    record_count: int = 0  # usage records behind the quantity


def line_slots(terms: Terms, from_day: date | None = None) -> Iterator[recurrence.Slot]:
    """The slots of a line in order, from the one that holds ``from_day``; endless for an
    open-ended line, so the caller stops it.

    A one-time line has one slot of one day.
    """
    if terms.kind == "one_time":
        end = terms.start + ONE_DAY
        if (terms.end is None or terms.end > terms.start) and (
            from_day is None or from_day <= terms.start
        ):
            yield recurrence.Slot(terms.start, end, terms.start, end)
        return
    yield from recurrence.slots(
        terms.cycle, terms.anchor_start, terms.start, terms.end, from_day, date.max
    )


def bill_date(terms: Terms, slot: recurrence.Slot) -> date:
    """The first day on which the slot may be billed. A one-time charge: its own day.

    Usage and minimum commitments are charged in arrears whatever the timing of the plan.
    In arrears a line that ends while its contract goes on waits for the end of the period, so
    that it comes on the regular bill.
    """
    if terms.kind == "one_time":
        return slot.start
    timing = "arrears" if terms.kind in METERED else terms.timing
    if timing == "arrears":
        slot = replace(slot, end=min(slot.period_end, terms.contract_end or date.max))
    return recurrence.bill_date(slot, timing, terms.lead_days)


def slot_start(terms: Terms, day: date) -> date:
    """The start of the slot that holds ``day``, or of the line's first slot if that is later.

    A booked slot of an ended line is found too: the end of the line is not looked at.
    A one-time line has no slot after its day.
    """
    if day <= terms.start:
        return terms.start
    if terms.kind == "one_time":
        return day
    index = recurrence.index_of(terms.cycle, terms.anchor_start, day)
    return max(terms.start, recurrence.boundary(terms.cycle, terms.anchor_start, index))


def entitlement(terms: Terms, slot: recurrence.Slot, inputs: Inputs) -> Entitlement:
    """What the slot should cost, given the days of the line that were served in it.

    Parts of a slot are round(full × F(end)) − round(full × F(start)), so that they add up
    to the full price to the cent.
    """
    served = served_days(terms, slot)
    earlier = Decimal(0)
    if inputs.before is None:
        gross, steps = pricing.evaluate(inputs.price, inputs.quantity)
    else:  # what the period costs as a whole, less what it had cost up to then
        gross, steps = pricing.evaluate(inputs.price, inputs.total)
        earlier = pricing.evaluate(inputs.price, inputs.before)[0]
        gross -= earlier
    full = gross * (1 - inputs.discount / 100)
    covered = Decimal(0)
    if not served:
        amount = Decimal(0)
    elif terms.kind in ("one_time", "usage"):  # usage is what it is: no share of the period
        credit = earlier * (1 - inputs.discount / 100)
        amount = money.round_amount(full + credit, terms.rounding)
        amount -= money.round_amount(credit, terms.rounding)
    else:
        parts = proration.parts(
            full, inputs.method, slot.period_start, slot.period_end, served, terms.rounding
        )
        amount = sum(parts, Decimal(0))
    if terms.kind == "minimum":
        spent = terms.covered.get((slot.period_start, slot.period_end), Decimal(0))
        covered = max(Decimal(0), min(amount, spent))
        amount -= covered
    return Entitlement(amount, full, gross, served, steps, covered)


def served_days(terms: Terms, slot: recurrence.Slot) -> tuple[tuple[date, date], ...]:
    """The days of the slot that are charged: those of the line without its holes."""
    span_end = slot.end if terms.end is None else min(slot.end, terms.end)
    span = [(slot.start, span_end)] if span_end > slot.start else []
    return tuple(dates.subtract(span, terms.holes))


def end_of_slots(terms: Terms, count: int) -> date | None:
    """The day after the last of ``count`` slots of the line, the partial first one included.

    Slots without a served day do not count, so that a coupon survives a pause. None (or the
    line's own end) while the slots are not used up because the line is not served any more.
    """
    rest = min((start for start, end in terms.holes if end is None), default=date.max)
    for slot in line_slots(terms):
        if slot.start >= rest:
            break
        count -= bool(served_days(terms, slot))
        if not count:
            return slot.end
    return terms.end


def period_start(terms: Terms, day: date) -> date:
    """The first day of the undivided period that holds ``day``."""
    index = recurrence.index_of(terms.cycle, terms.anchor_start, day)
    return recurrence.boundary(terms.cycle, terms.anchor_start, index)


def charged_after(following: Sequence[Terms], period: Period) -> Decimal:
    """What lines that took over inside ``period`` should be charged for the rest of it.

    :param following: the lines in order, each with the price that it started with
    """
    total = Decimal(0)
    for terms in following:
        for slot in line_slots(terms, max(terms.start, period[0])):
            if (slot.period_start, slot.period_end) != period:
                break
            total += entitlement(terms, slot, slot_inputs(terms, slot, None)[0]).amount
    return total


def settle_minimum(
    covered: Mapping[Period, Decimal],
    terms: Terms,
    booked: Mapping[date, Booked],
    from_day: date | None,
    until: date,
) -> dict[Period, Decimal]:
    """What is left to count towards minimum commitments once ``terms`` has been computed.

    Usage adds what its slots cost; a minimum takes what it was covered with, so that of several
    minimum lines (one that replaces another, or side by side) together they charge what usage
    falls short of their sum. Other lines change nothing.
    """
    left = dict(covered)
    if terms.kind not in METERED:
        return left
    for slot in line_slots(terms, from_day):
        if bill_date(terms, slot) > until:
            break
        should = entitlement(terms, slot, slot_inputs(terms, slot, booked.get(slot.start))[0])
        change = should.amount if terms.kind == "usage" else -should.covered_amount
        period = (slot.period_start, slot.period_end)
        left[period] = left.get(period, Decimal(0)) + change
    return left


def slot_inputs(
    terms: Terms, slot: recurrence.Slot, entry: Booked | None
) -> tuple[Inputs, int]:
    """The inputs of a slot: those frozen by its first entry, else those of the line; with the
    quantity that was used, for usage, and the number of its records."""
    inputs = entry.inputs if entry else terms.inputs
    if terms.kind != "usage":
        return inputs, 0
    served = served_days(terms, slot)
    quantity, count = usage.of_days(terms.aggregation, terms.days, served)
    inputs = replace(inputs, quantity=quantity, before=None)
    if terms.before is None or slot.start != terms.start or not inputs.counts_on:
        return inputs, count
    before, total = (
        usage.of_days(terms.aggregation, found, [(slot.period_start, slot.period_end)])[0]
        for found in (terms.before, terms.before + usage.in_days(terms.days, served))
    )
    return replace(inputs, before=before, total=total), count


def count_on(terms: Terms, previous: Terms, booked: Mapping[date, Booked]) -> Terms:
    """``terms`` of a usage line with what the line that it replaces counted in the same period.

    Brackets, packages, flat and minimum amounts are for a period: when an amendment within it
    keeps the price, the new line pays what the period costs as a whole less what it had cost
    before. With another price it starts anew. At the start of a period there is nothing to count.

    :param previous: terms of the line before, itself with what it counts on
    :param booked: the ledger of the line before
    """
    kept = ("kind", "cycle", "anchor_start", "aggregation")
    if (
        terms.kind != "usage"
        or previous.end != terms.start
        or any(getattr(terms, name) != getattr(previous, name) for name in kept)
    ):
        return terms
    slot = next(line_slots(previous, slot_start(previous, terms.start)), None)
    if not slot or slot.period_end <= terms.start:
        return terms
    served = served_days(previous, slot)
    inputs, _count = slot_inputs(previous, slot, booked.get(slot.start))
    if not served or inputs.price != terms.inputs.price:
        return terms
    earlier = () if inputs.before is None else previous.before
    return replace(terms, before=earlier + usage.in_days(previous.days, served))


def differences(
    terms: Terms,
    booked: Mapping[date, Booked],
    from_day: date | None,
    until: date,
) -> tuple[list[Difference], recurrence.Slot | None]:
    """The entries that are missing for all slots that may be billed up to ``until``.

    :param booked: the ledger by start of slot, for the slots from that of ``from_day`` on
    :param from_day: nothing before the slot of this day changed; None for the whole line
    :param until: the last bill date, inclusive
    :return: the differences in order of slot, and the first slot that is to be billed later
        (None when the line is billed to its end). A slot without a served day needs no entry.
    """
    found = []
    pending = dict(booked)
    following = None
    for slot in line_slots(terms, from_day):
        if bill_date(terms, slot) > until:
            following = slot
            break
        found += _difference(terms, slot, pending.pop(slot.start, None))
    # Booked slots that the line no longer reaches (ended, or moved) are taken back.
    for start in sorted(pending):
        if terms.end is not None and start >= terms.end:
            found += _difference(terms, pending[start].slot, pending[start])
    return found, following


def _difference(
    terms: Terms, slot: recurrence.Slot, entry: Booked | None
) -> Iterator[Difference]:
    inputs, record_count = slot_inputs(terms, slot, entry)
    should = entitlement(terms, slot, inputs)
    booked_amount = entry.amount if entry else Decimal(0)
    amount = should.amount - booked_amount
    if entry and entry.waived:
        handed_over = terms.end and terms.end == terms.handover and terms.end < slot.period_end
        taken_over = terms.taken_over if handed_over else Decimal(0)
        amount = _without_waived(amount, booked_amount, entry.waived, taken_over)
    if not amount and (entry or not should.served):
        return
    yield Difference(
        slot=slot,
        revision=entry.revision + 1 if entry else 0,
        bill_date=bill_date(terms, slot),
        amount=amount,
        booked_amount=booked_amount,
        entitlement=should,
        inputs=inputs,
        days=_days_about(should, entry) or ((slot.start, slot.end),),
        booked_quantity=entry.quantity if entry else Decimal(0),
        record_count=record_count,
    )


def _without_waived(
    amount: Decimal, booked: Decimal, waived: Decimal, taken_over: Decimal = Decimal(0)
) -> Decimal:
    """What is left of a difference once what was credited for good is set off against it, so
    that no credit is given twice: charge and credits of a slot never come to less than nothing.

    What another line charges for days that it took over is given back in full: an amendment
    costs the difference of the terms, also in a period that was credited.

    >>> hundred, sixty = Decimal(100), Decimal(60)
    >>> [str(_without_waived(-hundred, hundred, waived)) for waived in (-hundred, -sixty)]
    ['0', '-40']
    >>> str(_without_waived(Decimal(20), hundred, -hundred))
    '20'
    >>> [str(_without_waived(-sixty, hundred, -hundred, Decimal(taken))) for taken in (20, 80)]
    ['-20', '-60']
    """
    if amount * waived <= 0:
        return amount
    left = booked + waived
    if taken_over * waived < 0:
        left += taken_over
    if left * waived >= 0:
        return Decimal(0)
    return max(amount, -left) if amount < 0 else min(amount, -left)


def what_is_left(amount: Decimal, rest: Decimal) -> Decimal:
    """What can still be credited of a charge of ``amount`` when ``rest`` is left of its slot: never
    more than either, nor anything when the slot is credited already. Signs go along.

    >>> [str(what_is_left(Decimal(100), Decimal(rest))) for rest in (150, 60, 0, -5)]
    ['100', '60', '0', '0']
    >>> str(what_is_left(Decimal(-20), Decimal(-15)))
    '-15'
    """
    if amount * rest <= 0:
        return Decimal(0)
    return min(amount, rest, key=abs)


def _days_about(should: Entitlement, entry: Booked | None) -> tuple[tuple[date, date], ...]:
    """The days that an entry pays for: for an adjustment those that changed, if any did."""
    if not entry:
        return should.served
    changed = [
        *dates.subtract(should.served, entry.served),
        *dates.subtract(entry.served, should.served),
    ]
    return tuple(sorted(changed)) or should.served


def unit_price(
    amount: Decimal, quantity: Decimal, discount: Decimal, rounding: Decimal
) -> Decimal | None:
    """The shortest unit price (2 to 12 decimals) with which
    quantity × price × (1 − discount %) rounds to ``amount``; None if there is none.

    >>> unit_price(Decimal("10.00"), Decimal(3), Decimal(0), Decimal("0.01"))
    Decimal('3.333')
    >>> unit_price(Decimal("27.00"), Decimal(3), Decimal(10), Decimal("0.01"))
    Decimal('10.00')
    """
    weight = quantity * (1 - discount / 100)
    if not weight:
        return None
    for digits in range(2, 13):
        price = money.round_amount(amount / weight, Decimal(1).scaleb(-digits))
        if money.round_amount(price * weight, rounding) == amount:
            return price
    return None
