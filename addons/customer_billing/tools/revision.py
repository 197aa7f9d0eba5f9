"""From an old price to a new one: by percent, by an index, by an amount; within limits, rounded.

Prices are amounts above zero in one currency; percentages are as people say them (3 = 3 %).
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from . import money, pricing

Method = Literal["percent", "index", "fixed"]

FINEST = Decimal("0.000001")
"""No new price has more decimals than this, whatever the old one has."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How prices are revised.

    * 'percent': by ``percent`` of the old price;
    * 'index': in the ratio ``index_current`` ÷ ``index_base``;
    * 'fixed': by ``amount``, the same for every price, which may be below zero.

    :param floor: least change in percent of the old price; None for no limit
    :param cap: greatest change in percent of the old price; None for no limit
    :param step: new prices are multiples of it; 0: see `own_step`
    :raises ValueError: for an index that is not above zero, a floor above the cap, a step below
        zero, or an unknown method
    """

    method: Method
    percent: Decimal = Decimal(0)
    index_base: Decimal = Decimal(1)
    index_current: Decimal = Decimal(1)
    amount: Decimal = Decimal(0)
    floor: Decimal | None = None
    cap: Decimal | None = None
    step: Decimal = Decimal(0)

    def __post_init__(self):
        if self.method not in ("percent", "index", "fixed"):
            raise ValueError(f"Unknown method {self.method!r}: use percent, index or fixed.")
        if self.method == "index" and not (self.index_base > 0 and self.index_current > 0):
            raise ValueError("Both values of the index must be above zero.")
        if self.floor is not None and self.cap is not None and self.floor > self.cap:
            raise ValueError(f"The least change, {self.floor} %, is above the greatest, {self.cap} %.")
        if self.step < 0:
            raise ValueError(f"Cannot round to multiples of {self.step}: give a step of 0 or more.")


def change(rule: Rule) -> Fraction:
    """Return the change in percent, within the limits, for prices of any size.

    :raises ValueError: for 'fixed', whose percentage depends on the price

    >>> change(Rule('index', index_base=Decimal('102.4'), index_current=Decimal('105.6')))
    Fraction(25, 8)
    >>> change(Rule('percent', percent=Decimal(8), cap=Decimal(5)))
    Fraction(5, 1)
    """
    if rule.method == "fixed":
        raise ValueError("An amount is another percentage of each price.")
    if rule.method == "percent":
        percent = Fraction(rule.percent)
    else:
        percent = (Fraction(rule.index_current) / Fraction(rule.index_base) - 1) * 100
    if rule.cap is not None:
        percent = min(percent, Fraction(rule.cap))
    if rule.floor is not None:
        percent = max(percent, Fraction(rule.floor))
    return percent


def own_step(price: Decimal, rounding: Decimal) -> Decimal:
    """Return the step that keeps as many decimals as a price has, at least the currency's.

    :param rounding: the smallest amount of the currency (0.01)

    >>> own_step(Decimal('12.50'), Decimal('0.01')), own_step(Decimal('0.0125'), Decimal('0.01'))
    (Decimal('0.01'), Decimal('0.0001'))
    >>> own_step(Decimal('1000'), Decimal('1'))
    Decimal('1')
    """
    if not price % rounding:
        return rounding
    return max(Decimal(1).scaleb(price.normalize().as_tuple().exponent), FINEST)


def revise(rule: Rule, price: Decimal, rounding: Decimal) -> Decimal:
    """Return the new price.

    Where rounding to the rule's step would leave the limits, it is rounded to `own_step` instead,
    towards the inside (where nothing is inside, the cap counts).

    :param price: the old price, above zero; 0 stays 0
    :param rounding: the smallest amount of the currency
    :raises ValueError: when the price is below zero, or the new one would not be above it

    >>> revise(Rule('percent', percent=Decimal('3.5')), Decimal('19.90'), Decimal('0.01'))
    Decimal('20.60')
    >>> revise(Rule('percent', percent=Decimal(4), step=Decimal('0.05')), Decimal('19.90'), Decimal('0.01'))
    Decimal('20.70')
    >>> revise(Rule('fixed', amount=Decimal(2), cap=Decimal(10)), Decimal(12), Decimal('0.01'))
    Decimal('13.20')
    >>> revise(Rule('percent', percent=Decimal(5), cap=Decimal(5), step=Decimal(1)), Decimal('10.30'), Decimal('0.01'))
    Decimal('10.81')
    """
    if price < 0:
        raise ValueError(f"The price is {price}: a credit is not revised.")
    if not price:
        return price
    exact = Fraction(price)
    if rule.method == "fixed":
        exact += Fraction(rule.amount)
    else:
        exact *= 1 + change(rule) / 100
    low, high = (
        None if limit is None else Fraction(price) * (1 + Fraction(limit) / 100)
        for limit in (rule.floor, rule.cap)
    )
    exact = _within(exact, low, high)
    fine = own_step(price, rounding)
    new = money.round_amount(exact, rule.step or fine)
    if _within(Fraction(new), low, high) != Fraction(new):
        new = _nearest_inside(exact, low, high, fine)
    if new <= 0:
        raise ValueError(f"The new price would be {new}: it must be above zero.")
    return new


def revise_price(rule: Rule, price: pricing.Price, rounding: Decimal) -> pricing.Price:
    """Return a price with all its amounts revised: unit, minimum, brackets.

    The amounts that belong together keep their proportions, so a step, which is for unit prices
    as people agree on them, is not used here.

    :raises ValueError: for 'fixed' (an amount for one unit is none for a bracket), for a
        percentage, and as `revise`

    >>> price = pricing.Price('graduated', brackets=(
    ...     pricing.Bracket(Decimal(100), Decimal('0.50')), pricing.Bracket(Decimal(0), Decimal('0.40'))))
    >>> new = revise_price(Rule('percent', percent=Decimal(10)), price, Decimal('0.01'))
    >>> [str(bracket.unit_amount) for bracket in new.brackets]
    ['0.55', '0.44']
    """
    if rule.method == "fixed":
        raise ValueError("An amount cannot be added to a price of several amounts.")
    if price.model == "percentage":
        raise ValueError("A percentage follows what it is a percentage of.")
    by_own_step = replace(rule, step=Decimal(0))

    def scaled(amount: Decimal) -> Decimal:
        return revise(by_own_step, amount, rounding)

    return replace(
        price,
        unit_amount=scaled(price.unit_amount),
        minimum_amount=scaled(price.minimum_amount),
        brackets=tuple(
            replace(
                bracket,
                unit_amount=scaled(bracket.unit_amount),
                flat_amount=scaled(bracket.flat_amount),
            )
            for bracket in price.brackets
        ),
    )


def _within(value: Fraction, low: Fraction | None, high: Fraction | None) -> Fraction:
    if low is not None:
        value = max(value, low)
    return value if high is None else min(value, high)


def _nearest_inside(
    value: Fraction, low: Fraction | None, high: Fraction | None, step: Decimal
) -> Decimal:
    """The multiple of ``step`` nearest to ``value`` inside the limits; the cap wins over the floor."""
    found = money.round_amount(value, step)
    if low is not None and found < low:
        found += step
    if high is not None and found > high:
        found -= step
    return found
