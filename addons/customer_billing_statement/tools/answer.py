"""What a customer types and uploads when objecting to a statement; no Odoo here."""

import os
from decimal import Decimal

from .ledger_values import ValueProblem, clean, parse_amount

MAX_FILES = 5
MAX_FILE_BYTES = 10 * 1024 * 1024
# What proves something: no page, drawing or program that a browser or computer would run.
FILE_TYPES = (
    "pdf", "png", "jpg", "jpeg", "gif", "webp", "heic", "tif", "tiff", "txt", "csv", "xls", "xlsx", "ods",
    "doc", "docx", "odt", "eml", "msg",
)  # fmt: skip


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


def clean_file_name(name: str | None) -> str:
    """Return the name of a file without folders and control characters, at most 100 characters.

    >>> clean_file_name("C:\\\\bills\\\\a/b.pdf"), clean_file_name("x" * 200 + ".pdf")[-8:], clean_file_name(None)
    ('b.pdf', 'xxxx.pdf', 'file')
    """
    stem, ending = os.path.splitext(clean((name or "").replace("\\", "/").rsplit("/", 1)[-1]))
    return f"{stem[:90]}{ending[:10]}" or "file"


def check_file(name: str, size: int) -> str:
    """Return what is wrong with an uploaded file: type, empty, large or an empty text.

    >>> check_file("scan.PDF", 9), check_file("page.html", 9), check_file("a.pdf", 0), check_file("pdf", 9)
    ('', 'type', 'empty', 'type')
    """
    if os.path.splitext(name)[1].lstrip(".").lower() not in FILE_TYPES:
        return "type"
    if not size:
        return "empty"
    return "large" if size > MAX_FILE_BYTES else ""
