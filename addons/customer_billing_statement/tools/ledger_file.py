"""A customer's file to rows of cells. Only values are read: no formula, macro, link or markup is ever evaluated.

XLSX by openpyxl, the old XLS by xlrd, everything else as text with separators. Files are hostile until read: sizes
are checked before anything is unpacked, and whatever a reader trips over becomes one message.
"""

import codecs
import csv
import io
import logging
import re
import warnings
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from xml.parsers import expat

import openpyxl

from .ledger_problem import LedgerError, Problem, column_letters, shorten

_logger = logging.getLogger(__name__)

MEGABYTE = 1024 * 1024
MAX_BYTES = 10 * MEGABYTE
MAX_UNPACKED = 100 * MEGABYTE
MAX_ROWS = 50_000
MAX_COLUMNS = 100
MAX_SHEET_ROWS = 1_048_576
MAX_HELD = 300_000  # elements of a workbook in one row, or outside of rows and texts
HEAD_ROWS = 30
SCANNED_ROWS = 1000  # in which the head begins
DELIMITERS = ",;\t|"

_KINDS = (
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"BM", "a picture"),
    (b"II*\x00", "a picture"),
    (b"MM\x00*", "a picture"),
    (b"{\\rtf", "a text document"),
    (b"Rar!", "an archive"),
    (b"7z\xbc\xaf", "an archive"),
    (b"\x1f\x8b", "an archive"),
    (b"MZ", "a program"),
    (b"\x7fELF", "a program"),
    (b"SQLite format", "a database"),
)
_MARKUP = re.compile(rb"\s*<(?:!doctype|\?xml|html|head|body|table|meta|style|script|!--|div)", re.IGNORECASE)
_COMPOUND = b"\xd0\xcf\x11\xe0"
_HEADER_WORDS = re.compile("日期|金额|凭证|借方|贷方|摘要|余额|单据|发票|币种|编号")


@dataclass(frozen=True)
class Row:
    """A row of the file: ``number`` as a spreadsheet program shows it, ``cells`` as they were stored."""

    number: int
    cells: tuple


@dataclass(frozen=True)
class Table:
    """The rows of a file that are not empty, and how the file was read.

    ``kind`` is xlsx, xls or csv; ``base_1904`` tells that numbers for dates count from 1904. ``problems`` are those
    of single cells, whatever their column is used for.
    """

    kind: str
    rows: list[Row]
    sheet: str = ""
    encoding: str = ""
    delimiter: str = ""
    base_1904: bool = False
    problems: list[Problem] = field(default_factory=list)

    @property
    def width(self) -> int:
        """Columns up to the last one with a value."""
        return max((len(row.cells) for row in self.rows), default=0)


def read_file(content: bytes, score_head=None) -> Table:
    """Read a ledger of a customer, whatever its name says.

    :param content: the bytes of the file
    :param score_head: rates the first rows (tuples of cells) of a sheet or of a way to split text; the best is
        taken. By default all are equal and the first sheet with values is taken.
    :raises LedgerError: the file as a whole cannot be used; its problem says why and what to do

    >>> table = read_file("日期;金额\\n2026-03-01;1,5\\n".encode("gbk"))
    >>> table.encoding, table.delimiter, [(row.number, row.cells) for row in table.rows]
    ('gb18030', ';', [(1, ('日期', '金额')), (2, ('2026-03-01', '1,5'))])
    >>> read_file(b"%PDF-1.7")  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    ...
    LedgerError: This is a PDF document, not a table. Export the ledger as XLSX or CSV and upload that.
    """
    score_head = score_head or (lambda rows: 0)
    if not content.strip(b"\0 \t\r\n"):
        raise LedgerError("empty")
    if len(content) > MAX_BYTES:
        size = f"{len(content) / MEGABYTE:.1f}"
        raise LedgerError("too_big", size=size, limit=MAX_BYTES // MEGABYTE)
    if content[:2] == b"PK":
        table = _read_xlsx(content, score_head)
    elif content[:4] == _COMPOUND:
        table = _read_xls(content, score_head)
    else:
        _refuse_other_kinds(content)
        table = _read_text(content, score_head)
    if not table.rows:
        raise LedgerError("no_rows")
    return table


def _refuse_other_kinds(content):
    kind = next((kind for start, kind in _KINDS if content.startswith(start) and _is_binary(content, start)), None)
    if not kind and _MARKUP.match(content.removeprefix(codecs.BOM_UTF8)[:200]):
        kind = "a web page or XML"
    if kind:
        raise LedgerError("not_a_table", kind=kind)


def _is_binary(content, start):
    """A start of two letters may also be a word of a text."""
    return len(start) > 2 or b"\0" in content[:512]


class _Collector:
    """Takes rows as they are read, leaves out the empty ones, and stops at the limits."""

    def __init__(self):
        self.rows = []
        self.empty = None

    def add(self, number, cells):
        if cells is self.empty:  # openpyxl fills gaps with one and the same row
            return
        last = len(cells)
        while last and (cells[last - 1] is None or cells[last - 1] == ""):
            last -= 1
        if not last:
            self.empty = cells
            return
        if last > MAX_COLUMNS:
            raise LedgerError("too_many_columns", number, column_letters(MAX_COLUMNS), limit=MAX_COLUMNS)
        if len(self.rows) >= MAX_ROWS:
            raise LedgerError("too_many_rows", number, limit=MAX_ROWS)
        self.rows.append(Row(number, tuple(cells[:last])))


# --- workbooks ---


def _read_xlsx(content, score_head):
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            has_formulas = _check_archive(archive)
        with warnings.catch_warnings():  # styles and extensions that openpyxl does not know are of no interest
            warnings.simplefilter("ignore")
            return _read_workbook(content, has_formulas, score_head)
    except LedgerError:
        raise
    except Exception as error:  # hostile or damaged: openpyxl raises nearly anything
        _logger.info("A customer's workbook cannot be read: %s", shorten(repr(error), 200))
        raise LedgerError("damaged") from error


def _check_archive(archive):
    """Refuse what is no plain workbook, before anything is unpacked; tell whether a sheet has formulas."""
    infos = archive.infolist()
    names = {info.filename.lower() for info in infos}
    if sum(info.file_size for info in infos) > MAX_UNPACKED or len(infos) > 10_000:
        raise LedgerError("too_big_unpacked", limit=MAX_UNPACKED // MEGABYTE)
    if any(info.flag_bits & 1 for info in infos):
        raise LedgerError("password")
    if any(name.endswith("vbaproject.bin") or "/macrosheets/" in name for name in names):
        raise LedgerError("macros")
    if "xl/workbook.xml" not in names:
        kind = "a text document" if "word/document.xml" in names else "a presentation"
        if not any(name.startswith(("word/", "ppt/")) for name in names):
            kind = "an OpenDocument or binary workbook" if {"mimetype", "xl/workbook.bin"} & names else "an archive"
        raise LedgerError("not_a_table", kind=kind)
    parts = [info for info in infos if info.filename.lower().endswith((".xml", ".rels"))]
    has_formulas = [_scan_part(archive, info) for info in parts]  # all of them, before any is unpacked
    return any(has_formulas)


def _scan_part(archive, info):
    """Refuse what would take far more memory as a tree than as text; tell whether there are formulas.

    openpyxl holds a whole row, and all that is not in rows. A few kilobytes may unpack to millions of cells in one.
    """
    held, units, has_formulas = 0, 0, False

    def start(tag, _attributes):
        nonlocal held, units, has_formulas
        name = tag.rpartition(":")[2]
        has_formulas = has_formulas or name == "f"
        is_unit = name in ("row", "si")
        units, held = units + is_unit, 0 if is_unit else held + 1
        if held > MAX_HELD or units > MAX_SHEET_ROWS:
            raise LedgerError("too_big_unpacked", limit=MAX_UNPACKED // MEGABYTE)

    def refuse(*_declaration):
        raise LedgerError("damaged")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = refuse
    with archive.open(info) as part:
        parser.ParseFile(part)
    return has_formulas


def _read_workbook(content, has_formulas, score_head):
    book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
    try:
        base_1904 = book.epoch.year == 1904
        sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
        sheet = _best(sheets, _sheet_rows, score_head)
        if sheet is None:
            raise LedgerError("no_rows")
        collector = _Collector()
        for number, cells in enumerate(_sheet_rows(sheet), 1):
            collector.add(number, cells)
        name = sheet.title
    finally:
        book.close()
    problems = _empty_formulas(content, name, collector.rows) if has_formulas else []
    return Table("xlsx", collector.rows, sheet=name, base_1904=base_1904, problems=problems)


def _sheet_rows(sheet, values_only=True):
    # the size that a sheet claims may be wrong, and rows and columns may be far out: never rely on them
    return sheet.iter_rows(
        min_row=1, max_row=MAX_SHEET_ROWS, min_col=1, max_col=MAX_COLUMNS + 1, values_only=values_only
    )


def _head(rows):
    """The first rows with values."""
    filled = (tuple(cells) for cells in islice(rows, SCANNED_ROWS) if any(cell not in (None, "") for cell in cells))
    return list(islice(filled, HEAD_ROWS))


def _best(sheets, get_rows, score_head):
    """The sheet with values whose head scores best, the first of equals; None when all are empty."""
    best, best_score = None, None
    for sheet in sheets:
        if head := _head(get_rows(sheet)):
            score = score_head(head)
            if best is None or score > best_score:
                best, best_score = sheet, score
    return best


def _empty_formulas(content, name, rows):
    """Formulas without a stored result: they read as empty, which would be wrong silently."""
    known = {row.number: row.cells for row in rows}
    problems = []
    book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=False, keep_links=False)
    try:
        for number, cells in enumerate(_sheet_rows(book[name], values_only=False), 1):
            values = known.get(number, ())
            problems += [
                Problem("formula", number, column_letters(index))
                for index, cell in enumerate(cells)
                if cell.data_type == "f" and (index >= len(values) or values[index] is None)
            ]
    finally:
        book.close()
    return problems


def _read_xls(content, score_head):
    """The workbooks before 2007; xlrd reads values only."""
    if "EncryptedPackage".encode("utf-16-le") in content:
        raise LedgerError("password")
    if any(name.encode("utf-16-le") in content for name in ("_VBA_PROJECT", "VBA")):
        raise LedgerError("macros")
    try:
        import xlrd
    except ImportError:
        raise LedgerError("not_a_table", kind="a workbook of the old XLS format") from None
    try:
        book = xlrd.open_workbook(file_contents=content, logfile=io.StringIO(), on_demand=True)
        sheets = [book.sheet_by_index(i) for i in range(book.nsheets)]
        visible = [sheet for sheet in sheets if sheet.visibility == 0]
        sheet = _best(visible, lambda s: (_xls_cells(s, i, book.datemode) for i in range(s.nrows)), score_head)
        if sheet is None:
            raise LedgerError("no_rows")
        collector = _Collector()
        for number in range(sheet.nrows):
            collector.add(number + 1, _xls_cells(sheet, number, book.datemode))
        return Table("xls", collector.rows, sheet=sheet.name, base_1904=bool(book.datemode))
    except LedgerError:
        raise
    except xlrd.XLRDError as error:
        raise LedgerError("password" if "encrypt" in str(error).lower() else "damaged") from error
    except Exception as error:  # hostile or damaged: xlrd raises nearly anything
        _logger.info("A customer's workbook cannot be read: %s", shorten(repr(error), 200))
        raise LedgerError("damaged") from error


def _xls_cells(sheet, number, datemode):
    import xlrd

    cells = []
    for cell in sheet.row(number)[: MAX_COLUMNS + 1]:
        value = cell.value
        if cell.ctype == xlrd.XL_CELL_DATE:
            try:
                value = xlrd.xldate_as_datetime(value, datemode)
            except (ValueError, OverflowError, xlrd.XLDateError):
                value = str(value)
        elif cell.ctype == xlrd.XL_CELL_ERROR:
            value = xlrd.error_text_from_code.get(value, "#ERROR")
        elif cell.ctype == xlrd.XL_CELL_BOOLEAN:
            value = bool(value)
        cells.append(value if cell.ctype not in (xlrd.XL_CELL_EMPTY, xlrd.XL_CELL_BLANK) else None)
    return cells


# --- text ---


def _read_text(content, score_head):
    text, encoding, odd_lines = decode(content)
    text, delimiter = _take_delimiter(text)
    delimiter = delimiter or _sniff(text, score_head)
    collector = _Collector()
    for number, cells in _records(text, delimiter):
        collector.add(number, cells)
    if not any(len(row.cells) > 1 for row in collector.rows):
        raise LedgerError("one_column" if collector.rows else "no_rows")
    problems = [Problem("mixed_encoding", line, "", {"encoding": encoding}) for line in odd_lines]
    return Table("csv", collector.rows, encoding=encoding, delimiter=delimiter, problems=problems)


def decode(content: bytes) -> tuple[str, str, list[int]]:
    """Return the text of a file, its encoding, and the lines that were in another one.

    UTF-8, UTF-16 with or without mark, GB18030 (with it GBK and GB2312), and Latin (Windows-1252) as the last
    resort. Where most lines are UTF-8 and some are not, each line is read as what it is.

    :raises LedgerError: not_a_table for what is no text

    >>> decode("größe".encode())[1], decode("größe;£".encode("cp1252"))[:2], decode("金额".encode("gbk"))[:2]
    ('utf-8', ('größe;£', 'cp1252'), ('金额', 'gb18030'))
    >>> decode("a;é".encode("utf-16"))[:2]
    ('a;é', 'utf-16')
    """
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if content.startswith(mark):
            return _checked(_strict(content, encoding, or_else="encoding")), encoding, []
    if b"\0" in content:
        encoding = _wide_encoding(content)
        return _checked(_strict(content, encoding, or_else="encoding")), encoding, []
    text = _strict(content, "utf-8")
    if text is not None:
        return _checked(text), "utf-8", []
    lines = content.split(b"\n")
    wide = [_strict(line, "utf-8") for line in lines]
    if any(line is not None and re.search("[\u3000-\u9fff\uff00-\uffef]", line) for line in wide):
        odd = [number for number, line in enumerate(wide, 1) if line is None]
        mixed = [line if line is not None else _single(raw)[0] for line, raw in zip(wide, lines, strict=True)]
        return _checked("\n".join(mixed)), "utf-8", odd
    text, encoding = _single(content)
    return _checked(text), encoding, []


def _single(content):
    """Bytes that are not UTF-8 as Chinese if they look like it, otherwise as Latin."""
    text = _strict(content, "gb18030")
    if text is not None and (_HEADER_WORDS.search(text) or _is_chinese(text)):
        return text, "gb18030"
    text = _strict(content, "cp1252")
    return (text, "cp1252") if text is not None else (content.decode("latin-1"), "latin-1")


def _is_chinese(text):
    """Latin letters with accents read as GBK give rare characters; Chinese gives those of GB2312."""
    wide = [char for char in text if ord(char) > 127]
    common = sum(1 for char in wide if len(char.encode("gb2312", "ignore")) == 2)
    return bool(wide) and common >= 0.8 * len(wide)


def _strict(content, encoding, or_else=None):
    try:
        return content.decode(encoding)
    except UnicodeError:
        if or_else:
            raise LedgerError(or_else) from None
        return None


def _wide_encoding(content):
    """UTF-16 without a mark has its zero bytes all on one side."""
    sample = content[:4000]
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if len(content) % 2 == 0 and max(even, odd) > 0.2 * len(sample) and min(even, odd) < 0.02 * len(sample):
        return "utf-16-le" if odd > even else "utf-16-be"
    raise LedgerError("not_a_table", kind="a file of another kind")


def _checked(text):
    """The text, unless it is full of control characters: then it is none."""
    controls = len(re.findall(r"[\x00-\x08\x0e-\x1f]", text))
    if "\0" in text or controls > 0.01 * len(text) + 2:
        raise LedgerError("not_a_table", kind="a file of another kind")
    return text.removeprefix("\ufeff")


def _take_delimiter(text):
    """The text without Excel's first line ``sep=;``, replaced by an empty one, and the delimiter it names."""
    if match := re.match(r'"?sep=([,;|\t])"?\r?\n', text):
        return "\n" + text[match.end() :], match[1]
    return text, ""


def _sniff(text, score_head):
    """The delimiter whose head is known best, then the one that splits rows most evenly."""
    best, best_score = ",", None
    for delimiter in DELIMITERS:
        try:
            head = _head(cells[: MAX_COLUMNS + 1] for _number, cells in _records(text, delimiter))
        except LedgerError:  # quotes that do not fit this delimiter: told when it is the one taken
            lines = text.split("\n", HEAD_ROWS)[:HEAD_ROWS]
            head = [tuple(line.split(delimiter, MAX_COLUMNS)) for line in lines if line.strip()]
        widths = Counter(map(len, head))
        width, count = max(widths.items(), key=lambda item: (item[1] * (item[0] > 1), item[0]), default=(0, 0))
        score = (score_head(head), count * (width > 1), width)
        if best_score is None or score > best_score:
            best, best_score = delimiter, score
    return best


def _records(text, delimiter):
    """Numbered records; a record with line breaks inside quotes is one row, as in a spreadsheet program."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number = 0
    while True:
        number += 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise LedgerError("long_text" if "limit" in str(error) else "quotes", number) from None
        yield number, cells
