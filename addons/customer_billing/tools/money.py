"""Exact money arithmetic: one way to round and one way in from Odoo's floats."""

from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from fractions import Fraction

EXACT = Context(prec=200, traps=[DivisionByZero, Inexact, InvalidOperation, Overflow])
"""Decimal context that never rounds: a result of more than 200 digits raises ``Inexact``."""


def to_decimal(value: float | int | Decimal) -> Decimal:
    """Return ``value`` as the decimal that a person reads.

    A float goes through ``repr``, its shortest text that reads back as the same float, and not
    through its binary expansion (Python documentation, "Floating-Point Arithmetic").

    :param value: an amount, a quantity or a currency's rounding, as Odoo hands it
    :raises ValueError: for NaN and infinity

    >>> to_decimal(0.1), to_decimal(3), to_decimal(1.005)
    (Decimal('0.1'), Decimal('3'), Decimal('1.005'))
    """
    result = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not result.is_finite():
        raise ValueError(f"{value} is not a number that can be billed: give a finite value.")
    return result


def round_amount(value: Decimal | Fraction | int, rounding: Decimal) -> Decimal:
    """Return ``value`` rounded to the nearest multiple of ``rounding``, halves away from zero.

    The result is exact whatever the size, and the same for ``-value`` but for the sign. The rule
    is Odoo's ``float_round(..., rounding_method='HALF-UP')``.

    :param value: the exact amount, in units of the currency; never a float (see `to_decimal`)
    :param rounding: the step, above zero: 0.01 for cents, 0.05, 1, 0.001
    :raises ValueError: when rounding is not above zero, or value is a float, NaN or infinite

    >>> round_amount(Decimal('2.675'), Decimal('0.01')), round_amount(Decimal('-0.5'), Decimal(1))
    (Decimal('2.68'), Decimal('-1'))
    >>> round_amount(Fraction(100, 3), Decimal('0.05'))
    Decimal('33.35')
    """
    if isinstance(value, float):
        raise ValueError(f"{value!r} is a float: convert it with to_decimal() before rounding.")
    if not (rounding.is_finite() and rounding > 0):
        raise ValueError(f"Cannot round to a multiple of {rounding}: give a step above zero.")
    try:
        numerator, denominator = value.as_integer_ratio()
    except (OverflowError, ValueError) as error:
        raise ValueError(f"Cannot round {value}: give a finite amount.") from error
    step_numerator, step_denominator = rounding.as_integer_ratio()
    numerator *= step_denominator
    denominator *= step_numerator
    steps = (2 * abs(numerator) + denominator) // (2 * denominator)
    return EXACT.multiply(Decimal(steps if numerator >= 0 else -steps), rounding)
