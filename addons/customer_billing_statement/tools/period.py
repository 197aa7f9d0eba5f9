"""Which days a statement is about. Dates are inclusive, as people read them."""

from datetime import date, timedelta

DAY = timedelta(days=1)
MONTHS = {"monthly": 1, "quarterly": 3, "yearly": 12}
FREQUENCIES = ("weekly", *MONTHS)


def last_period(frequency: str, day: date) -> tuple[date, date]:
    """The last whole calendar period that ended before ``day``: its first and last day.

    Weeks begin on Monday.

    >>> last_period("monthly", date(2026, 3, 1))
    (datetime.date(2026, 2, 1), datetime.date(2026, 2, 28))
    >>> last_period("weekly", date(2026, 3, 4))
    (datetime.date(2026, 2, 23), datetime.date(2026, 3, 1))
    >>> last_period("quarterly", date(2026, 3, 31))
    (datetime.date(2025, 10, 1), datetime.date(2025, 12, 31))

    :raises ValueError: an unknown frequency
    """
    end = period_start(frequency, day) - DAY
    return period_start(frequency, end), end


def period_start(frequency: str, day: date) -> date:
    """The first day of the calendar period that ``day`` is in.

    >>> period_start("quarterly", date(2026, 5, 20))
    datetime.date(2026, 4, 1)

    :raises ValueError: an unknown frequency
    """
    if frequency == "weekly":
        return day - day.weekday() * DAY
    if frequency not in MONTHS:
        raise ValueError(f"unknown frequency: {frequency}")
    months = MONTHS[frequency]
    return date(day.year, (day.month - 1) // months * months + 1, 1)
