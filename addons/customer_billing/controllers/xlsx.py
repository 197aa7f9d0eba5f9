import io

import xlsxwriter

from odoo.http import content_disposition, request

XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
MAX_ROWS = 20_000  # of one file: more than a page of a browser should wait for


def send_xlsx(name, columns, rows):
    """Answer with a workbook of one sheet.

    :param name: of the file, without ending
    :param columns: list of (heading, width, kind); kind is text, date or amount
    :param rows: iterable of rows with a value for each column; an empty value leaves the cell empty
    """
    buffer = io.BytesIO()
    # Texts stay texts: a name that begins with "=" must not become a formula.
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(buffer, options) as workbook:
        formats = {
            "text": workbook.add_format(),
            "date": workbook.add_format({"num_format": "yyyy-mm-dd"}),
            "amount": workbook.add_format({"num_format": "#,##0.00"}),
        }
        heading = workbook.add_format({"bold": True, "bottom": 1})
        sheet = workbook.add_worksheet()
        sheet.freeze_panes(1, 0)
        for index, (label, width, _kind) in enumerate(columns):
            sheet.set_column(index, index, width)
            sheet.write_string(0, index, label, heading)
        for number, row in enumerate(rows, start=1):
            for index, (value, (_label, _width, kind)) in enumerate(zip(row, columns, strict=True)):
                if kind == "amount":
                    sheet.write_number(number, index, float(value), formats[kind])
                elif value and kind == "date":
                    sheet.write_datetime(number, index, value, formats[kind])
                elif value:
                    sheet.write_string(number, index, str(value))
    content = buffer.getvalue()
    return request.make_response(
        content,
        [
            ("Content-Type", XLSX_TYPE),
            ("Content-Length", len(content)),
            ("Content-Disposition", content_disposition(f"{name}.xlsx")),
            ("X-Content-Type-Options", "nosniff"),
        ],
    )
