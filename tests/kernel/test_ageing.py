"""Ageing: buckets partition the days, and their edges are where people expect them."""

import pytest
from billing_tools.ageing import DEFAULT_BOUNDS, bucket_index, buckets, check_bounds, first_days
from hypothesis import given
from hypothesis import strategies as st

bounds_st = st.lists(st.integers(1, 400), min_size=1, max_size=6, unique=True).map(sorted)
days_st = st.integers(-500, 500)


@pytest.mark.parametrize(
    ("days", "bucket"),
    [(-1, 0), (0, 0), (1, 1), (30, 1), (31, 2), (60, 2), (61, 3), (90, 3), (91, 4), (120, 4), (121, 5), (9999, 5)],
)
def test_invariant_12_edges_of_the_usual_buckets(days, bucket):
    assert bucket_index(days) == bucket


@given(days_st, bounds_st)
def test_invariant_12_a_day_is_in_the_one_bucket_that_says_so(days, bounds):
    holders = [
        bucket.index
        for bucket in buckets(bounds)
        if (bucket.first is None or bucket.first <= days) and (bucket.last is None or days <= bucket.last)
    ]
    assert holders == [bucket_index(days, bounds)]


@given(days_st, bounds_st)
def test_invariant_12_counting_first_days_gives_the_same_bucket(days, bounds):
    assert sum(days >= first for first in first_days(bounds)) == bucket_index(days, bounds)


@given(days_st, bounds_st)
def test_a_day_later_is_never_an_earlier_bucket(days, bounds):
    assert bucket_index(days + 1, bounds) - bucket_index(days, bounds) in (0, 1)


@pytest.mark.parametrize("bounds", [(), (0, 30), (-5,), (30, 30), (60, 30)])
def test_bounds_ascend_from_one(bounds):
    for question in (check_bounds, first_days, buckets, lambda bounds: bucket_index(1, bounds)):
        with pytest.raises(ValueError):
            question(bounds)


def test_usual_buckets():
    assert check_bounds(DEFAULT_BOUNDS) == (30, 60, 90, 120)
    assert [bucket.last for bucket in buckets()] == [0, 30, 60, 90, 120, None]
