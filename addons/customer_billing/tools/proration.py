"""How much of a period's price a part of the period costs.

Proration is one cumulative function F, the share of the period gone by at the start of a day.
A part costs round(full * F(end)) - round(full * F(start)): cuts cancel out, so the parts of a
period add up to its price to the cent however often it is cut.
"""

from calendar import monthrange
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from .dates import Interval
from .money import EXACT, round_amount

Method = Literal["actual", "calendar", "thirty_360", "none"]

_NOTHING, _ALL = Fraction(0), Fraction(1)


def elapsed(method: Method, period_start: date, period_end: date, day: date) -> Fraction:
    """Return the share of the period gone by at the start of ``day``.

    The share is exact, from 0 (up to the period's first day) to 1 (from ``period_end`` on), and
    never falls from one day to the next.

    * 'actual': days gone by ÷ days of the period;
    * 'calendar': days gone by, each worth 1 ÷ the days of its own month, ÷ the same sum over the
      whole period; so every whole month of a period costs the same;
    * 'thirty_360': as 'actual' in months of 30 days (30E/360, ISDA 2006 section 4.16(g)): the 30th
      and 31st weigh one day together, the last day of February what is missing to 30;
    * 'none': everything once the first day has begun.

    :param period_start: first day of the undivided service period
    :param period_end: day after its last day
    :raises ValueError: for an unknown method or a period without a day

    >>> elapsed('actual', date(2026, 2, 1), date(2026, 3, 1), date(2026, 2, 15))
    Fraction(1, 2)
    >>> elapsed('calendar', date(2026, 1, 1), date(2026, 4, 1), date(2026, 3, 1))
    Fraction(2, 3)
    >>> elapsed('thirty_360', date(2026, 1, 1), date(2026, 2, 1), date(2026, 1, 16))
    Fraction(1, 2)
    """
    if method not in _POSITIONS:
        raise ValueError(f"Unknown proration {method!r}: use actual, calendar, thirty_360 or none.")
    if period_end <= period_start:
        raise ValueError(f"The period {period_start} to {period_end} has no day to prorate over.")
    if day <= period_start:
        return _NOTHING
    # Inside a period of two days or more, which every method gives a length above zero
    # (30E/360 counts none only in [30th, 31st), one day).
    position = _POSITIONS[method]
    if day >= period_end or position is None:
        return _ALL
    origin = position(period_start)
    return Fraction(position(day) - origin) / Fraction(position(period_end) - origin)


def parts(
    full: Decimal,
    method: Method,
    period_start: date,
    period_end: date,
    intervals: Sequence[Interval],
    rounding: Decimal,
) -> list[Decimal]:
    """Return what each of ``intervals`` costs of the period's price, in the same order.

    A part is round(full * F(end)) - round(full * F(start)) with F = `elapsed`, halves away from
    zero; so the parts of a partition of the period add up to round(full). Days outside the period
    cost nothing. With 'none' the earliest interval that has a day in the period costs
    round(full) and the others nothing.

    :param full: exact price of the whole period, any sign, in units of the currency
    :param intervals: half-open ranges of days that do not overlap, in any order
    :param rounding: the currency's rounding, above zero, such as 0.01
    :raises ValueError: as `elapsed` and `money.round_amount`

    >>> first, middle, last = date(2026, 1, 1), date(2026, 1, 11), date(2026, 1, 31)
    >>> parts(Decimal(100), 'actual', first, last, [(first, middle), (middle, last)],
    ...       Decimal('0.01'))
    [Decimal('33.33'), Decimal('66.67')]
    """

    def cost(until: date) -> Decimal:
        share = elapsed(method, period_start, period_end, until)
        return round_amount(full if share == 1 else Fraction(full) * share, rounding)

    if method != "none":
        return [EXACT.subtract(cost(max(start, end)), cost(start)) for start, end in intervals]
    served = [
        index
        for index, (start, end) in enumerate(intervals)
        if max(start, period_start) < min(end, period_end)
    ]
    first = min(served, key=lambda index: intervals[index][0], default=None)
    return [cost(period_end if index == first else period_start) for index in range(len(intervals))]


def _calendar_position(day: date) -> Fraction:
    """Return months from an origin, a day being worth 1 ÷ the days of its month."""
    length = monthrange(day.year, day.month)[1]
    return day.year * 12 + day.month + Fraction(day.day - 1, length)


def _thirty_360_position(day: date) -> int:
    """Return days from an origin in months of 30 days, the 31st being the 30th (30E/360)."""
    return day.year * 360 + day.month * 30 + min(day.day, 30)


_POSITIONS = {
    "actual": date.toordinal,
    "calendar": _calendar_position,
    "thirty_360": _thirty_360_position,
    "none": None,
}
