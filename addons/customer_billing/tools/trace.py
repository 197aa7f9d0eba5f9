"""The trace of a charge: its frozen inputs and its calculation, as plain JSON.

Numbers are strings (exact decimals and fractions), dates ISO strings, spans half-open.
"""

from datetime import date
from decimal import Decimal
from fractions import Fraction

from . import charging, pricing, proration, recurrence

VERSION = 2  # since 2 a usage line counts on within a period when the price was kept


def from_difference(difference: charging.Difference) -> dict:
    """The trace to store with the charge that books ``difference``."""
    slot, should, inputs = difference.slot, difference.entitlement, difference.inputs
    served = [[start.isoformat(), end.isoformat()] for start, end in should.served]
    factor = sum(
        (
            proration.elapsed(inputs.method, slot.period_start, slot.period_end, end)
            - proration.elapsed(inputs.method, slot.period_start, slot.period_end, start)
            for start, end in should.served
        ),
        start=Fraction(0),
    )
    if inputs.method == "none":
        factor = Fraction(1 if should.served else 0)
    counted = {} if inputs.before is None else {
        "before": str(inputs.before), "total": str(inputs.total)
    }  # fmt: skip
    return {
        "v": VERSION if inputs.counts_on else 1,
        "slot": [slot.start.isoformat(), slot.end.isoformat()],
        "period": [slot.period_start.isoformat(), slot.period_end.isoformat()],
        "served": served,
        "served_days": sum((end - start).days for start, end in should.served),
        "period_days": (slot.period_end - slot.period_start).days,
        "method": inputs.method,
        "factor": str(factor),
        "quantity": str(inputs.quantity),
        "discount": str(inputs.discount),
        "price": _price_to_json(inputs.price),
        "steps": [
            {
                "kind": step.kind,
                "quantity": str(step.quantity),
                "unit_amount": str(step.unit_amount),
                "amount": str(step.amount),
                "from": None if step.from_quantity is None else str(step.from_quantity),
                "to": None if step.to_quantity is None else str(step.to_quantity),
            }
            for step in should.steps
        ],
        "gross_amount": str(should.gross_amount),
        "full_amount": str(should.full_amount),
        "should_amount": str(should.amount),
        "booked_amount": str(difference.booked_amount),
        "covered_amount": str(should.covered_amount),
        "records": difference.record_count,
        "amount": str(difference.amount),
        **counted,
    }


def to_booked(
    first: dict, last: dict, amount: Decimal, revision: int, waived: Decimal = Decimal(0)
) -> charging.Booked:
    """The ledger entry of a slot: inputs frozen by its first charge, quantity and
    days served by its last, ``amount`` that counts and what was ``waived``."""
    start, end = map(date.fromisoformat, first["slot"])
    period_start, period_end = map(date.fromisoformat, first["period"])
    return charging.Booked(
        slot=recurrence.Slot(start, end, period_start, period_end),
        amount=amount,
        revision=revision,
        inputs=charging.Inputs(
            price=_price_from_json(first["price"]),
            quantity=Decimal(first["quantity"]),
            discount=Decimal(first["discount"]),
            method=first["method"],
            counts_on=first["v"] > 1,
        ),
        served=tuple(
            (date.fromisoformat(start), date.fromisoformat(end)) for start, end in last["served"]
        ),
        quantity=Decimal(last["quantity"]),
        waived=waived,
    )


def _price_to_json(price: pricing.Price) -> dict:
    return {
        "model": price.model,
        "unit_amount": str(price.unit_amount),
        "package_size": str(price.package_size),
        "minimum_amount": str(price.minimum_amount),
        "brackets": [
            [str(bracket.up_to), str(bracket.unit_amount), str(bracket.flat_amount)]
            for bracket in price.brackets
        ],
    }


def _price_from_json(values: dict) -> pricing.Price:
    return pricing.Price(
        model=values["model"],
        unit_amount=Decimal(values["unit_amount"]),
        package_size=Decimal(values["package_size"]),
        minimum_amount=Decimal(values["minimum_amount"]),
        brackets=tuple(
            pricing.Bracket(*(Decimal(value) for value in bracket))
            for bracket in values["brackets"]
        ),
    )
