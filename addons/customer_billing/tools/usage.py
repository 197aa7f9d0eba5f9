"""From usage records to the quantity of a service period.

Timestamps are UTC; days are those of a time zone, so a record made late in the evening belongs to
the day that the customer saw. No result depends on the order of the records.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo

from .dates import Interval
from .money import EXACT

Method = Literal["sum", "max", "last", "unique"]


@dataclass(frozen=True, slots=True)
class Record:
    """One measurement.

    :param timestamp: UTC, without time zone, as Odoo stores it
    :param quantity: in the meter's unit; below 0 for a reversal
    :param key: what 'unique' counts (a user, a device), not the record's own identity; it also
        decides between records of the same instant for 'last'
    """

    timestamp: datetime
    quantity: Decimal
    key: str = ""


@dataclass(frozen=True, slots=True)
class DayUsage:
    """What the records of one day (for 'unique': of one day and key) amount to by themselves.

    Every method gives the same result on days as on their records, so a database may add up days.

    :param quantity: the sum of the day's quantities, for 'max' the largest, for 'last' the latest
    :param key: what 'unique' counts, else empty
    :param count: number of records, for the explanation
    """

    day: date
    quantity: Decimal
    key: str = ""
    count: int = 1


def of_days(
    method: Method, days: Sequence[DayUsage], intervals: Iterable[Interval]
) -> tuple[Decimal, int]:
    """Return the quantity of the days that lie in ``intervals``, and the number of its records.

    :param days: sorted by day
    :param intervals: half-open ranges of days that do not overlap, in any order
    :raises ValueError: for an unknown method

    >>> january = [DayUsage(date(2026, 1, day), Decimal(day)) for day in (1, 2, 31)]
    >>> of_days('sum', january, [(date(2026, 1, 1), date(2026, 1, 31))])
    (Decimal('3'), 2)
    """
    inside = in_days(days, intervals)
    records = [
        Record(datetime.fromordinal(found.day.toordinal()), found.quantity, found.key)
        for found in inside
    ]
    return aggregate(method, records), sum(found.count for found in inside)


def in_days(days: Sequence[DayUsage], intervals: Iterable[Interval]) -> tuple[DayUsage, ...]:
    """Return those of ``days``, sorted by day, that lie in ``intervals``.

    >>> january = [DayUsage(date(2026, 1, day), Decimal(1)) for day in (1, 2, 31)]
    >>> [str(found.day) for found in in_days(january, [(date(2026, 1, 2), date(2026, 1, 31))])]
    ['2026-01-02']
    """
    inside = []
    for start, end in intervals:
        first = bisect_left(days, start, key=_day)
        inside += days[first : bisect_left(days, end, lo=first, key=_day)]
    return tuple(inside)


def aggregate(method: Method, records: Iterable[Record]) -> Decimal:
    """Return the quantity that ``records`` amount to, exact; 0 when there are none.

    * 'sum': all quantities together;
    * 'max': the largest quantity;
    * 'last': the quantity of the latest record; of several at that instant the one with the
      greatest key, then the greatest quantity;
    * 'unique': number of distinct keys whose quantities come to more than 0.

    A reversal (the same with a negative quantity) takes effect in 'sum', and in 'unique' when it
    has the same key. For 'max' and 'last' leave out both the record and its reversal.

    :raises ValueError: for an unknown method

    >>> night = datetime(2026, 1, 31, 23, 30)
    >>> records = [Record(night, Decimal(2), 'ann'), Record(night, Decimal(5), 'bob')]
    >>> [str(aggregate(method, records)) for method in ('sum', 'max', 'last', 'unique')]
    ['7', '5', '5', '2']
    """
    if method not in _METHODS:
        raise ValueError(f"Unknown usage method {method!r}: use {', '.join(_METHODS)}.")
    with localcontext(EXACT):
        return _METHODS[method](list(records))


def local_day(timestamp: datetime, tz: str) -> date:
    """Return the day on which ``timestamp`` falls in a time zone.

    :param timestamp: UTC, without time zone
    :param tz: name in the IANA time zone database, such as 'Europe/Berlin'
    :raises ValueError: for an unknown name or a timestamp that carries a time zone

    >>> local_day(datetime(2026, 1, 31, 23, 30), 'Europe/Berlin')
    datetime.date(2026, 2, 1)
    """
    return _local_day(timestamp, _zone(tz))


def by_period(
    records: Iterable[Record], intervals: Sequence[Interval], tz: str
) -> list[list[Record]]:
    """Return, for each of ``intervals``, the records of its days, in the order given.

    A record on a day of no interval (a pause, or before the line) is in none of the lists.

    :param intervals: half-open ranges of days in any order
    :param tz: name of the time zone in which days begin
    :raises ValueError: when intervals overlap, and as `local_day`

    >>> january, february = (date(2026, 1, 1), date(2026, 2, 1)), (date(2026, 2, 1), date.max)
    >>> night = Record(datetime(2026, 1, 31, 23, 30), Decimal(1))
    >>> [len(found) for found in by_period([night], [january, february], 'Europe/Berlin')]
    [0, 1]
    """
    zone = _zone(tz)
    order = sorted((i for i, (a, b) in enumerate(intervals) if a < b), key=intervals.__getitem__)
    for before, after in pairwise(order):
        if intervals[after][0] < intervals[before][1]:
            raise ValueError(
                f"The periods from {intervals[before][0]} and from {intervals[after][0]} overlap: "
                "usage would be charged twice. Give periods that share no day."
            )
    starts = [intervals[index][0] for index in order]
    found: list[list[Record]] = [[] for _interval in intervals]
    for record in records:
        day = _local_day(record.timestamp, zone)
        position = bisect_right(starts, day) - 1
        if position >= 0 and day < intervals[order[position]][1]:
            found[order[position]].append(record)
    return found


def _zone(tz: str) -> ZoneInfo:
    try:
        return ZoneInfo(tz)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(
            f"Unknown time zone {tz!r}: give an IANA name such as Europe/Berlin."
        ) from error


def _local_day(timestamp: datetime, zone: ZoneInfo) -> date:
    if timestamp.tzinfo is not None:
        raise ValueError(f"{timestamp} carries a time zone: give UTC without one, as stored.")
    return timestamp.replace(tzinfo=timezone.utc).astimezone(zone).date()


def _day(usage: DayUsage) -> date:
    return usage.day


def _sum(records: Sequence[Record]) -> Decimal:
    return sum((record.quantity for record in records), Decimal(0))


def _max(records: Sequence[Record]) -> Decimal:
    return max((record.quantity for record in records), default=Decimal(0))


def _last(records: Sequence[Record]) -> Decimal:
    latest = max(records, key=lambda r: (r.timestamp, r.key, r.quantity), default=None)
    return latest.quantity if latest else Decimal(0)


def _unique(records: Sequence[Record]) -> Decimal:
    totals: dict[str, Decimal] = defaultdict(Decimal)
    for record in records:
        totals[record.key] += record.quantity
    return Decimal(sum(total > 0 for total in totals.values()))


_METHODS = {"sum": _sum, "max": _max, "last": _last, "unique": _unique}
