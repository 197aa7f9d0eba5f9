"""When service periods begin and end, and when they may be billed.

Every boundary is computed from the anchor alone, never from the boundary before it, so that a
short month leaves no trace: 31 January is followed by 28 February and then by 31 March.
All ranges are half-open, ``[start, end)``: an end is the first day that does not belong.
"""

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

Unit = Literal["day", "week", "month", "year"]
Anchor = Literal["start", "day", "month_end"]
Timing = Literal["advance", "arrears"]

_UNIT_DAYS = {"day": 1, "week": 7}
_UNIT_MONTHS = {"month": 1, "year": 12}


@dataclass(frozen=True, slots=True)
class Cycle:
    """How often a service period begins, and on which day.

    :param interval: number of units per period, 1 or more
    :param unit: 'day', 'week', 'month' or 'year'
    :param anchor: 'start', periods begin on the day of the contract's start; 'day', on the day
        of the month ``anchor_day``; 'month_end', periods end with a calendar month.
        Days and weeks only go with 'start'
    :param anchor_day: 1 to 31, read with the anchor 'day' only; a month that is too short uses
        its last day
    :raises ValueError: when a value is outside of these
    """

    interval: int
    unit: Unit
    anchor: Anchor = "start"
    anchor_day: int = 0

    def __post_init__(self):
        if self.interval < 1:
            raise ValueError(f"The interval is {self.interval}: it must be 1 or more.")
        if self.unit not in _UNIT_DAYS and self.unit not in _UNIT_MONTHS:
            raise ValueError(f"Unknown unit {self.unit!r}: use day, week, month or year.")
        if self.anchor not in ("start", "day", "month_end"):
            raise ValueError(f"Unknown anchor {self.anchor!r}: use start, day or month_end.")
        if self.unit in _UNIT_DAYS and self.anchor != "start":
            raise ValueError(
                f"A cycle in {self.unit}s follows no calendar month: use the anchor 'start'."
            )
        if self.anchor == "day" and not 1 <= self.anchor_day <= 31:
            raise ValueError(f"The anchor day is {self.anchor_day}: it must be from 1 to 31.")


@dataclass(frozen=True, slots=True)
class Slot:
    """The days of one line inside one undivided service period, all half-open.

    ``[start, end)`` is what the line covers, ``[period_start, period_end)`` the full period that
    a full price pays for, and ``period_start <= start < end <= period_end``.
    """

    start: date
    end: date
    period_start: date
    period_end: date


def anchor_date(cycle: Cycle, start: date) -> date:
    """Return boundary 0: the first day on or after ``start`` on which a period may begin.

    :param start: first day of the contract
    :raises ValueError: when that day would lie after the year 9999

    >>> anchor_date(Cycle(1, 'month', 'day', 31), date(2026, 2, 10))
    datetime.date(2026, 2, 28)
    >>> anchor_date(Cycle(3, 'month', 'month_end'), date(2026, 1, 5))
    datetime.date(2026, 2, 1)
    """
    if cycle.anchor == "start":
        return start
    day, month = _nominal_day(cycle, start), _month_number(start)
    anchor = _day_in_month(month, day)
    return anchor if anchor >= start else _day_in_month(month + 1, day)


def boundary(cycle: Cycle, start: date, k: int) -> date:
    """Return boundary ``k``: the anchor plus ``k`` intervals.

    In months and years the day of the month is the nominal one (the contract's start day, the
    anchor day, or 1), or the month's last where it has none: never what an earlier boundary
    was cut to. Boundaries strictly increase with ``k``.

    :param start: first day of the contract
    :param k: any whole number; boundary -1 begins the period that holds the days before the anchor
    :raises ValueError: when the day would lie outside the years 1 to 9999

    >>> [str(boundary(Cycle(1, 'month'), date(2026, 1, 31), k)) for k in range(4)]
    ['2026-01-31', '2026-02-28', '2026-03-31', '2026-04-30']
    >>> [str(boundary(Cycle(1, 'year'), date(2024, 2, 29), k)) for k in (1, 4)]
    ['2025-02-28', '2028-02-29']
    """
    anchor = anchor_date(cycle, start)
    if cycle.unit in _UNIT_DAYS:
        try:
            return anchor + timedelta(days=k * cycle.interval * _UNIT_DAYS[cycle.unit])
        except OverflowError as error:
            raise ValueError(f"Period {k} from {anchor} lies outside the calendar.") from error
    month = _month_number(anchor) + k * cycle.interval * _UNIT_MONTHS[cycle.unit]
    return _day_in_month(month, _nominal_day(cycle, start))


def index_of(cycle: Cycle, start: date, day: date) -> int:
    """Return the number ``k`` of the period with ``boundary(k) <= day < boundary(k + 1)``.

    :param start: first day of the contract
    :param day: any day, also before the start
    :raises ValueError: when that period begins outside the years 1 to 9999

    >>> index_of(Cycle(1, 'month'), date(2026, 1, 31), date(2026, 3, 30))
    1
    """
    anchor = anchor_date(cycle, start)
    if cycle.unit in _UNIT_DAYS:
        return (day - anchor).days // (cycle.interval * _UNIT_DAYS[cycle.unit])
    months = _month_number(day) - _month_number(anchor)
    k = months // (cycle.interval * _UNIT_MONTHS[cycle.unit])
    return k if boundary(cycle, start, k) <= day else k - 1


def slots(
    cycle: Cycle,
    contract_start: date,
    line_start: date,
    line_end: date | None,
    from_day: date | None,
    until: date,
) -> Iterator[Slot]:
    """Yield, in order, the slots into which the days of a line are cut.

    Nothing before the first slot wanted is computed. Which of the slots yielded may be billed by
    a given day is for the caller to read from `bill_date`.

    :param contract_start: first day of the contract, which fixes the anchor also for lines that
        start later
    :param line_start: first day of the line
    :param line_end: day after the line's last day, or None when it has no end
    :param from_day: begin with the slot that holds this day, or None for the line's first slot
    :param until: inclusive: no slot that starts after this day is yielded; the last one may end
        after it
    :raises ValueError: when a period would lie outside the years 1 to 9999

    >>> monthly, first = Cycle(1, 'month'), date(2026, 1, 5)
    >>> for slot in slots(monthly, first, first, date(2026, 3, 16), None, date(2026, 12, 31)):
    ...     print(slot.start, slot.end, slot.period_end)
    2026-01-05 2026-02-05 2026-02-05
    2026-02-05 2026-03-05 2026-03-05
    2026-03-05 2026-03-16 2026-04-05
    """
    first_day = line_start if from_day is None else max(line_start, from_day)
    if first_day > until or (line_end is not None and first_day >= line_end):
        return
    k = index_of(cycle, contract_start, first_day)
    period_start = boundary(cycle, contract_start, k)
    while period_start <= until and (line_end is None or period_start < line_end):
        k += 1
        period_end = boundary(cycle, contract_start, k)
        start = max(period_start, line_start)
        end = period_end if line_end is None else min(period_end, line_end)
        yield Slot(start, end, period_start, period_end)
        period_start = period_end


def bill_date(slot: Slot, timing: Timing, lead_days: int = 0) -> date:
    """Return the day from which ``slot`` may be billed.

    :param timing: 'advance', ``lead_days`` before the slot starts; 'arrears', the day after its
        last day, also when the line ends inside the period
    :param lead_days: days, 0 or more; without effect in arrears
    :raises ValueError: for another timing or negative lead days

    >>> slot = Slot(date(2026, 3, 5), date(2026, 3, 16), date(2026, 3, 5), date(2026, 4, 5))
    >>> print(bill_date(slot, 'arrears'), bill_date(slot, 'advance', 10))
    2026-03-16 2026-02-23
    """
    if lead_days < 0:
        raise ValueError(f"The lead is {lead_days} days: it must be 0 or more.")
    if timing == "advance":
        return slot.start - timedelta(days=lead_days)
    if timing == "arrears":
        return slot.end
    raise ValueError(f"Unknown timing {timing!r}: use advance or arrears.")


def _nominal_day(cycle: Cycle, start: date) -> int:
    """Return the day of the month on which periods begin where the month is long enough."""
    if cycle.anchor == "start":
        return start.day
    return cycle.anchor_day if cycle.anchor == "day" else 1


def _month_number(day: date) -> int:
    """Return the number of whole months between January of year 0 and the month of ``day``."""
    return day.year * 12 + day.month - 1


def _day_in_month(month: int, day: int) -> date:
    """Return that day of the month with that number, or the month's last where it has none."""
    year, month = divmod(month, 12)
    if not date.min.year <= year <= date.max.year:
        raise ValueError(f"A period would begin in the year {year}, outside the calendar.")
    if day > 28:
        day = min(day, monthrange(year, month + 1)[1])
    return date(year, month + 1, day)
