"""Declined payments: of which kind a refusal is, and when it is tried again."""

import re
from datetime import date, timedelta

SOFT, HARD = "soft", "hard"
MAX_TRIES = 10

# What providers and banks say about methods that will not pay later either: trying them again only costs fees.
HARD_WORDS = re.compile(
    r"stolen|lost[ _-]?card|pick[ _-]?up|expired|restricted[ _-]?card|fraud|revo(?:ked|cation)|"
    r"(?:invalid|incorrect|closed|no such)[ _-]?(?:account|card|number|customer|mandate|token)|"
    r"account[ _-]?closed|do[ _-]?not[ _-]?(?:retry|try[ _-]?again)|transaction[ _-]?not[ _-]?(?:allowed|permitted)",
    re.IGNORECASE,
)


def decline_kind(message):
    """Return the kind of a refusal, ``soft`` (may pay later) or ``hard`` (will not), by what the provider said.

    >>> decline_kind("Your card has insufficient funds.")
    'soft'
    >>> decline_kind("expired_card")
    'hard'
    >>> decline_kind("")
    'soft'
    """
    return HARD if HARD_WORDS.search(message or "") else SOFT


def parse_days(text):
    """Return the days of a retry schedule from text: after each refusal, how many days until the next try.

    :raises ValueError: when these are not at most 10 whole numbers of 1 to 60, separated by commas

    >>> parse_days("3, 5，7")
    (3, 5, 7)
    >>> parse_days("")
    ()
    """
    parts = [part.strip() for part in (text or "").replace("，", ",").split(",")]
    days = tuple(int(part) for part in parts if part)
    if len(days) > MAX_TRIES or not all(1 <= day <= 60 for day in days):
        raise ValueError(text)
    return days


def next_try(kind, tries, declined_on: date, schedule):
    """Return the date of the next try, or None when there is none.

    :param str kind: ``soft`` or ``hard``
    :param int tries: how many tries there have been, at least 1
    :param tuple schedule: days until the next try, after the first, second, … refusal

    >>> next_try("soft", 1, date(2026, 1, 30), (3, 5))
    datetime.date(2026, 2, 2)
    >>> next_try("soft", 3, date(2026, 1, 30), (3, 5)) is None
    True
    >>> next_try("hard", 1, date(2026, 1, 30), (3, 5)) is None
    True
    """
    if kind == HARD or tries > len(schedule):
        return None
    return declined_on + timedelta(days=schedule[tries - 1])
