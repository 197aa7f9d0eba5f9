"""What a contract line should be charged, and what is still missing in the ledger.

The functions here are pure: they get the terms of one line and the charges that exist, and
return the differences to book. Running them again on the result gives no difference.
All spans are half-open ``[start, end)``; amounts are in the currency of the contract.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal

from . import dates, money, pricing, proration, recurrence

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Inputs:
    """The frozen inputs of one slot's amount.

    ``quantity`` is in the unit of the price, ``discount`` a percentage (10 = 10 %).
    """

    price: pricing.Price
    quantity: Decimal
    discount: Decimal
    method: str  # proration method, see proration.elapsed


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of one contract line.

    ``holes`` are the days that are not charged: pauses, and what was charged elsewhere
    before migration. ``end`` is exclusive, None for an open-ended line.
    ``rounding`` is the smallest amount of the currency (0.01).
    """

    kind: str  # recurring | one_time
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


@dataclass(frozen=True, slots=True)
class Booked:
    """What the ledger holds for one slot: the sum of its entries that count, the revision of
    the latest and the days served by then, and the inputs frozen by the first."""

    slot: recurrence.Slot
    amount: Decimal
    revision: int
    inputs: Inputs
    served: tuple[tuple[date, date], ...] = ()


@dataclass(frozen=True, slots=True)
class Entitlement:
    """What one slot should cost, with everything needed to explain it."""

    amount: Decimal
    full_amount: Decimal  # unrounded price of the undivided period, after discount
    gross_amount: Decimal  # before discount
    served: tuple[tuple[date, date], ...]
    steps: tuple[pricing.Step, ...]


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

    In arrears a line that ends while its contract goes on waits for the end of the period, so
    that it comes on the regular bill.
    """
    if terms.kind == "one_time":
        return slot.start
    if terms.timing == "arrears":
        slot = replace(slot, end=min(slot.period_end, terms.contract_end or date.max))
    return recurrence.bill_date(slot, terms.timing, terms.lead_days)


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
    span_end = slot.end if terms.end is None else min(slot.end, terms.end)
    span = [(slot.start, span_end)] if span_end > slot.start else []
    served = tuple(dates.subtract(span, terms.holes))
    gross, steps = pricing.evaluate(inputs.price, inputs.quantity)
    full = gross * (1 - inputs.discount / 100)
    if not served:
        amount = Decimal(0)
    elif terms.kind == "one_time":
        amount = money.round_amount(full, terms.rounding)
    else:
        parts = proration.parts(
            full, inputs.method, slot.period_start, slot.period_end, served, terms.rounding
        )
        amount = sum(parts, Decimal(0))
    return Entitlement(amount, full, gross, served, steps)


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
    inputs = entry.inputs if entry else terms.inputs
    should = entitlement(terms, slot, inputs)
    booked_amount = entry.amount if entry else Decimal(0)
    amount = should.amount - booked_amount
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
    )


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
