"""Files as customers send them: read rightly, or refused with a message that says where and what to do."""

import io
import random
import re
import zipfile
from datetime import date, datetime
from decimal import Decimal

import openpyxl
import pytest
import xlwt
from hypothesis import given
from hypothesis import strategies as st
from statement_tools import ledger_file
from statement_tools.ledger_columns import (
    Mapping,
    check_mapping,
    column_names,
    find_header,
    guess_columns,
    guess_mapping,
    read_items,
    score_head,
)
from statement_tools.ledger_file import read_file
from statement_tools.ledger_problem import MESSAGES, WARNINGS, LedgerError, Problem
from statement_tools.ledger_values import (
    ValueProblem,
    clean,
    guess_date_order,
    guess_decimal_mark,
    parse_amount,
    parse_currency,
    parse_date,
    parse_side,
)

D = Decimal
HEAD = ["Date", "Invoice", "Amount"]


def workbook(*rows, change=None):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    if change:
        change(book)
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()


def old_workbook(*rows):
    book = xlwt.Workbook()
    sheet = book.add_sheet("S")
    style = xlwt.easyxf(num_format_str="yyyy-mm-dd")
    for y, row in enumerate(rows):
        for x, value in enumerate(row):
            sheet.write(y, x, value, *([style] if isinstance(value, date) else []))
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()


def archive(**files):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in files.items():
            zipped.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return target.getvalue()


def with_part(content, name, part, replace=False):
    """A workbook with another part in it."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            if info.filename != name:
                new.writestr(info, old.read(info))
        new.writestr(name, part(old.read(name)) if replace else part)
    return target.getvalue()


def load(content, **options):
    """The entries and messages of a file, read as guessed."""
    table = read_file(content, score_head)
    mapping, _lost = guess_mapping(table)
    mapping = Mapping(**{**mapping.as_dict(), **options})
    return read_items(table, mapping)


def entries(ledger):
    return [(item.row, item.number, item.date.isoformat(), str(item.amount)) for item in ledger.items]


def messages(ledger):
    return [(f"{p.column}{p.row}", p.code) for p in ledger.problems]


def refused(content):
    with pytest.raises(LedgerError) as caught:
        read_file(content, score_head)
    return caught.value.problem


# --- whole files ---

PLAIN = workbook(HEAD, [date(2026, 3, 1), "INV/1", 5.5])
BOMB = with_part(PLAIN, "xl/media/image1.bin", b"\0" * (ledger_file.MAX_UNPACKED + 1))
SHEET = "xl/worksheets/sheet1.xml"


def with_xml(name, *parts):
    """A small file that unpacks to a part of many elements."""
    return with_part(PLAIN, name, b'<?xml version="1.0"?>' + b"".join(parts))


NASTY = {
    "empty": (b"", "empty"),
    "blank": (b" \r\n\n\t", "empty"),
    "zeros": (b"\0" * 500, "empty"),
    "pdf": (b"%PDF-1.7 ...", "not_a_table"),
    "png": (b"\x89PNG\r\n\x1a\n\0\0", "not_a_table"),
    "jpeg": (b"\xff\xd8\xff\xe0\0\x10JFIF", "not_a_table"),
    "web page named xls": (b"<html><table><tr><td>1</td></tr></table></html>", "not_a_table"),
    "xml workbook": (b"\xef\xbb\xbf<?xml version='1.0'?><Workbook/>", "not_a_table"),
    "program": (b"MZ\x90\0\x03\0\0\0" + bytes(range(256)), "not_a_table"),
    "noise": (random.Random(1).randbytes(5000), "not_a_table"),
    "zip": (archive(notes_dot_txt="x"), "not_a_table"),
    "text document": (archive(word__document_dot_xml="<w/>"), "not_a_table"),
    "opendocument": (archive(mimetype="application/vnd.oasis.opendocument.spreadsheet"), "not_a_table"),
    "half a workbook": (PLAIN[: len(PLAIN) // 2], "damaged"),
    "zip magic only": (b"PK\x03\x04", "damaged"),
    "old workbook's magic only": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "damaged"),
    "password": (b"\xd0\xcf\x11\xe0" + b"\0" * 600 + "EncryptedPackage".encode("utf-16-le"), "password"),
    "macros": (with_part(PLAIN, "xl/vbaProject.bin", b"x"), "macros"),
    "old macros": (old_workbook(HEAD) + "_VBA_PROJECT_CUR".encode("utf-16-le"), "macros"),
    "bomb": (BOMB, "too_big_unpacked"),
    "too big": (b"a;b\n" * (ledger_file.MAX_BYTES // 4 + 1), "too_big"),
    "entities": (
        with_part(PLAIN, "xl/sharedStrings.xml", b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><sst>&a;</sst>'),
        "damaged",
    ),
    "late entities": (
        with_xml(SHEET, b"<!--", b"x" * 5000, b"-->", b'<!DOCTYPE x [<!ENTITY a "b">]><worksheet>&a;</worksheet>'),
        "damaged",
    ),
    "row of a million cells": (
        with_xml(SHEET, b"<worksheet><sheetData><row>", b"<c/>" * 1_000_000, b"</row></sheetData></worksheet>"),
        "too_big_unpacked",
    ),
    "millions of empty rows": (
        with_xml(SHEET, b"<worksheet><sheetData>", b"<row/>" * 1_100_000, b"</sheetData></worksheet>"),
        "too_big_unpacked",
    ),
    "millions of texts": (
        with_xml("xl/sharedStrings.xml", b"<sst>", b"<si/>" * 1_100_000, b"</sst>"),
        "too_big_unpacked",
    ),
    "broken sheet": (with_part(PLAIN, "xl/worksheets/sheet1.xml", lambda xml: xml[:200], True), "damaged"),
    "no values": (workbook([None, None], [""]), "no_rows"),
    "values far below": (workbook(*[[]] * ledger_file.SCANNED_ROWS, ["Date", "Amount"]), "no_rows"),
    "one column": (b"Date\n2026-03-01\n", "one_column"),
    "open quote": (b'Date,Invoice,Amount\n2026-03-01,"INV/1,5\n2026-03-02,INV/2,6\n', "quotes"),
    "long cell": (b"Date,Invoice,Amount\n" + b"a" * 200_000 + b",b,c\n", "long_text"),
    "wide": (workbook([1] * (ledger_file.MAX_COLUMNS + 1)), "too_many_columns"),
    "long": (b"Date;Amount\n" + b"a;1\n" * ledger_file.MAX_ROWS, "too_many_rows"),
    "half utf-16": (b"\xff\xfea\0;\0\x00", "encoding"),
}


@pytest.mark.parametrize("name", NASTY)
def test_nasty_file_is_one_message(name):
    content, code = NASTY[name]
    problem = refused(content)
    assert problem.code == code
    assert "%(" not in str(problem) and str(problem).count(".") >= 1


def test_no_more_columns_are_looked_at_than_a_table_may_have():
    widths = []

    def score(rows):
        widths.extend(len(cells) for cells in rows)
        return 0

    with pytest.raises(LedgerError):
        read_file(b"a;" * 1_000_000, score)
    assert max(widths) == ledger_file.MAX_COLUMNS + 1


def test_message_names_the_row():
    assert str(refused(NASTY["open quote"][0])) == "2: A quotation mark is not closed. Close or remove it."


@given(
    st.binary(max_size=400)
    | st.binary(max_size=60).map(lambda tail: b"PK\x03\x04" + tail)
    | st.text(max_size=80).map(str.encode)
)
def test_any_bytes_are_read_or_refused(content):
    try:
        table = read_file(content, score_head)
    except LedgerError as error:
        assert error.problem.code in MESSAGES
        return
    mapping, _lost = guess_mapping(table)
    assert read_items(table, mapping) is not None


@given(st.integers(0, len(PLAIN) - 1), st.integers(0, 255))
def test_a_workbook_with_a_wrong_byte_is_read_or_refused(position, byte):
    content = bytearray(PLAIN)
    content[position] = byte
    try:
        read_file(bytes(content), score_head)
    except LedgerError as error:
        assert error.problem.code in MESSAGES


def test_rows_and_columns_far_out_cost_nothing():
    def far(xml):
        xml = re.sub(rb'<dimension ref="[^"]*"', b'<dimension ref="A1:XFD1048576"', xml)
        return xml.replace(b"</sheetData>", b'<row r="2000000000"><c r="A2000000000"><v>1</v></c></row></sheetData>')

    table = read_file(with_part(PLAIN, "xl/worksheets/sheet1.xml", far, True))
    assert [row.number for row in table.rows] == [1, 2]


# --- workbooks ---


def test_workbook():
    content = workbook(
        ["Ledger of ACME", None, None],
        [],
        ["日期", "单据号", "摘要", "借方", "贷方", "余额"],
        [datetime(2026, 3, 1), 20260001, "服务", None, 0.1 + 0.2, 5],
        ["2026年3月2日", "INV/2", "=HYPERLINK(1)", "(1,234.56)", "", ""],
        [46084, "INV/3", "", "￥１，０００", None, None],
        ["合计", None, None, 1, 2, 3],
    )
    table = read_file(content, score_head)
    ledger = load(content)
    assert find_header(table).number == 3
    # a text that looks like a formula is stored by openpyxl as one: a formula without a result
    assert messages(ledger) == [("C5", "formula")]
    assert entries(ledger) == [(4, "20260001", "2026-03-01", "-0.3"), (6, "INV/3", "2026-03-03", "1000")]
    assert ledger.skipped == [(7, "合计")]


def test_formulas_are_never_computed():
    def result(xml):
        return xml.replace(b"<f>1+1</f><v></v>", b"<f>1+1</f><v>7</v>").replace(
            b"<f>1+1</f><v/>", b"<f>1+1</f><v>7</v>"
        )

    content = workbook(HEAD, [date(2026, 3, 1), "INV/1", "=1+1"], [date(2026, 3, 2), "INV/2", 5])
    assert messages(load(content)) == [("C2", "formula")]
    stored = with_part(content, "xl/worksheets/sheet1.xml", result, True)
    assert [row[3] for row in entries(load(stored))] == ["7", "5"]


def test_formula_in_a_column_that_is_not_used():
    content = workbook([*HEAD, "Note"], [date(2026, 3, 1), "INV/1", 5, "=NOW()"])
    assert messages(load(content)) == []


def test_text_like_a_formula_stays_text():
    def quoted(book):
        book.active["B2"].data_type = "s"

    ledger = load(workbook(HEAD, [date(2026, 3, 1), "=cmd|' /C calc'!A0", 5], change=quoted))
    assert [item.number for item in ledger.items] == ["=cmd|' /C calc'!A0"]


def test_dates_that_count_from_1904():
    def since_1904(book):
        book.epoch = openpyxl.utils.datetime.CALENDAR_MAC_1904

    ledger = load(workbook(HEAD, [44620, "INV/1", 5], [date(2026, 3, 2), "INV/2", 5], change=since_1904))
    assert [row[2] for row in entries(ledger)] == ["2026-03-01", "2026-03-02"]


def test_the_sheet_with_the_known_columns():
    def sheets(book):
        book.active.title = "Cover"
        hidden = book.create_sheet("Hidden")
        hidden.sheet_state = "hidden"
        for sheet in (hidden, book.create_sheet("Data")):
            sheet.append(HEAD)
            sheet.append([date(2026, 3, 1), sheet.title, 5])

    content = workbook(["ACME", "Ledger"], change=sheets)
    assert read_file(content, score_head).sheet == "Data"
    assert [item.number for item in load(content).items] == ["Data"]


@pytest.mark.parametrize("kind", ["xlsx", "xls", "csv"])
def test_a_ledger_that_begins_far_down(kind):
    empty, row = [[] for _number in range(80)], [date(2026, 3, 1), "INV/1", 5]
    content = {
        "xlsx": workbook(*empty, HEAD, row),
        "xls": old_workbook(*empty, HEAD, row),
        "csv": b"\n" * 80 + b"Date;Invoice;Amount\n2026-03-01;INV/1;5\n",
    }[kind]
    assert [(item.row, item.number) for item in load(content).items] == [(82, "INV/1")]


def test_errors_and_truth_values_in_cells():
    ledger = load(workbook(HEAD, ["#REF!", "INV/1", 5], [date(2026, 3, 1), "INV/2", True], [True, "INV/3", "#N/A"]))
    assert messages(ledger) == [("A2", "bad_date"), ("C3", "bad_amount"), ("A4", "bad_date"), ("C4", "bad_amount")]


def test_old_workbook():
    ledger = load(old_workbook(HEAD, [date(2026, 3, 1), "INV/1", 0.1], [46083, 20260001.0, "1.234,50"]))
    assert entries(ledger) == [(2, "INV/1", "2026-03-01", "0.1"), (3, "20260001", "2026-03-02", "1234.50")]


# --- text ---

TEXT = "日期;单据号;金额\n2026-03-01;発票/1;1,5\n2026-03-02;增值税/2;(2)\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gb18030"])
def test_encodings(encoding):
    ledger = load(TEXT.encode(encoding))
    assert entries(ledger) == [(2, "発票/1", "2026-03-01", "1.5"), (3, "增值税/2", "2026-03-02", "-2")]


@pytest.mark.parametrize("encoding", ["gbk", "gb2312"])
def test_chinese_of_windows(encoding):
    assert [item.number for item in load("日期,发票号,金额\n2026/3/1,票1,5".encode(encoding)).items] == ["票1"]


def test_latin():
    ledger = load("Datum;Rechnungsnummer;Betrag\n01.03.2026;Müller–ß/1;1.234,56 €\n".encode("cp1252"))
    assert entries(ledger) == [(2, "Müller–ß/1", "2026-03-01", "1234.56")]
    assert ledger.items[0].currency == "EUR"


def test_mixed_encodings_are_read_and_named():
    lines = ["日期,单据号,金额".encode(), "2026-03-01,发票一,5".encode("gbk"), "2026-03-02,发票二,6".encode()]
    ledger = load(b"\r\n".join(lines))
    assert [item.number for item in ledger.items] == ["发票一", "发票二"]
    assert messages(ledger) == [("2", "mixed_encoding")]
    assert ledger.problems[0].is_warning


@pytest.mark.parametrize("delimiter", list(",;\t|"))
def test_delimiters(delimiter):
    rows = ['"Date","Invoice","Amount"', '2026-03-01,"INV/1\nsecond; line","1.234,50"', "", '2026-03-02,"=""007""","7"']
    content = "\r\n".join(re.sub(r",(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)", lambda _m: delimiter, row) for row in rows)
    found = entries(load(content.encode()))
    assert found == [(2, "INV/1 second; line", "2026-03-01", "1234.50"), (4, "007", "2026-03-02", "7")]


def test_declared_delimiter():
    assert entries(load(b"sep=|\r\nDate|Invoice|Amount\r\n2026-03-01|a,b,c,d|5")) == [(3, "a,b,c,d", "2026-03-01", "5")]


# --- columns ---


@pytest.mark.parametrize(
    "head, expected",
    [
        (
            ["记账日期", "凭证号", "摘要", "借方", "贷方", "方向", "余额"],
            "date number description debit credit side balance",
        ),
        (["业务日期", "发票号", "金额", "币种"], "date number amount currency"),
        (
            ["Posting date", "Document Number", "Debit (EUR)", "Credit (EUR)", "Running balance"],
            "date number debit credit balance",
        ),
        (["Buchungstext", "Belegdatum", "Belegnummer", "Soll", "Haben"], "- date number debit credit"),
    ],
)
def test_column_names_are_known(head, expected):
    guess = guess_columns(head)
    assert [
        next((name for name, i in guess.items() if i == index), "-") for index in range(len(head))
    ] == expected.split()


def test_known_mapping_is_used_again():
    table = read_file(b"When,What,How much\n2026-03-01,INV/1,5\n")
    known = Mapping(1, {"date": "When", "number": "What", "amount": "How much"}, "dmy", ".")
    mapping, problems = guess_mapping(read_file(b"ACME,,\n\nWhen,What,How much\n2026-03-01,INV/1,5\n"), known)
    assert (mapping.header_row, mapping.columns, mapping.date_order, problems) == (3, known.columns, "dmy", [])
    assert check_mapping(table, known) == []
    changed = read_file(b"When,Which,How much\n2026-03-01,INV/1,5\n")
    mapping, problems = guess_mapping(changed, known)
    assert [str(problem) for problem in problems] == [
        "The column “What” that was used last time is not in this file. Choose the column again."
    ]


def test_wrong_columns_are_told():
    table = read_file(b"Date,Invoice,Amount\n2026-03-01,INV/1,5\n")
    assert [p.code for p in check_mapping(table, Mapping(1, {"number": "Invoice"}))] == ["missing_column"] * 2
    twice = Mapping(1, {"date": "Date", "amount": "Date", "number": "Gone"})
    assert [p.code for p in read_items(table, twice).problems] == ["lost_column", "column_twice"]


def test_columns_without_or_with_equal_names():
    table = read_file(b"Date,,Amount,Amount\n2026-03-01,INV/1,5,6\n")
    assert column_names(table, 1) == ["Date", "B", "Amount", "Amount (D)"]
    assert column_names(table, 0) == ["A", "B", "C", "D"]


def test_file_without_names():
    mapping = Mapping(0, {"date": "A", "amount": "C", "number": "B"})
    ledger = read_items(read_file(b"2026-03-01,INV/1,5\n2026-03-02,INV/2,6\n"), mapping)
    assert [row[0] for row in entries(ledger)] == [1, 2]


# --- rows ---


def test_rows_with_problems_are_named_and_left_out():
    ledger = load(
        b"Date;Invoice;Amount\n2026-03-01;INV/1;5\nsoon;INV/2;6\n2026-02-30;INV/3;a lot\n;INV/4;7\n2026-03-05;INV/5;\n"
    )
    assert [row[0] for row in entries(ledger)] == [2]
    assert [str(problem) for problem in ledger.problems] == [
        "A3: “soon” is not a date. Write it as 2026-03-31.",
        "A4: “2026-02-30” is not a date. Write it as 2026-03-31.",
        "C4: “a lot” is not an amount. Write it as 1234.56.",
        "A5: The date is missing. Enter it.",
        "C6: The amount is missing. Enter it, or delete the row.",
    ]


def test_totals_and_balances_carried_forward_are_left_out():
    rows = [
        "日期,单据号,摘要,借方,贷方,余额",
        ",,期初余额,,,5",
        "2026-03-01,1,费,5,,10",
        "2026-03-31,,本月合计,5,,",
        "Total:,,,5,0,",
    ]
    ledger = load("\n".join(rows).encode())
    assert [row[0] for row in entries(ledger)] == [3]
    assert [number for number, _text in ledger.skipped] == [2, 4, 5]
    assert not ledger.problems


def test_side_and_currency():
    ledger = load(
        "Date,Invoice,Amount,D/C,Currency\n2026-03-01,1,5,D,usd\n2026-03-02,2,5,Cr,人民币\n2026-03-03,3,5,up,X\n".encode()
    )
    assert [(str(i.amount), i.currency) for i in ledger.items] == [("5", "USD"), ("-5", "CNY")]
    assert messages(ledger) == [("D4", "bad_side"), ("E4", "bad_currency")]


def test_order_of_day_and_month_is_asked_when_it_is_not_certain():
    content = b"Date,Invoice,Amount\n03/04/2026,1,5\n"
    assert messages(load(content)) == [("A2", "ambiguous_date")]
    assert [load(content, date_order=order).items[0].date.month for order in ("dmy", "mdy")] == [4, 3]
    assert [i.date.month for i in load(content + b"25/04/2026,2,5\n").items] == [4, 4]
    assert messages(load(content + b"25/04/2026,2,5\n", date_order="mdy")) == [("A3", "date_order")]


# --- values ---


@pytest.mark.parametrize(
    "text",
    ["2026-03-01", "2026/3/1", "2026.03.01", "01.03.2026", "1.3.26", "1 Mar 2026", "1-Mar-26", "March 1, 2026",
     "1st March 2026", "2026年3月1日", "20260301", "2026-03-01 00:00:00", "2026-03-01T12:30:00Z",
     "２０２６－０３－０１", "46082", "46082.5", 46082, 46082.75, 20260301,
     datetime(2026, 3, 1, 12), "\u00a02026-03-01 "],
)  # fmt: skip
def test_dates(text):
    assert parse_date(text) == date(2026, 3, 1)


@pytest.mark.parametrize("value", ["x", "2026-13-01", "32.01.2026", "2026", 5, 500.25, -46082, float("nan"),
                                   float("inf"), True, "1 Foo 2026", "0001-01-01", "=TODAY()",
                                   "10000-01-01", 99999999])  # fmt: skip
def test_what_is_no_date(value):
    with pytest.raises(ValueProblem) as caught:
        parse_date(value)
    assert caught.value.code == "bad_date"


@given(st.dates(date(1980, 1, 1), date(2099, 12, 31)), st.sampled_from(["dmy", "mdy"]))
def test_dates_come_back(day, order):
    text = day.strftime("%d/%m/%Y" if order == "dmy" else "%m/%d/%Y")
    assert parse_date(text, order) == day
    serial = (day - date(1899, 12, 30)).days
    assert parse_date(serial) == parse_date(day.isoformat()) == parse_date(day.strftime("%d.%m.%Y")) == day
    assert parse_date(serial - 1462, base_1904=True) == day or serial - 1462 < 1
    assert guess_date_order([text]) in (order, "")


@pytest.mark.parametrize(
    "text, expected",
    [("1,234.56", "1234.56"), ("1.234,56", "1234.56"), ("1 234,56", "1234.56"), ("1\u202f234,56", "1234.56"),
     ("1'234.56", "1234.56"), ("1’234.56", "1234.56"), ("1,234,567", "1234567"), ("1.234.567", "1234567"),
     ("12,34,567.50", "1234567.50"), ("¥1,234.5", "1234.5"), ("￥ 1234", "1234"), ("1.234,56 €", "1234.56"),
     ("-$5.00", "-5.00"), ("$-5.00", "-5.00"), ("($5.00)", "-5.00"), ("(1,234.56)", "-1234.56"), ("（5）", "-5"),
     ("1,234.56-", "-1234.56"), ("−5", "-5"), ("+5", "5"), ("5 CR", "-5"), ("5.00 Dr", "5.00"), ("贷 5", "-5"),
     ("１２３．４", "123.4"), ("USD 5", "5"), ("5元", "5"), ("RMB5", "5"), (".5", "0.5"), ("5.", "5"),
     ("1.5E+3", "1500"), ("0", "0"), ("-", "0"), ("—", "0"), ("1,234", "1234"), ("0,125", "0.125"),
     (5, "5"), (-0.1, "-0.1"), (0.1 + 0.2, "0.3"), (1234567.89, "1234567.89"),
     (1e14, "100000000000000"), ("1,5", "1.5")],
)  # fmt: skip
def test_amounts(text, expected):
    assert parse_amount(text) == D(expected)
    assert parse_amount(text).as_tuple().exponent >= -10


@pytest.mark.parametrize("value", ["x", "1.2.3", "1,2,3", "1,23.4,5", "5%", "=1+1", "--5", "1e", "5 apples",
                                   "NaN", "inf", True, float("nan"), date(2026, 3, 1),
                                   "1..2", ",", "(5", "1.234,567.8"])  # fmt: skip
def test_what_is_no_amount(value):
    with pytest.raises(ValueProblem):
        parse_amount(value)


def test_huge_amounts():
    for value in (10**15, 1e300, "1e99", float("inf"), "9" * 30):
        with pytest.raises(ValueProblem) as caught:
            parse_amount(value)
        assert caught.value.code == "huge_amount"


def test_nothing_is_nothing():
    assert parse_amount(None) is parse_amount(" ") is parse_date(None) is parse_date("") is None
    assert parse_side(None) == 0 and parse_currency(" ") == ""


@given(
    st.decimals(-(10**12), 10**12, places=2),
    st.sampled_from([(",", "."), (".", ","), (" ", ","), ("'", ".")]),
    st.booleans(),
)
def test_amounts_come_back(amount, marks, brackets):
    plain = f"{abs(amount):,.2f}".replace(",", "\0").replace(".", marks[1]).replace("\0", marks[0])
    text = (f"({plain})" if brackets else f"-{plain}") if amount < 0 else plain
    assert parse_amount(text) == parse_amount(text, marks[1]) == amount
    assert guess_decimal_mark([text]) == marks[1]


@given(st.decimals(-(10**12), 10**12, places=2))
def test_floats_come_back(amount):
    assert parse_amount(float(amount)) == amount


def test_the_declared_mark_decides():
    assert parse_amount("1,234", ",") == D("1.234")
    assert parse_amount("1.234", ",") == 1234
    for text, mark in (("1.5", ","), ("1,234.56", ",")):
        with pytest.raises(ValueProblem):
            parse_amount(text, mark)


def test_clean():
    assert clean("a\u200bb\n c\x07") == "ab c"
    assert clean(date(2026, 3, 1)) == "2026-03-01"
    assert clean(1.5) == "1.5"


def test_problems_are_told_in_one_sentence_or_two():
    assert MESSAGES.keys() >= WARNINGS
    assert str(Problem("no_rows")).startswith("No rows")
    assert all(text.endswith(".") for text in MESSAGES.values())
