"""Until when a card is valid."""

import re
from calendar import monthrange
from datetime import date

MAX_YEARS = 20  # a card that is valid longer is a mistake
MONTH = re.compile(r"(?P<year>\d{4})-(?P<month>\d{1,2})|(?P<month2>\d{1,2})\s*/\s*(?P<year2>\d{4}|\d{2})", re.ASCII)


def month_end(year, month):
    """Return the last day of a month, or None when there is no such month.

    >>> month_end(2028, 2), month_end(2028, 13)
    (datetime.date(2028, 2, 29), None)
    """
    if not (1 <= month <= 12 and 1 <= year <= 9999):
        return None
    return date(year, month, monthrange(year, month)[1])


def card_expiry(text):
    """Return the last day on which a card is valid from its month as people and browsers write it, or None.

    >>> card_expiry("06/31"), card_expiry("2031-06") == card_expiry(" 6 / 2031 ")
    (datetime.date(2031, 6, 30), True)
    >>> card_expiry("soon"), card_expiry("13/31"), card_expiry("")
    (None, None, None)
    """
    found = MONTH.fullmatch((text or "").strip())
    if not found:
        return None
    year = int(found["year"] or found["year2"])
    return month_end(year if year > 99 else 2000 + year, int(found["month"] or found["month2"]))


def is_plausible(day, today):
    """Whether a card may be valid until ``day``: not over yet, and not for decades.

    >>> [is_plausible(date(year, 6, 30), date(2031, 6, 30)) for year in (2030, 2031, 2051, 2052)]
    [False, True, True, False]
    """
    return today <= day <= month_end(today.year + MAX_YEARS, today.month)
