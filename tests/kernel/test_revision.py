"""New prices from old ones."""

from decimal import Decimal
from fractions import Fraction

import pytest
from billing_tools import pricing, revision
from billing_tools.revision import Rule, change, revise, revise_price
from hypothesis import assume, given
from hypothesis import strategies as st

CENT = Decimal("0.01")


def decimals(least, most, places):
    return st.decimals(least, most, places=places, allow_nan=False, allow_infinity=False)


prices = decimals("0.0001", "100000", 4).filter(bool)
percents = decimals("-50", "200", 2)
limits = st.none() | decimals("-20", "20", 1)
steps = st.sampled_from([Decimal(text) for text in ("0", "0.01", "0.05", "0.5", "1", "10")])
roundings = st.sampled_from([Decimal(text) for text in ("0.01", "0.05", "1", "0.001")])


@st.composite
def rules(draw):
    floor, cap = draw(limits), draw(limits)
    if floor is not None and cap is not None and floor > cap:
        floor, cap = cap, floor
    common = {"floor": floor, "cap": cap, "step": draw(steps)}
    method = draw(st.sampled_from(["percent", "index", "fixed"]))
    if method == "percent":
        return Rule(method, percent=draw(percents), **common)
    if method == "fixed":
        return Rule(method, amount=draw(decimals("-10", "1000", 2)), **common)
    index = decimals("50", "300", 1)
    return Rule(method, index_base=draw(index), index_current=draw(index), **common)


@pytest.mark.parametrize(
    ("rule", "old", "rounding", "new"),
    [
        ({"percent": 3}, "100", "0.01", "103.00"),
        ({"percent": "2.5"}, "0.0125", "0.01", "0.0128"),
        ({"percent": "2.5"}, "1000", "1", "1025"),
        ({"percent": "2.5"}, "1001", "1", "1026"),
        ({"percent": "-3"}, "100", "0.01", "97.00"),
        ({"percent": 3, "step": 1}, "49.90", "0.01", "51"),
        ({"percent": 3, "step": "0.05"}, "49.90", "0.01", "51.40"),
        ({"percent": 3, "step": 5}, "100", "0.01", "105"),
        ({"percent": 9, "cap": 5}, "100", "0.01", "105.00"),
        ({"percent": 1, "floor": 2}, "100", "0.01", "102.00"),
        ({"percent": -4, "floor": 0}, "100", "0.01", "100.00"),
        ({"percent": 3, "cap": 5, "step": 10}, "100", "0.01", "100"),
        ({"percent": 3, "floor": 1, "cap": 5, "step": 10}, "100", "0.01", "103.00"),
        ({"percent": 5, "floor": 5, "cap": 5}, "10.33", "0.01", "10.84"),
        ({"method": "index", "index_base": "102.4", "index_current": "105.6"}, "80", "0.01", "82.50"),
        ({"method": "index", "index_base": "105.6", "index_current": "102.4", "floor": 0}, "80", "0.01", "80.00"),
        ({"method": "fixed", "amount": "2.50"}, "100", "0.01", "102.50"),
        ({"method": "fixed", "amount": "-2.50", "floor": -1}, "100", "0.01", "99.00"),
        ({"percent": 3}, "0", "0.01", "0"),
    ],
)
def test_known_prices(rule, old, rounding, new):
    method = rule.pop("method", "percent")
    rule = Rule(method, **{name: Decimal(value) for name, value in rule.items()})
    assert str(revise(rule, Decimal(old), Decimal(rounding))) == new


@pytest.mark.parametrize(
    "values",
    [
        {"method": "magic"},
        {"method": "index", "index_base": Decimal(0)},
        {"method": "percent", "floor": Decimal(3), "cap": Decimal(2)},
        {"method": "percent", "step": Decimal(-1)},
    ],
)
def test_rules_that_mean_nothing(values):
    with pytest.raises(ValueError, match=r"."):
        Rule(**values)


def test_no_price_of_zero_or_less_comes_about():
    with pytest.raises(ValueError, match="above zero"):
        revise(Rule("fixed", amount=Decimal(-5)), Decimal(5), CENT)
    with pytest.raises(ValueError, match="above zero"):
        revise(Rule("percent", percent=Decimal(3), step=Decimal(1)), Decimal("0.0125"), CENT)
    with pytest.raises(ValueError, match="credit"):
        revise(Rule("percent", percent=Decimal(3)), Decimal(-5), CENT)


@given(rules(), prices, roundings)
def test_the_cap_holds_and_the_floor_where_a_step_fits(rule, price, rounding):
    try:
        new = revise(rule, price, rounding)
    except ValueError:
        assume(False)
    percent = (Fraction(new) / Fraction(price) - 1) * 100
    fine = Fraction(revision.own_step(price, rounding)) / Fraction(price) * 100
    if rule.cap is not None:
        assert percent <= rule.cap
    if rule.floor is not None:
        assert percent > Fraction(rule.floor) - fine
        if rule.cap is None:
            assert percent >= rule.floor


@given(rules(), prices, roundings)
def test_a_new_price_is_a_multiple_of_a_step(rule, price, rounding):
    try:
        new = revise(rule, price, rounding)
    except ValueError:
        assume(False)
    fine = revision.own_step(price, rounding)
    assert not new % fine or (rule.step and not new % rule.step)


@given(percents, prices)
def test_percent_equals_the_index_that_rose_by_it(percent, price):
    by_percent = Rule("percent", percent=percent)
    by_index = Rule("index", index_base=Decimal(100), index_current=100 + percent)
    assert change(by_percent) == change(by_index) == Fraction(percent)
    try:
        new = revise(by_percent, price, CENT)
    except ValueError:
        assume(False)
    assert new == revise(by_index, price, CENT)


@given(percents, prices, prices)
def test_of_two_prices_the_larger_stays_the_larger(percent, one, other):
    rule = Rule("percent", percent=percent, step=CENT)
    try:
        assert (revise(rule, one, CENT) <= revise(rule, other, CENT)) or one > other
    except ValueError:
        assume(False)


@given(rules(), st.lists(st.tuples(prices, prices), min_size=1, max_size=4), prices)
def test_each_amount_of_a_price_by_bracket_is_revised_alike(rule, amounts, minimum):
    brackets = tuple(
        pricing.Bracket(Decimal(number * 10) if number < len(amounts) else Decimal(0), unit, flat)
        for number, (unit, flat) in enumerate(amounts, start=1)
    )
    price = pricing.Price("volume", minimum_amount=minimum, brackets=brackets)
    try:
        new = revise_price(rule, price, CENT)
    except ValueError:
        assume(False)
    alone = Rule(**{name: getattr(rule, name) for name in Rule.__slots__} | {"step": Decimal(0)})
    assert new.minimum_amount == revise(alone, minimum, CENT)
    assert [bracket.up_to for bracket in new.brackets] == [bracket.up_to for bracket in brackets]
    for old, bracket in zip(brackets, new.brackets, strict=True):
        assert bracket.unit_amount == revise(alone, old.unit_amount, CENT)
        assert bracket.flat_amount == revise(alone, old.flat_amount, CENT)


def test_amounts_and_percentages_have_no_common_revision():
    price = pricing.Price("percentage", unit_amount=Decimal("0.08"))
    with pytest.raises(ValueError, match="percentage"):
        revise_price(Rule("percent", percent=Decimal(3)), price, CENT)
    with pytest.raises(ValueError, match="several amounts"):
        revise_price(Rule("fixed", amount=Decimal(3)), pricing.Price("flat"), CENT)
    with pytest.raises(ValueError, match="each price"):
        change(Rule("fixed", amount=Decimal(3)))
