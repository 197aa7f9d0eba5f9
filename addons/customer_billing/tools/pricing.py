"""From a quantity to money, with the steps that a customer can read.

The models and their names follow what Stripe ("Set up tiered pricing") and Lago ("Charge models")
document. Amounts are exact and not rounded: rounding belongs to whoever writes the bill.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Literal

from .money import EXACT

Model = Literal["flat", "per_unit", "graduated", "volume", "package", "stairstep", "percentage"]
StepKind = Literal[
    "flat", "unit", "tier", "tier_flat", "volume", "stairstep", "package", "percentage", "minimum"
]

_ZERO, _ONE = Decimal(0), Decimal(1)
_BRACKET_MODELS = ("graduated", "volume", "stairstep")
_LINEAR_MODELS = ("per_unit", "percentage")


@dataclass(frozen=True, slots=True)
class Bracket:
    """A range of quantities, from above the bracket before (the first: from 0) to ``up_to``.

    :param up_to: last quantity inside, 0 when there is no upper bound
    :param unit_amount: money per unit
    :param flat_amount: money once when the bracket is used
    """

    up_to: Decimal
    unit_amount: Decimal = _ZERO
    flat_amount: Decimal = _ZERO


@dataclass(frozen=True, slots=True)
class Price:
    """How a quantity is charged; amounts are in units of one currency.

    * 'flat': ``unit_amount`` once, whatever the quantity, also for 0;
    * 'per_unit': quantity × ``unit_amount``;
    * 'graduated': every part of the quantity at the unit amount of its bracket, plus the flat
      amount of each bracket used;
    * 'volume': the whole quantity at the unit amount of the bracket that it falls in, plus that
      bracket's flat amount; the total may fall where a bracket begins;
    * 'stairstep': the flat amount of the bracket that the quantity falls in, nothing else;
    * 'package': ``unit_amount`` for every package of ``package_size`` units that was begun;
    * 'percentage': ``unit_amount`` is a rate (0.08 = 8 %) of the quantity, which is money.

    A quantity of 0 falls in the first bracket, whose flat amount is therefore always charged.

    :param package_size: units per package, above 0; read by 'package' only
    :param minimum_amount: least amount charged, 0 when there is none
    :param brackets: ascending, the last one without upper bound; read by 'graduated', 'volume'
        and 'stairstep' only
    :raises ValueError: when a value that the model reads is outside of these
    """

    model: Model
    unit_amount: Decimal = _ZERO
    package_size: Decimal = _ONE
    minimum_amount: Decimal = _ZERO
    brackets: tuple[Bracket, ...] = ()

    def __post_init__(self):
        if self.model not in _MODELS:
            raise ValueError(f"Unknown price model {self.model!r}: use {', '.join(_MODELS)}.")
        if self.minimum_amount < 0:
            raise ValueError(f"The minimum is {self.minimum_amount}: it must be 0 or more.")
        if self.model == "package" and self.package_size <= 0:
            raise ValueError(f"The package size is {self.package_size}: it must be above 0.")
        if self.model in _BRACKET_MODELS:
            _check_brackets(self.brackets)


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the explanation; ``amount`` = ``quantity`` × ``unit_amount`` but for 'minimum'.

    * 'flat': the fee, once;
    * 'unit': quantity units at unit amount;
    * 'tier': quantity units of a graduated bracket; "first" when ``from_quantity`` is 0, else
      "next";
    * 'volume': the whole quantity at the unit amount of its bracket;
    * 'stairstep': the flat amount of its bracket, once;
    * 'tier_flat': the flat amount beside 'tier' or 'volume', once;
    * 'package': quantity packages; one holds ``to_quantity`` units;
    * 'percentage': quantity is the base amount, unit amount the rate (0.08 = 8 %);
    * 'minimum': unit amount is the minimum, amount what is missing to reach it.

    :param from_quantity: where the bracket begins (not included, but for 0), None without bracket
    :param to_quantity: where it ends (included), None without upper bound or bracket
    """

    kind: StepKind
    quantity: Decimal
    unit_amount: Decimal
    amount: Decimal
    from_quantity: Decimal | None = None
    to_quantity: Decimal | None = None


def evaluate(price: Price, quantity: Decimal) -> tuple[Decimal, tuple[Step, ...]]:
    """Return what ``quantity`` costs, exact and not rounded, and the steps that lead there.

    There is always a step, also when the amount is zero, and the steps' amounts add up to the
    amount exactly.

    :param quantity: units, or the base amount for 'percentage'. Below 0 it is allowed only where
        it has one meaning, the reverse of the same quantity: 'per_unit' and 'percentage' without
        a minimum
    :raises ValueError: for another quantity below 0

    >>> price = Price('graduated', brackets=(
    ...     Bracket(Decimal(100), Decimal('0.50')), Bracket(Decimal(0), Decimal('0.40'))))
    >>> amount, steps = evaluate(price, Decimal(150))
    >>> print(amount, [f'{step.quantity} at {step.unit_amount}' for step in steps])
    70.00 ['100 at 0.50', '50 at 0.40']
    >>> print(evaluate(Price('package', Decimal(5), package_size=Decimal(100)), Decimal(101))[0])
    10
    """
    if quantity < 0 and (price.model not in _LINEAR_MODELS or price.minimum_amount):
        raise ValueError(
            f"The quantity is {quantity}: a price that is {price.model} or has a minimum cannot "
            "be applied to a quantity below 0. Credit the period that the quantity belongs to."
        )
    with localcontext(EXACT):
        steps = list(_MODELS[price.model](price, quantity))
        amount = sum((step.amount for step in steps), _ZERO)
        if price.minimum_amount and amount < price.minimum_amount:
            missing = price.minimum_amount - amount
            steps.append(Step("minimum", _ONE, price.minimum_amount, missing))
            amount += missing
    return amount, tuple(steps)


def _check_brackets(brackets: tuple[Bracket, ...]) -> None:
    if not brackets:
        raise ValueError("The price has no bracket: add one without upper bound (up to 0).")
    *bounded, last = brackets
    previous = _ZERO
    for number, bracket in enumerate(bounded, start=1):
        if bracket.up_to <= previous:
            raise ValueError(
                f"Bracket {number} goes up to {bracket.up_to}, which is not above {previous}: "
                "give the brackets in ascending order, only the last one up to 0 (no bound)."
            )
        previous = bracket.up_to
    if last.up_to:
        raise ValueError(
            f"The last bracket goes up to {last.up_to}, larger quantities have no price: "
            "set its upper bound to 0 (no bound)."
        )


def _brackets(price: Price) -> Iterator[tuple[Bracket, Decimal, Decimal | None]]:
    """Yield each bracket with the quantity where it begins and the one where it ends."""
    lower = _ZERO
    for bracket in price.brackets:
        yield bracket, lower, bracket.up_to or None
        lower = bracket.up_to


def _bracket_of(price: Price, quantity: Decimal) -> tuple[Bracket, Decimal, Decimal | None]:
    return next(found for found in _brackets(price) if found[2] is None or quantity <= found[2])


def _step(kind, quantity, unit_amount, lower=None, upper=None) -> Step:
    return Step(kind, quantity, unit_amount, quantity * unit_amount, lower, upper)


def _flat(price: Price, quantity: Decimal) -> Iterator[Step]:
    yield _step("flat", _ONE, price.unit_amount)


def _per_unit(price: Price, quantity: Decimal) -> Iterator[Step]:
    yield _step("unit", quantity, price.unit_amount)


def _graduated(price: Price, quantity: Decimal) -> Iterator[Step]:
    for bracket, lower, upper in _brackets(price):
        if lower and quantity <= lower:
            return
        inside = (quantity if upper is None else min(quantity, upper)) - lower
        yield _step("tier", inside, bracket.unit_amount, lower, upper)
        if bracket.flat_amount:
            yield _step("tier_flat", _ONE, bracket.flat_amount, lower, upper)


def _volume(price: Price, quantity: Decimal) -> Iterator[Step]:
    bracket, lower, upper = _bracket_of(price, quantity)
    yield _step("volume", quantity, bracket.unit_amount, lower, upper)
    if bracket.flat_amount:
        yield _step("tier_flat", _ONE, bracket.flat_amount, lower, upper)


def _stairstep(price: Price, quantity: Decimal) -> Iterator[Step]:
    bracket, lower, upper = _bracket_of(price, quantity)
    yield _step("stairstep", _ONE, bracket.flat_amount, lower, upper)


def _package(price: Price, quantity: Decimal) -> Iterator[Step]:
    whole, rest = divmod(quantity, price.package_size)
    packages = whole + 1 if rest else whole
    yield _step("package", packages, price.unit_amount, _ZERO, price.package_size)


def _percentage(price: Price, quantity: Decimal) -> Iterator[Step]:
    yield _step("percentage", quantity, price.unit_amount)


_MODELS = {
    "flat": _flat,
    "per_unit": _per_unit,
    "graduated": _graduated,
    "volume": _volume,
    "package": _package,
    "stairstep": _stairstep,
    "percentage": _percentage,
}
