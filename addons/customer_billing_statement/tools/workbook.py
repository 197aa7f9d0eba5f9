"""Tables to XLSX. Every text is written as text: nothing that a customer typed becomes a formula or a link."""

import io
from collections.abc import Iterable
from datetime import date, datetime

import xlsxwriter


def write_workbook(sheets: Iterable[tuple[str, list[str], Iterable[Iterable[object]]]]) -> bytes:
    """Return an XLSX file with a sheet for each (name, column names, rows).

    >>> write_workbook([("Result", ["Number", "Amount"], [["=1+1", 5.0], [None, 2]])])[:2]
    b'PK'
    """
    target = io.BytesIO()
    book = xlsxwriter.Workbook(
        target,
        {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False},
    )
    bold = book.add_format({"bold": True, "bottom": 1})
    day = book.add_format({"num_format": "yyyy-mm-dd"})
    money = book.add_format({"num_format": "#,##0.00"})
    for name, head, rows in sheets:
        sheet = book.add_worksheet(name[:31])
        sheet.freeze_panes(1, 0)
        widths = [len(text) for text in head]
        for x, text in enumerate(head):
            sheet.write_string(0, x, text, bold)
        for y, row in enumerate(rows, 1):
            for x, value in enumerate(row):
                _write(sheet, y, x, value, day, money)
                widths[x] = min(max(widths[x], len(str(value))), 60)
        for x, width in enumerate(widths):
            sheet.set_column(x, x, width + 2)
    book.close()
    return target.getvalue()


def _write(sheet, y, x, value, day, money):
    if value is None or value is False or value == "":
        return
    if isinstance(value, datetime | date):
        sheet.write_datetime(y, x, value, day)
    elif isinstance(value, float):
        sheet.write_number(y, x, value, money)
    elif isinstance(value, int):
        sheet.write_number(y, x, value)
    else:
        sheet.write_string(y, x, str(value))
