"""Ageing: which bucket an open item falls in, by the days past its date.

Bucket 0 is what is not due. Buckets 1 to n end with one of n bounds, the bound's day included; the last one has no
end. A day is a whole calendar day: an item due today is not overdue.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

DEFAULT_BOUNDS = (30, 60, 90, 120)
"""Last days of the buckets after "not due": 1-30, 31-60, 61-90, 91-120; then more than 120."""


@dataclass(frozen=True)
class Bucket:
    """A bucket's days, both included. ``first`` is None for what is not due, ``last`` for the open end."""

    index: int
    first: int | None
    last: int | None


def check_bounds(bounds: Sequence[int]) -> tuple[int, ...]:
    """Return ``bounds`` as a tuple.

    :param bounds: last days of the buckets, ascending, from 1 up; at least one
    :raises ValueError: when they are not

    >>> check_bounds([30, 60])
    (30, 60)
    """
    result = tuple(bounds)
    steps = zip((0, *result), result, strict=False)
    if not result or any(later <= earlier for earlier, later in steps):
        raise ValueError(f"{list(bounds)} are no bounds: give days from 1 up, each above the one before.")
    return result


def first_days(bounds: Sequence[int] = DEFAULT_BOUNDS) -> list[int]:
    """Return the first day of every bucket but 0: what a database counts with.

    The bucket of a number of days is how many of these it has reached (``width_bucket`` in SQL).

    >>> first_days((30, 60))
    [1, 31, 61]
    """
    return [1, *(bound + 1 for bound in check_bounds(bounds))]


def bucket_index(days_overdue: int, bounds: Sequence[int] = DEFAULT_BOUNDS) -> int:
    """Return the bucket of an item: 0 not due, 1 for days 1 to the first bound, and so on.

    :param days_overdue: days from the item's date to the day of the ageing; 0 or less is not due

    >>> [bucket_index(days) for days in (-5, 0, 1, 30, 31, 120, 121)]
    [0, 0, 1, 1, 2, 4, 5]
    """
    return 0 if days_overdue <= 0 else 1 + bisect_left(check_bounds(bounds), days_overdue)


def buckets(bounds: Sequence[int] = DEFAULT_BOUNDS) -> list[Bucket]:
    """Return all buckets in order, for headings.

    >>> [(bucket.first, bucket.last) for bucket in buckets((30, 60))]
    [(None, 0), (1, 30), (31, 60), (61, None)]
    """
    starts = first_days(bounds)
    ends = [0, *check_bounds(bounds), None]
    return [Bucket(index, start, end) for index, (start, end) in enumerate(zip([None, *starts], ends, strict=True))]
