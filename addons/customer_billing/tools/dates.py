"""Sets of days as lists of half-open intervals ``[start, end)``.

An interval whose end is not after its start has no day and is left out of every result.
"""

from collections.abc import Iterable
from datetime import date

Interval = tuple[date, date]
"""The days from the first (included) to the second (not included)."""

OpenInterval = tuple[date, date | None]
"""An `Interval` that goes on for ever when its end is None."""


def clip(intervals: Iterable[Interval], start: date, end: date | None = None) -> list[Interval]:
    """Return the parts of ``intervals`` inside [start, end), in the same order.

    :param end: the first day outside, or None for no limit

    >>> clip([(date(2026, 1, 1), date(2026, 2, 1))], date(2026, 1, 10))
    [(datetime.date(2026, 1, 10), datetime.date(2026, 2, 1))]
    """
    cut = ((max(a, start), b if end is None else min(b, end)) for a, b in intervals)
    return [(a, b) for a, b in cut if a < b]


def merge(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the same days as sorted intervals that neither overlap nor touch.

    >>> merge([(date(2026, 1, 5), date(2026, 1, 9)), (date(2026, 1, 1), date(2026, 1, 5))])
    [(datetime.date(2026, 1, 1), datetime.date(2026, 1, 9))]
    """
    merged: list[Interval] = []
    for start, end in sorted(interval for interval in intervals if interval[0] < interval[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def subtract(intervals: Iterable[Interval], holes: Iterable[OpenInterval]) -> list[Interval]:
    """Return ``intervals`` without the days of ``holes``.

    Every interval is cut by itself and the order is kept: intervals that touch stay apart.

    :param holes: may overlap and come in any order; an end of None means for ever

    >>> subtract([(date(2026, 1, 1), date(2026, 2, 1))],
    ...          [(date(2026, 1, 10), date(2026, 1, 12)), (date(2026, 1, 20), None)])
    ... # doctest: +NORMALIZE_WHITESPACE
    [(datetime.date(2026, 1, 1), datetime.date(2026, 1, 10)),
     (datetime.date(2026, 1, 12), datetime.date(2026, 1, 20))]
    """
    closed = merge((start, date.max if end is None else end) for start, end in holes)
    left: list[Interval] = []
    for start, end in intervals:
        for hole_start, hole_end in closed:
            if start < min(hole_start, end):
                left.append((start, min(hole_start, end)))
            start = max(start, hole_end)
        if start < end:
            left.append((start, end))
    return left


def days(intervals: Iterable[Interval]) -> int:
    """Return the number of days in ``intervals``; a day in several of them counts once.

    >>> days([(date(2026, 1, 1), date(2026, 2, 1)), (date(2026, 1, 31), date(2026, 2, 2))])
    32
    """
    return sum((end - start).days for start, end in merge(intervals))
