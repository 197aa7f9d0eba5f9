"""The parts of an instalment agreement: amounts, dates, and which part was missed. No Odoo here.

Money that was paid settles the parts in the order of their dates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from dateutil.relativedelta import relativedelta

ZERO = Decimal(0)
MAX_PARTS = 120


@dataclass(frozen=True, slots=True)
class Part:
    day: date
    amount: Decimal


def split(total: Decimal, count: int, rounding: Decimal) -> list[Decimal]:
    """Return ``count`` equal parts that add up to ``total``; the last one takes the rest.

    :param rounding: the smallest amount of the currency (0.01)
    :raises ValueError: no part, more than 120, or less than the smallest amount for each

    >>> [str(part) for part in split(Decimal("100.00"), 3, Decimal("0.01"))]
    ['33.33', '33.33', '33.34']
    """
    if not 1 <= count <= MAX_PARTS:
        raise ValueError(f"{count} parts: give 1 to {MAX_PARTS}.")
    part = total / count // rounding * rounding
    if part <= 0:
        raise ValueError(f"{total} is too little for {count} parts.")
    return [part] * (count - 1) + [total - part * (count - 1)]


def days(first: date, count: int, interval: int, unit: str) -> list[date]:
    """Return the days of the parts, each counted from the first one, so that month ends do not drift.

    :param unit: ``month`` or ``week``

    >>> [str(day) for day in days(date(2026, 1, 31), 3, 1, "month")]
    ['2026-01-31', '2026-02-28', '2026-03-31']
    """
    step = {"month": "months", "week": "weeks"}[unit]
    return [first + relativedelta(**{step: interval * index}) for index in range(count)]


def schedule(total: Decimal, first: date, count: int, interval: int, unit: str, rounding: Decimal) -> list[Part]:
    """Return equal parts on days at equal distance, see ``split`` and ``days``."""
    dates = days(first, count, interval, unit)
    return [Part(*pair) for pair in zip(dates, split(total, count, rounding), strict=True)]


def settled(parts: Sequence[Part], paid: Decimal) -> list[Decimal]:
    """Return what was paid of each part, given all that was paid.

    >>> parts = [Part(date(2026, month, 1), Decimal(40)) for month in (1, 2, 3)]
    >>> [str(amount) for amount in settled(parts, Decimal(50))]
    ['40', '10', '0']
    """
    left, result = max(paid, ZERO), []
    for part in parts:
        result.append(min(left, part.amount))
        left -= result[-1]
    return result


def missed(parts: Sequence[Part], paid: Decimal, grace_days: int, today: date) -> Part | None:
    """Return the first part that is not paid in full although its day and the grace are over.

    >>> parts = [Part(date(2026, month, 1), Decimal(40)) for month in (1, 2, 3)]
    >>> missed(parts, Decimal(50), 3, date(2026, 2, 4)), missed(parts, Decimal(50), 3, date(2026, 2, 5)).day.month
    (None, 2)
    """
    for part, amount in zip(parts, settled(parts, paid), strict=True):
        if part.day + timedelta(days=grace_days) >= today:
            return None
        if amount < part.amount:
            return part
    return None
