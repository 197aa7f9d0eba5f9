"""Rounding and the way in from floats."""

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from billing_tools.money import round_amount, to_decimal
from hypothesis import given
from hypothesis import strategies as st

ROUNDINGS = [Decimal(text) for text in ("0.01", "1", "0.05", "0.001", "0.25", "10")]
fractions = st.fractions(min_value=-(10**12), max_value=10**12, max_denominator=10**9)
roundings = st.sampled_from(ROUNDINGS)


@pytest.mark.parametrize(
    ("value", "rounding", "expected"),
    [
        ("2.675", "0.01", "2.68"),
        ("-2.675", "0.01", "-2.68"),
        ("2.665", "0.01", "2.67"),
        ("2.6749999999999999999999", "0.01", "2.67"),
        ("0.5", "1", "1"),
        ("1.5", "1", "2"),
        ("-0.5", "1", "-1"),
        ("0.024", "0.05", "0.00"),
        ("0.025", "0.05", "0.05"),
        ("0.0745", "0.05", "0.05"),
        ("1.0005", "0.001", "1.001"),
        ("15", "10", "20"),
        ("0", "0.01", "0.00"),
        ("-0.001", "0.01", "0.00"),
    ],
)
def test_known_roundings(value, rounding, expected):
    assert str(round_amount(Decimal(value), Decimal(rounding))) == expected


def test_a_third_is_rounded_from_its_exact_value():
    assert round_amount(Fraction(1, 3), Decimal("0.01")) == Decimal("0.33")
    assert round_amount(Fraction(2, 3), Decimal("0.01")) == Decimal("0.67")


def test_size_costs_no_digit():
    huge = Decimal("9" * 40 + ".995")
    assert round_amount(huge, Decimal("0.01")) == Decimal("1" + "0" * 40)


@given(fractions, roundings)
def test_result_is_the_nearest_multiple(value, rounding):
    step = Fraction(rounding)
    result = Fraction(round_amount(value, rounding))
    assert (result / step).denominator == 1
    assert abs(result - value) <= step / 2
    if abs(result - value) == step / 2:
        assert abs(result) > abs(value)


@given(fractions, roundings)
def test_a_credit_mirrors_its_charge(value, rounding):
    assert round_amount(-value, rounding) == -round_amount(value, rounding)


@given(fractions, fractions, roundings)
def test_rounding_keeps_order(one, other, rounding):
    low, high = sorted((one, other))
    assert round_amount(low, rounding) <= round_amount(high, rounding)


@given(st.decimals(-(10**9), 10**9, places=5), st.sampled_from(["0.01", "1", "0.001"]))
def test_agrees_with_the_decimal_module(value, rounding):
    step = Decimal(rounding)
    assert round_amount(value, step) == value.quantize(step, ROUND_HALF_UP)


@pytest.mark.parametrize("rounding", ["0", "-0.01", "NaN", "Infinity"])
def test_rounding_to_nothing_is_refused(rounding):
    with pytest.raises(ValueError, match="step above zero"):
        round_amount(Decimal(1), Decimal(rounding))


@pytest.mark.parametrize("value", [1.005, Decimal("NaN"), Decimal("Infinity")])
def test_what_has_no_exact_value_is_refused(value):
    with pytest.raises(ValueError, match=r"to_decimal|finite"):
        round_amount(value, Decimal("0.01"))


def test_floats_become_what_a_person_reads():
    assert to_decimal(0.1) == Decimal("0.1")
    assert to_decimal(1.005) == Decimal("1.005")
    assert to_decimal(1e-7) == Decimal("0.0000001")
    assert to_decimal(7) == Decimal(7)
    assert to_decimal(Decimal("0.30")) == Decimal("0.30")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_come_back_unchanged(value):
    assert float(to_decimal(value)) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("-Infinity")])
def test_infinite_amounts_are_refused(value):
    with pytest.raises(ValueError, match="finite"):
        to_decimal(value)
