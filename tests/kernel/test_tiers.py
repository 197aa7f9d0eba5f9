"""Tiers: limits are included, the best tier that holds wins, better figures never lower it."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from billing_tools.tiers import Figures, Rules, check, choose, full_months
from hypothesis import given
from hypothesis import strategies as st

amounts = st.integers(-1000, 10_000).map(Decimal)
late = st.none() | st.integers(0, 90).map(Decimal)
figures_st = st.builds(Figures, amounts, st.integers(0, 60), late)
rules_st = st.builds(Rules, st.none() | amounts, st.none() | st.integers(0, 60), late)
A = Rules(Decimal(50_000), 12, Decimal(5))
B = Rules(Decimal(10_000), None, Decimal(15))
C = Rules()


@pytest.mark.parametrize(
    ("revenue", "tenure", "days_late", "tier"),
    [
        ("50000", 12, "5", 0),  # every limit is included
        ("49999.99", 12, "5", 1),
        ("50000", 11, "5", 1),
        ("50000", 12, "5.1", 1),
        ("50000", 12, "15.1", 2),
        ("50000", 12, None, 2),  # nobody knows how this customer pays
        ("10000", 0, "15", 1),
        ("9999.99", 99, "0", 2),
        ("-100", 0, None, 2),  # more credits than bills
    ],
)
def test_edges_of_the_rules(revenue, tenure, days_late, tier):
    figures = Figures(Decimal(revenue), tenure, None if days_late is None else Decimal(days_late))
    assert choose([A, B, C], figures) == tier


def test_no_tier_is_an_answer():
    assert choose([A], Figures(Decimal(1), 0, None)) is None
    assert choose([], Figures(Decimal(1), 0, None)) is None


def test_a_limit_of_zero_is_asked():
    assert check(Rules(revenue=Decimal(0)), Figures(Decimal(-1), 0, None)) == {"revenue": False}
    assert check(Rules(days_late=Decimal(0)), Figures(Decimal(0), 0, Decimal(0))) == {"days_late": True}


@given(st.lists(rules_st, max_size=5), figures_st)
def test_the_first_that_holds_is_chosen(tiers, figures):
    index = choose(tiers, figures)
    held = [all(check(rules, figures).values()) for rules in tiers]
    assert held[: len(tiers) if index is None else index] == [False] * (len(tiers) if index is None else index)
    assert index is None or held[index]


@given(rules_st, figures_st, st.integers(0, 5000), st.integers(0, 24), st.integers(0, 30))
def test_better_figures_lose_no_tier(rules, figures, more, longer, sooner):
    better = Figures(
        figures.revenue + more,
        figures.tenure + longer,
        figures.days_late if figures.days_late is None else max(Decimal(0), figures.days_late - sooner),
    )
    assert choose([rules], figures) is None or choose([rules], better) == 0


@pytest.mark.parametrize(
    ("start", "end", "months"),
    [
        (date(2026, 1, 15), date(2026, 1, 15), 0),
        (date(2026, 1, 15), date(2026, 2, 14), 0),
        (date(2026, 1, 15), date(2026, 2, 15), 1),
        (date(2024, 2, 29), date(2025, 2, 28), 12),
        (date(2026, 3, 31), date(2026, 4, 30), 1),
        (date(2026, 2, 28), date(2026, 3, 28), 1),
        (date(2026, 5, 1), date(2025, 5, 1), 0),
    ],
)
def test_months_are_full_on_the_same_day(start, end, months):
    assert full_months(start, end) == months


@given(st.dates(date(2000, 1, 1), date(2050, 1, 1)), st.integers(0, 4000))
def test_months_never_fall(start, days):
    end = start + timedelta(days=days)
    assert full_months(start, end + timedelta(days=1)) - full_months(start, end) in (0, 1)
