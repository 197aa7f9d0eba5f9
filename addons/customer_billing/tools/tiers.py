"""Which tier a customer belongs in: by revenue, tenure and payment behaviour.

Amounts are in one currency, tenure is in whole months, lateness in days.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known about a customer; ``days_late`` is None while nothing was paid or fell due."""

    revenue: Decimal
    tenure: int
    days_late: Decimal | None


@dataclass(frozen=True, slots=True)
class Rules:
    """What a tier asks for: at least this revenue and tenure, at most these days late. None: not asked."""

    revenue: Decimal | None = None
    tenure: int | None = None
    days_late: Decimal | None = None


def check(rules: Rules, figures: Figures) -> dict[str, bool]:
    """Return for each rule that is asked whether it holds; limits are included.

    A customer without payment behaviour has not shown any, so a rule about it does not hold.

    >>> check(Rules(revenue=Decimal(100), days_late=Decimal(5)), Figures(Decimal(100), 3, Decimal("5.1")))
    {'revenue': True, 'days_late': False}
    """
    result = {}
    if rules.revenue is not None:
        result["revenue"] = figures.revenue >= rules.revenue
    if rules.tenure is not None:
        result["tenure"] = figures.tenure >= rules.tenure
    if rules.days_late is not None:
        result["days_late"] = figures.days_late is not None and figures.days_late <= rules.days_late
    return result


def choose(tiers: Sequence[Rules], figures: Figures) -> int | None:
    """Return the index of the first tier all of whose rules hold, None if there is none.

    :param tiers: the best tier first

    >>> choose([Rules(revenue=Decimal(100)), Rules()], Figures(Decimal(99), 0, None))
    1
    """
    for index, rules in enumerate(tiers):
        if all(check(rules, figures).values()):
            return index
    return None


def full_months(start: date, end: date) -> int:
    """Return how many months are full on the day ``end``; 0 before ``start``.

    A month is full on the same day of a later month, or on its last day where it has none.

    >>> full_months(date(2026, 1, 31), date(2026, 2, 28))
    1
    >>> full_months(date(2026, 1, 31), date(2026, 2, 27))
    0
    """
    months = (end.year - start.year) * 12 + end.month - start.month
    is_last = date.fromordinal(end.toordinal() + 1).day == 1
    return max(0, months - (end.day < start.day and not is_last))
