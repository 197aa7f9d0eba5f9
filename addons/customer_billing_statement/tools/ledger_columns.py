"""Which column of a customer's ledger is what, and the entries that its rows hold."""

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from itertools import pairwise

from .ledger_file import HEAD_ROWS, Row, Table
from .ledger_problem import Problem, column_letters, shorten
from .ledger_values import (
    ValueProblem,
    clean,
    currency_of,
    guess_date_order,
    guess_decimal_mark,
    parse_amount,
    parse_currency,
    parse_date,
    parse_side,
)
from .matching import TheirItem

# Names of columns, the best first; compared without blanks, case and punctuation.
NAMES = {
    "number": "invoice number|invoice no|invoice|document number|document no|doc no|document|bill number|bill no|"
    "number|belegnummer|rechnungsnummer|发票号码|发票号|发票编号|单据号|单据编号|单号|票据号|账单号|编号|"
    "凭证号|凭证字号|凭证编号|voucher no|voucher",
    "date": "invoice date|document date|date|posting date|booking date|transaction date|value date|datum|belegdatum|"
    "日期|单据日期|开票日期|发票日期|业务日期|记账日期|入账日期|凭证日期|交易日期",
    "debit": "debit|debit amount|dr|soll|借方|借方金额|借方发生额|本期借方|借",
    "credit": "credit|credit amount|cr|haben|贷方|贷方金额|贷方发生额|本期贷方|贷",
    "amount": "amount|total|value|gross amount|invoice amount|net amount|betrag|"
    "金额|发生额|价税合计|本币金额|原币金额|交易金额",
    "side": "dr/cr|d/c|debit/credit|sign|方向|借贷|借贷方向|借/贷",
    "currency": "currency|cur|ccy|währung|币种|币别|货币",
    "reference": "reference|ref|your reference|external reference|po|"
    "参考|参考号|对方单号|关联单号|凭证号|凭证字号|voucher no|voucher",
    "description": "description|text|memo|details|narration|particulars|摘要|说明|备注|内容|用途",
    "balance": "balance|running balance|saldo|余额|结余|期末余额",
}
FIELDS = tuple(NAMES)
_KEYS = {name: [re.sub(r"[\W_]+", "", word) for word in words.split("|")] for name, words in NAMES.items()}
_TOTALS = re.compile(
    r"(?:grand|sub)?\s*-?totals?\b|sum\b|(?:opening|closing|beginning|ending)\s+balance|balance\s+(?:brought|carried)|"
    r"(?:brought|carried)\s+(?:forward|down)|合\s*计|总\s*计|小\s*计|本月合计|本年累计|累计|期初|期末|上年结转|结转下年|承前页|过次页|summe|saldo",
    re.IGNORECASE,
)  # fmt: skip


@dataclass(frozen=True)
class Mapping:
    """How a file is read: by field the name of its column (its letters where it has no name).

    ``header_row`` is the number of the row with the names, 0 for none. ``date_order`` is dmy, mdy or empty,
    ``decimal_mark`` . or , or empty.
    """

    header_row: int = 0
    columns: dict = field(default_factory=dict)
    date_order: str = ""
    decimal_mark: str = ""

    def as_dict(self) -> dict:
        """Plain values, to be stored as JSON and handed back as ``Mapping(**values)``."""
        return asdict(self)


@dataclass(frozen=True)
class Ledger:
    """What the rows of a file say: entries, problems in the order of the file, and rows left out on purpose
    (totals and balances carried forward; number and text)."""

    items: list[TheirItem]
    problems: list[Problem]
    skipped: list[tuple[int, str]]


def _key(value):
    return re.sub(r"[\W_]+", "", clean(value).casefold())


def guess_columns(cells: Iterable[object]) -> dict:
    """Return {field: index} for the names in a row that are known, each column for one field.

    >>> guess_columns(["日期", "凭证号", "发票号码", "摘要", "借方金额", "贷方金额", "余额"]) == {
    ...     "date": 0, "number": 2, "reference": 1, "description": 3, "debit": 4, "credit": 5, "balance": 6}
    True
    >>> guess_columns(["Posting Date", "Doc. No.", "Amount (EUR)"])
    {'number': 1, 'date': 0, 'amount': 2}
    """
    keys = [_key(cell) if isinstance(cell, str) else "" for cell in cells]
    guess, used = {}, set()
    for matches in (lambda key, word: key == word, lambda key, word: len(word) > 2 and key.startswith(word)):
        for name, words in _KEYS.items():
            found = (i for word in words for i, key in enumerate(keys) if key and i not in used and matches(key, word))
            if name not in guess and (index := next(found, None)) is not None:
                guess[name] = index
                used.add(index)
    if "debit" in guess and "credit" in guess:
        guess.pop("amount", None)
    return guess


def score_head(rows: Iterable[tuple]) -> int:
    """Return how many fields the best of these rows names; see `ledger_file.read_file`.

    >>> score_head([("Ledger of ACME",), ("Date", "Invoice", "Amount")])
    3
    """
    return max((len(guess_columns(cells)) for cells in rows), default=0)


def find_header(table: Table) -> Row | None:
    """Return the row with the column names: the one of the first rows that names most fields, at least two.

    Where none does, it is the first row with as many texts as the row below has values, if that one has an amount
    or a date and the texts are neither; else None. Rows above are titles.

    >>> find_header(Table("csv", [Row(1, ("ACME",)), Row(3, ("Wann", "Was")), Row(4, ("2026-03-01", "5"))])).number
    3
    """
    best, best_score = None, 1
    for row in table.rows[:HEAD_ROWS]:
        if (score := len(guess_columns(row.cells))) > best_score:
            best, best_score = row, score
    if best:
        return best
    pairs = pairwise(table.rows[:HEAD_ROWS])
    return next((row for row, below in pairs if _count_values(below) and _are_names(row, below)), None)


def _are_names(row, below):
    texts = [cell for cell in row.cells if cell not in (None, "")]
    return (
        1 < len(below.cells) <= len(texts) and not _count_values(row) and all(isinstance(cell, str) for cell in texts)
    )


def _count_values(row):
    """How many cells are amounts or dates."""
    return sum(_is_value(parse_amount, cell) or _is_value(parse_date, cell) for cell in row.cells)


def _is_value(parser, cell):
    try:
        return parser(cell) is not None
    except ValueProblem as problem:
        return problem.code == "ambiguous_date"


def column_names(table: Table, header_row: int) -> list[str]:
    """Return a name for each column, all different: the one in the header row, else the letters."""
    header = next((row for row in table.rows if row.number == header_row), Row(0, ()))
    names, seen = [], set()
    for index in range(table.width):
        letters = column_letters(index)
        name = clean(header.cells[index])[:60] if index < len(header.cells) else ""
        if not name or name in seen:
            name = f"{name} ({letters})" if name else letters
        seen.add(name)
        names.append(name)
    return names


def guess_mapping(table: Table, known: Mapping | None = None) -> tuple[Mapping, list[Problem]]:
    """Return how to read ``table``: as ``known`` says where its columns are there, otherwise by the names.

    :param known: the mapping that was used last for this customer
    :return: the mapping, and a problem lost_column for each column of ``known`` that is not there
    """
    header = find_header(table)
    names = column_names(table, header.number if header else 0)
    if known and known.columns:  # a header in words of the customer's own, chosen by a person last time
        wanted = set(known.columns.values())
        head = [(row, column_names(table, row.number)) for row in table.rows[:HEAD_ROWS]]
        row, found = max(head, key=lambda item: len(wanted.intersection(item[1])), default=(None, []))
        if len(wanted.intersection(found)) > len(wanted.intersection(names)):
            header, names = row, found
    guess = {name: names[index] for name, index in guess_columns(header.cells).items()} if header else {}
    columns, problems = guess, []
    if known and known.columns:
        kept = {name: column for name, column in known.columns.items() if column in names}
        lost = [column for column in known.columns.values() if column not in names]
        problems = [Problem("lost_column", 0, "", {"name": column}) for column in lost]
        used = set(kept.values())
        columns = kept if not lost else {**{n: c for n, c in guess.items() if c not in used}, **kept}
    mapping = Mapping(header.number if header else 0, columns)
    order, mark = guess_conventions(table, mapping)
    if known:
        order, mark = order or known.date_order, mark or known.decimal_mark
    return Mapping(mapping.header_row, columns, order, mark), problems


def guess_conventions(table: Table, mapping: Mapping) -> tuple[str, str]:
    """Return the order of day and month and the decimal mark that the columns prove; empty where they do not."""
    indexes = _indexes(table, mapping)
    dates = _values(table, mapping, [indexes[name] for name in ("date",) if name in indexes])
    amounts = _values(table, mapping, [indexes[name] for name in ("debit", "credit", "amount") if name in indexes])
    return guess_date_order(dates), guess_decimal_mark(amounts)


def _indexes(table, mapping):
    positions = {name: index for index, name in enumerate(column_names(table, mapping.header_row))}
    return {name: positions[column] for name, column in mapping.columns.items() if column in positions}


def _values(table, mapping, indexes):
    return [
        row.cells[index]
        for row in table.rows
        if row.number > mapping.header_row
        for index in indexes
        if index < len(row.cells)
    ]


def check_mapping(table: Table, mapping: Mapping) -> list[Problem]:
    """Return what is wrong with the choice of columns: a date and an amount (or debit or credit) are needed."""
    indexes = _indexes(table, mapping)
    problems = [
        Problem("lost_column", 0, "", {"name": column})
        for name, column in mapping.columns.items()
        if name not in indexes
    ]
    chosen = list(mapping.columns.values())
    problems += [
        Problem("column_twice", 0, "", {"name": column}) for column in dict.fromkeys(chosen) if chosen.count(column) > 1
    ]
    if "date" not in indexes:
        problems.append(Problem("missing_column", 0, "", {"field": "date"}))
    if not {"amount", "debit", "credit"} & indexes.keys():
        problems.append(Problem("missing_column", 0, "", {"field": "amount"}))
    return problems


def read_items(table: Table, mapping: Mapping) -> Ledger:
    """Return the entries below the header. A row with a problem (not a warning) is no entry.

    An amount is debit minus credit, or the column of amounts, with its sign turned for a credit side.
    """
    problems = check_mapping(table, mapping)
    if problems:
        return Ledger([], problems, [])
    indexes = _indexes(table, mapping)
    used = {column_letters(index) for name, index in indexes.items() if name != "balance"}
    by_row = {}
    for problem in table.problems:
        if problem.row > mapping.header_row and (not problem.column or problem.column in used):
            by_row.setdefault(problem.row, []).append(problem)
    items, skipped = [], []
    for row in table.rows:
        if row.number <= mapping.header_row:
            continue
        found = by_row.pop(row.number, [])
        item = _read_row(_Reader(table, row, mapping, indexes, found), skipped)
        problems += found
        if item and all(problem.is_warning for problem in found):
            items.append(item)
    problems += [problem for rest in by_row.values() for problem in rest]
    return Ledger(items, sorted(problems, key=lambda p: (p.row, p.column)), skipped)


@dataclass
class _Reader:
    """The cells of one row by field; what cannot be read goes to ``problems``."""

    table: Table
    row: Row
    mapping: Mapping
    indexes: dict
    problems: list

    def cell(self, name):
        index = self.indexes.get(name)
        return self.row.cells[index] if index is not None and index < len(self.row.cells) else None

    def text(self, name):
        return clean(self.cell(name))

    def parse(self, name, parser, *args):
        try:
            return parser(self.cell(name), *args)
        except ValueProblem as problem:
            self.complain(problem.code, name, value=shorten(clean(self.cell(name))))
            return None

    def complain(self, code, name, **args):
        letters = column_letters(self.indexes[name]) if name in self.indexes else ""
        if not any(known.column == letters for known in self.problems):  # a formula without result is also empty
            self.problems.append(Problem(code, self.row.number, letters, args))


def _read_row(reader, skipped):
    if label := _total_label(reader):
        skipped.append((reader.row.number, label))
        reader.problems.clear()
        return None
    if all(reader.cell(name) in (None, "") for name in reader.indexes) and not reader.problems:
        skipped.append((reader.row.number, shorten(next(filter(None, map(clean, reader.row.cells)), ""))))
        return None
    day = reader.parse("date", parse_date, reader.mapping.date_order, reader.table.base_1904)
    if day is None:
        reader.complain("no_date", "date")
    amount = _read_amount(reader)
    currency = reader.parse("currency", parse_currency) or _beside(reader)
    if day is None or amount is None:
        return None
    refs = tuple(text for name in ("reference", "description") if (text := reader.text(name)))
    return TheirItem(reader.row.number, reader.text("number"), refs, day, amount, currency)


def _total_label(reader):
    """The words of a row of totals or of a balance carried forward; such a row has no document number."""
    number = reader.text("number")
    if number and not _TOTALS.match(number):
        return ""
    texts = [number, reader.text("description"), reader.text("reference"), reader.text("date")]
    if not reader.text("date"):
        texts += [clean(cell) for cell in reader.row.cells if isinstance(cell, str)]
    return next((shorten(text) for text in texts if _TOTALS.match(text)), "")


def _read_amount(reader) -> Decimal | None:
    mark = reader.mapping.decimal_mark
    names = [name for name in ("debit", "credit") if name in reader.indexes]
    if not names:
        amount = reader.parse("amount", parse_amount, mark)
        if amount is None:
            reader.complain("no_amount", "amount")
        side = reader.parse("side", parse_side) if "side" in reader.indexes else 0
        return abs(amount) * side if amount and side else amount
    values = [reader.parse(name, parse_amount, mark) for name in names]
    if all(value is None for value in values):
        if "amount" in reader.indexes and (amount := reader.parse("amount", parse_amount, mark)) is not None:
            return amount
        if not any(problem.column in {column_letters(reader.indexes[n]) for n in names} for problem in reader.problems):
            reader.complain("no_amount", names[0])
        return None
    signs = {"debit": 1, "credit": -1}
    return sum((signs[n] * v for n, v in zip(names, values, strict=True) if v is not None), Decimal(0))


def _beside(reader):
    codes = {currency_of(reader.cell(name)) for name in ("debit", "credit", "amount") if name in reader.indexes}
    codes.discard("")
    return codes.pop() if len(codes) == 1 else ""
