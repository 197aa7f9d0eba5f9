"""Sets of days, compared with Python sets of single days."""

from datetime import date, timedelta
from itertools import pairwise

from billing_tools.dates import clip, days, merge, subtract
from hypothesis import given
from hypothesis import strategies as st

ORIGIN = date(2026, 1, 1)
LAST = ORIGIN + timedelta(days=60)


def day(offset):
    return ORIGIN + timedelta(days=offset)


day_st = st.integers(0, 60).map(day)
intervals_st = st.lists(st.tuples(day_st, day_st), max_size=6)
holes_st = st.lists(st.tuples(day_st, st.none() | day_st), max_size=6)


def listed(intervals):
    """Return every day of every interval, with repetitions, in order."""
    return [
        start + timedelta(days=i)
        for start, end in intervals
        for i in range(((end or LAST) - start).days)
    ]


@given(intervals_st, holes_st)
def test_subtract_leaves_exactly_the_other_days(intervals, holes):
    gone = set(listed(holes))
    assert listed(subtract(intervals, holes)) == [d for d in listed(intervals) if d not in gone]


@given(intervals_st, holes_st)
def test_subtract_returns_no_empty_interval(intervals, holes):
    assert all(start < end for start, end in subtract(intervals, holes))


@given(intervals_st, holes_st, st.randoms())
def test_order_of_holes_is_without_effect(intervals, holes, random):
    shuffled = random.sample(holes, len(holes))
    assert subtract(intervals, shuffled) == subtract(intervals, holes)


@given(intervals_st, day_st, st.none() | day_st)
def test_clip_keeps_exactly_the_days_inside(intervals, start, end):
    inside = [d for d in listed(intervals) if start <= d and (end is None or d < end)]
    assert listed(clip(intervals, start, end)) == inside
    assert all(a < b for a, b in clip(intervals, start, end))


@given(intervals_st)
def test_merge_keeps_days_and_leaves_gaps_between(intervals):
    merged = merge(intervals)
    assert listed(merged) == sorted(set(listed(intervals)))
    assert all(start < end for start, end in merged)
    assert all(a[1] < b[0] for a, b in pairwise(merged))


@given(intervals_st)
def test_days_count_once(intervals):
    assert days(intervals) == len(set(listed(intervals)))


def test_touching_intervals_stay_apart_when_cut():
    first, second = (day(0), day(5)), (day(5), day(9))
    assert subtract([first, second], [(day(20), None)]) == [first, second]


def test_overlapping_open_holes():
    holes = [(day(10), None), (day(3), day(5)), (day(4), day(7)), (day(12), day(13))]
    assert subtract([(day(0), day(30))], holes) == [(day(0), day(3)), (day(7), day(10))]


def test_an_open_hole_lasts_to_the_end_of_the_calendar():
    assert subtract([(date(9999, 12, 1), date.max)], [(ORIGIN, None)]) == []
