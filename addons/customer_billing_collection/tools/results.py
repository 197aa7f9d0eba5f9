"""Figures of collections: days sales outstanding, collection effectiveness.

All amounts are in one currency, tax included: receivables hold the tax, so sales must hold it too.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction


@dataclass(frozen=True)
class Span:
    """Days from the first to the last, both included."""

    first: date
    last: date

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1


def spans(first: date, last: date, months: int = 1) -> list[Span]:
    """Cut the days from ``first`` to ``last`` into calendar months, quarters (3) or years (12).

    The first and the last one are cut short where the days begin or end inside of them.

    :raises ValueError: when ``last`` is before ``first``, or ``months`` does not divide a year

    >>> [(str(span.first), str(span.last), span.days) for span in spans(date(2026, 1, 15), date(2026, 3, 1))]
    [('2026-01-15', '2026-01-31', 17), ('2026-02-01', '2026-02-28', 28), ('2026-03-01', '2026-03-01', 1)]
    >>> [str(span.last) for span in spans(date(2026, 2, 1), date(2026, 12, 31), 3)]
    ['2026-03-31', '2026-06-30', '2026-09-30', '2026-12-31']
    """
    if last < first:
        raise ValueError("The last day is before the first one.")
    if months < 1 or 12 % months:
        raise ValueError(f"{months} months do not divide a year.")
    result = []
    while first <= last:
        month = (first.month - 1) // months * months + months + 1  # the month after the span
        end = date(first.year + (month - 1) // 12, (month - 1) % 12 + 1, 1) - timedelta(days=1)
        result.append(Span(first, min(end, last)))
        first = end + timedelta(days=1)
    return result


def simple_dso(receivable: Decimal, sales: Decimal, days: int) -> Fraction | None:
    """Return days sales outstanding as receivable ÷ sales × days; None without sales.

    The usual definition (Credit Research Foundation, "Performance Measures for Credit, Collections and Accounts
    Receivable"): total receivables at the end of the period over its credit sales, times its days.

    :param receivable: what customers owe at the end of the period
    :param sales: what was invoiced in the period, credit notes deducted
    :param days: the days of the period

    >>> float(simple_dso(Decimal(150), Decimal(300), 30))
    15.0
    """
    return Fraction(receivable) / Fraction(sales) * days if sales > 0 else None


def count_back_dso(receivable: Decimal, sales: Iterable[tuple[Decimal, int]]) -> Fraction:
    """Return days sales outstanding by counting back: how many days of the latest sales the receivable stands for.

    The latest month's sales are taken off the receivable and its days are counted, then those of the month before, and
    so on; of the month that is not used up, the share. Seasons change it less than the simple figure ("count-back" or
    "exhaustion" method; the usual one in the United Kingdom). Months without sales count with all of their days. A
    receivable beyond all sales that are given counts all of their days: the least that it can be.

    :param receivable: what customers owe at the end; 0 or less is 0 days
    :param sales: (sales, days) of each month, the latest first

    >>> float(count_back_dso(Decimal(2100), [(Decimal(900), 31), (Decimal(800), 28), (Decimal(800), 31)]))
    74.5
    """
    rest, counted = Fraction(receivable), Fraction(0)
    for amount, days in sales:
        if rest <= 0:
            break
        share = min(Fraction(1), rest / Fraction(amount)) if amount > 0 else Fraction(1)
        counted += share * days
        rest -= Fraction(amount)
    return counted


def effectiveness(opening: Decimal, sales: Decimal, closing: Decimal, closing_current: Decimal) -> Fraction | None:
    """Return the collection effectiveness index as a share: what was collected of what could be; None if nothing could.

    (opening + sales − closing) ÷ (opening + sales − closing that is not due), by the Credit Research Foundation. There
    sales are divided by the months of the period; here a period counts with all of its sales, since all of them were
    there to be collected; for a month it is the same.

    :param opening: what customers owed before the period
    :param sales: what was invoiced in the period, credit notes deducted
    :param closing: what they owe at its end
    :param closing_current: what of it is not due

    >>> float(effectiveness(Decimal(200), Decimal(100), Decimal(180), Decimal(150)))
    0.8
    """
    available = Fraction(opening) + Fraction(sales) - Fraction(closing_current)
    collected = Fraction(opening) + Fraction(sales) - Fraction(closing)
    return collected / available if available > 0 else None
