"""Tables as sheets of an XLSX file."""


def write_sheet(book, sheet, title, headings, rows):
    """Write a title, headings and rows into a sheet, with a filter; texts stay texts, whatever they begin with.

    :param book: the workbook (``xlsxwriter``) of the sheet
    :param str title: what stands above the table
    :param list headings: the names of the columns
    :param list rows: lists of cells: a text, a date, a number, or an amount as (number, currency), where the currency
        has ``decimal_places``
    """
    bold = book.add_format({"bold": True, "text_wrap": True, "valign": "top", "bottom": 1})
    day = book.add_format({"num_format": "yyyy-mm-dd", "align": "left"})
    amounts = {}
    sheet.write_string(0, 0, title, book.add_format({"bold": True}))
    for column, heading in enumerate(headings):
        sheet.write_string(2, column, heading, bold)
    for index, row in enumerate(rows, start=3):
        for column, value in enumerate(row):
            if isinstance(value, tuple):
                number, currency = value
                if currency not in amounts:
                    decimals = "." + "0" * currency.decimal_places if currency.decimal_places else ""
                    amounts[currency] = book.add_format({"num_format": f"#,##0{decimals}"})
                sheet.write_number(index, column, number, amounts[currency])
            elif hasattr(value, "year"):
                sheet.write_datetime(index, column, value, day)
            elif isinstance(value, int | float) and not isinstance(value, bool):
                sheet.write_number(index, column, value)
            elif value:
                sheet.write_string(index, column, value)
    sheet.set_column(0, 0, 32)
    sheet.set_column(1, len(headings), 14)
    sheet.freeze_panes(3, 1)
    if rows:
        sheet.autofilter(2, 0, 2 + len(rows), len(headings) - 1)
