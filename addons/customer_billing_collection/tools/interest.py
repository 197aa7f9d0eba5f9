"""Simple interest on what is open of an item, day by day.

Moments are ends of days: the span from ``start`` to ``end`` is about the days after ``start`` up to and including
``end``. So the day after the due date is the first that bears interest, and the day of a payment the last that bears
interest on what was paid: an item due on the 10th and paid on the 13th bears interest for three days.

The interest of an item is one cumulative function of time, rounded once. An entry is the difference between two of its
values, so entries add up to the cent however often the days are cut: accruing in two runs gives what one run gives.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

Round = Callable[[Fraction], Decimal]
"""Rounds an exact amount to the currency, such as ``customer_billing.tools.money.round_amount`` with its step."""


@dataclass(frozen=True)
class Terms:
    """What interest costs: the rate per year (0.08 is 8 %), the day count, and the most that an item may bear.

    ``cap`` is a share of the item's amount over the whole life of the item; 0 means no cap.
    """

    rate: Decimal
    basis: str
    cap: Decimal = Decimal(0)


@dataclass(frozen=True)
class Span:
    """The days after ``start`` up to ``end``, and their terms."""

    start: date
    end: date
    terms: Terms


@dataclass(frozen=True)
class Item:
    """What bears interest.

    :param amount: what was owed at first, in the currency of the item
    :param due: the last day to pay
    :param grace_days: what is paid up to so many days after the due date bears no interest at all
    :param payments: (day, amount) of payments and credits matched with the item, in any order; negative when a match
        was taken back on a day of its own
    """

    amount: Decimal
    due: date
    grace_days: int = 0
    payments: tuple[tuple[date, Decimal], ...] = ()

    @property
    def grace_end(self) -> date:
        """The last day to pay without interest."""
        return self.due + timedelta(days=self.grace_days)


@dataclass(frozen=True)
class Stretch:
    """Days after ``start`` up to ``end`` with one residual and one rate; ``interest`` is exact."""

    start: date
    end: date
    residual: Decimal
    rate: Decimal
    days: int
    interest: Fraction


@dataclass(frozen=True)
class Entry:
    """The interest of a span: its rounded amount, and the stretches of days that bear any."""

    span: Span
    amount: Decimal
    stretches: tuple[Stretch, ...]


def count_days(basis: str, start: date, end: date) -> int:
    """Return the days from the end of ``start`` to the end of ``end`` as the day count has them.

    * 'actual_365' (Actual/365 Fixed, ISDA 2006 section 4.16(d)) and 'actual_360' (section 4.16(e)): calendar days;
    * 'thirty_360' (30E/360, Eurobond basis, section 4.16(g)): months of 30 days, the 31st being the 30th.

    All of them add up when a span is cut. The American 30/360 (section 4.16(f)) does not, and is left out.

    :raises ValueError: for an unknown basis

    >>> count_days('actual_365', date(2026, 1, 31), date(2026, 2, 28))
    28
    >>> count_days('thirty_360', date(2026, 1, 31), date(2026, 2, 28)), count_days(
    ...     'thirty_360', date(2026, 2, 28), date(2026, 3, 31))
    (28, 32)
    """
    if basis not in _YEAR:
        raise ValueError(f"Unknown day count {basis!r}: use actual_365, actual_360 or thirty_360.")
    if basis == "thirty_360":
        return _thirty_360_position(end) - _thirty_360_position(start)
    return (end - start).days


def get_stretches(item: Item, span: Span) -> tuple[Stretch, ...]:
    """Return the stretches of a span that bear interest, in order; days up to the due date never do.

    Up to the end of the grace only what is still open then bears interest.

    >>> item = Item(Decimal(1000), date(2026, 1, 31), 0, ((date(2026, 2, 10), Decimal(400)),))
    >>> span = Span(date(2026, 1, 31), date(2026, 2, 28), Terms(Decimal('0.0365'), 'actual_365'))
    >>> [(s.end.day, str(s.residual), s.days, str(s.interest)) for s in get_stretches(item, span)]
    [(10, '1000', 10, '1'), (28, '600', 18, '27/25')]
    """
    start, end = max(span.start, item.due), span.end
    if end <= item.grace_end:  # nobody knows yet what will be open then
        return ()
    cuts = {day for day, _amount in item.payments} | {item.grace_end}
    moments = [start, *sorted(day for day in cuts if start < day < end), end]
    found = []
    for first, last in pairwise(moments):
        known = max(first, item.grace_end)
        residual = item.amount - sum(amount for day, amount in item.payments if day <= known)
        days = count_days(span.terms.basis, first, last)
        if residual > 0 and last > first:
            if found and found[-1].residual == residual:  # the grace alone is no change
                first, days = found[-1].start, days + found.pop().days
            interest = Fraction(residual) * Fraction(span.terms.rate) * Fraction(days, _YEAR[span.terms.basis])
            found.append(Stretch(first, last, residual, span.terms.rate, days, interest))
    return tuple(found)


def accrue(item: Item, spans: Iterable[Span], rounded: Round) -> list[Entry]:
    """Return the interest of each span, in order.

    :param spans: the spans of the item, in order of time and without overlap
    :param rounded: rounds to the currency of the item

    >>> item = Item(Decimal(100), date(2026, 1, 31))
    >>> terms = Terms(Decimal('0.05'), 'actual_365')
    >>> cut = [Span(date(2026, 1, 31), date(2026, 2, 10), terms), Span(date(2026, 2, 10), date(2026, 3, 31), terms)]
    >>> cents = lambda amount: round(Decimal(amount.numerator) / amount.denominator, 2)
    >>> [str(entry.amount) for entry in accrue(item, cut, cents)]
    ['0.14', '0.67']
    """
    entries = []
    exact, rounded_before, charged = Fraction(0), Decimal(0), Decimal(0)
    for span in spans:
        stretches = get_stretches(item, span)
        exact += sum(stretch.interest for stretch in stretches)
        rounded_now = rounded(exact)
        amount = rounded_now - rounded_before
        if span.terms.cap:
            most = rounded(Fraction(item.amount) * Fraction(span.terms.cap))
            amount = max(min(amount, most - charged), Decimal(0))
        entries.append(Entry(span, amount, stretches))
        rounded_before, charged = rounded_now, charged + amount
    return entries


def get_adjustments(entries: Sequence[Entry], booked: Sequence[Decimal], changed: Sequence[bool]) -> list[Decimal]:
    """Return what to add to each booked span, zero mostly, so that all is as ``entries`` say.

    A difference of rounding moves on to the next span whose days have changed, or to the last one: a payment that is
    found late changes the entries of its days only.

    :param entries: what the spans should bear
    :param booked: what they were charged with
    :param changed: whether the stretches of a span are others than when it was charged

    >>> span = Span(date(2026, 1, 31), date(2026, 2, 28), Terms(Decimal('0.05'), 'actual_365'))
    >>> entries = [Entry(span, Decimal(amount), ()) for amount in ('3.01', '7.00', '5.01', '4.99')]
    >>> booked = [Decimal(amount) for amount in ('3.00', '9.00', '5.00', '5.00')]
    >>> [str(amount) for amount in get_adjustments(entries, booked, [False, True, False, False])]
    ['0', '-1.99', '0', '0.00']
    """
    found, carried = [], Decimal(0)
    for index, (entry, was, is_changed) in enumerate(zip(entries, booked, changed, strict=True)):
        carried += entry.amount - was
        if is_changed or index == len(entries) - 1:
            found.append(carried)
            carried = Decimal(0)
        else:
            found.append(Decimal(0))
    return found


def _thirty_360_position(day: date) -> int:
    return day.year * 360 + day.month * 30 + min(day.day, 30)


_YEAR = {"actual_365": 365, "actual_360": 360, "thirty_360": 360}
