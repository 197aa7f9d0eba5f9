"""What a customer spent, by item and month: from sums to a table and the series of a chart."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

SHOWN_ITEMS = 7


@dataclass(frozen=True, slots=True)
class Row:
    """One item, or the rest of them (``key`` None): its amounts in the order of the months."""

    key: object
    amounts: tuple[Decimal, ...]

    @property
    def total(self) -> Decimal:
        return sum(self.amounts, Decimal(0))


def months_until(last: date, count: int) -> list[date]:
    """Return the first days of the ``count`` months up to that of ``last``, oldest first.

    >>> [str(day) for day in months_until(date(2026, 2, 14), 3)]
    ['2025-12-01', '2026-01-01', '2026-02-01']
    """
    number = last.year * 12 + last.month - 1
    return [date(index // 12, index % 12 + 1, 1) for index in range(number - count + 1, number + 1)]


def tabulate(
    sums: Iterable[tuple[object, date, Decimal]], months: Sequence[date], shown: int = SHOWN_ITEMS
) -> list[Row]:
    """Return a row for each of the items with the largest totals, and one for the rest together.

    :param sums: (item, first day of a month, amount); months that are not asked for are left out
    :param shown: so many items have a row of their own; one more is shown rather than a rest of one

    >>> january = date(2026, 1, 1)
    >>> sums = [(name, january, Decimal(amount)) for name, amount in (('a', 1), ('b', 3), ('c', 2))]
    >>> rows = tabulate(sums, [january], 1)
    >>> [(row.key, str(row.total)) for row in rows]
    [('b', '3'), (None, '3')]
    """
    position = {month: index for index, month in enumerate(months)}
    table: dict[object, list[Decimal]] = defaultdict(lambda: [Decimal(0)] * len(months))
    for key, month, amount in sums:
        if month in position:
            table[key][position[month]] += amount
    rows = [Row(key, tuple(amounts)) for key, amounts in table.items()]
    rows.sort(key=lambda row: (-abs(row.total), str(row.key)))
    if len(rows) <= shown + 1:
        return rows
    rest = [sum(column, Decimal(0)) for column in zip(*(row.amounts for row in rows[shown:]), strict=True)]
    return [*rows[:shown], Row(None, tuple(rest))]
