"""What is wrong with a customer's file: where, what, and what to do about it."""

from dataclasses import dataclass, field

MESSAGES = {
    # the whole file
    "empty": "The file is empty. Upload the ledger as XLSX or CSV.",
    "too_big": "The file has %(size)s MB; at most %(limit)s MB are read. Export a shorter period, or only the "
    "columns needed.",
    "too_big_unpacked": "The workbook unpacks to more than %(limit)s MB. Copy the rows needed to a new workbook, as "
    "values, and upload that.",
    "not_a_table": "This is %(kind)s, not a table. Export the ledger as XLSX or CSV and upload that.",
    "macros": "The workbook has macros. They are never run, and the file is not kept: save it as XLSX (a "
    "workbook without macros) and upload that.",
    "password": "The workbook is protected by a password. Remove the password and upload it again.",
    "damaged": "The file cannot be read: it is damaged or not what its name says. Open it, save it as XLSX or "
    "CSV, and upload that.",
    "no_rows": "No rows were found. Put the ledger on the first visible sheet, with a row of column names above "
    "the entries.",
    "one_column": "All text is in one column. Separate the columns by commas, semicolons or tabs, or upload XLSX.",
    "too_many_rows": "The file has more than %(limit)s rows. Export a shorter period.",
    "too_many_columns": "There are more than %(limit)s columns. Delete the columns that are not needed.",
    "encoding": "The text is in no encoding that is known. Save the file as “CSV UTF-8” or as XLSX.",
    "quotes": "A quotation mark is not closed. Close or remove it.",
    "long_text": "A text is too long to be a cell; a quotation mark may be missing before it. Shorten it.",
    # columns
    "missing_column": "No column is chosen for: %(field)s. Choose it above.",
    "lost_column": "The column “%(name)s” that was used last time is not in this file. Choose the column again.",
    "column_twice": "The column “%(name)s” is chosen twice. Choose another for one of them.",
    # rows
    "mixed_encoding": "This row is in another encoding than the rest (%(encoding)s). It was read; check its texts.",
    "formula": "A formula without a stored result. Open the file in a spreadsheet program and save it, or paste "
    "the cells as values.",
    "no_date": "The date is missing. Enter it.",
    "bad_date": "“%(value)s” is not a date. Write it as 2026-03-31.",
    "ambiguous_date": "“%(value)s” can be two dates. Choose above whether the day or the month comes first.",
    "date_order": "“%(value)s” does not fit the order of day and month that is chosen above.",
    "no_amount": "The amount is missing. Enter it, or delete the row.",
    "bad_amount": "“%(value)s” is not an amount. Write it as 1234.56.",
    "huge_amount": "“%(value)s” is too large to be an amount. Check it.",
    "bad_side": "“%(value)s” does not say debit or credit. Write D or C.",
    "bad_currency": "“%(value)s” is not a currency. Write its code of three letters, for instance EUR.",
}  # fmt: skip
"""English texts by code; `ledger` models hold the same for translation."""

WARNINGS = frozenset({"mixed_encoding"})
"""Codes that keep no row out."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a file.

    ``row`` is the number that a spreadsheet program shows (from 1; 0: the file), ``column`` its letters.

    >>> print(Problem("bad_date", 7, "C", {"value": "soon"}))
    C7: “soon” is not a date. Write it as 2026-03-31.
    """

    code: str
    row: int = 0
    column: str = ""
    args: dict = field(default_factory=dict, compare=False)

    @property
    def is_warning(self) -> bool:
        """True when the row is used all the same."""
        return self.code in WARNINGS

    def __str__(self) -> str:
        text = MESSAGES[self.code] % self.args
        return f"{self.column}{self.row}: {text}" if self.row else text


class LedgerError(ValueError):
    """The file as a whole cannot be used; ``problem`` says why."""

    def __init__(self, code: str, row: int = 0, column: str = "", **args):
        self.problem = Problem(code, row, column, args)
        super().__init__(str(self.problem))


def column_letters(index: int) -> str:
    """Return the letters of the column with ``index`` (from 0).

    >>> column_letters(0), column_letters(25), column_letters(26), column_letters(701)
    ('A', 'Z', 'AA', 'ZZ')
    """
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def shorten(value: object, limit: int = 40) -> str:
    """Return ``value`` as a text of one line that fits into a message.

    >>> shorten("a" * 50), shorten(" 1\\n2 ")
    ('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…', '1 2')
    """
    text = " ".join(str(value)[: 4 * limit].split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
