"""What a customer types when objecting to a statement; no Odoo here."""

from decimal import Decimal

from .ledger_values import ValueProblem, clean, parse_amount


def parse_figure(text: object, decimal_mark: str, decimal_places: int) -> Decimal | None:
    """Return the amount that a person typed, None for an empty field.

    :param decimal_mark: of the person's language; empty: as the amount itself says
    :param decimal_places: of the currency; more are refused, as they may be a mistaken thousands separator
    :raises ValueProblem: bad_amount, huge_amount, too_exact

    >>> str(parse_figure("1.234,50 €", ",", 2)), str(parse_figure("(1,234.5)", ".", 2)), parse_figure(" ", ".", 2)
    ('1234.50', '-1234.5', None)
    >>> parse_figure("1.234", ".", 2)
    Traceback (most recent call last):
    customer_billing_statement.tools.ledger_values.ValueProblem: too_exact
    """
    number = parse_amount(clean(text), decimal_mark)
    if number is not None and number != round(number, decimal_places):
        raise ValueProblem("too_exact")
    return number
