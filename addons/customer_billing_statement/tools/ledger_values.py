"""Dates and amounts as people and spreadsheet programs write them. Nothing is guessed silently: what can be
read in two ways is refused until the file's convention is declared."""

import re
import unicodedata
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

DAY_FIRST, MONTH_FIRST = "dmy", "mdy"
# Serial numbers of Excel taken as dates: 1980-01-01 to 2099-12-31 (base 1900). Other numbers are amounts or
# document numbers in the wrong column.
FIRST_SERIAL, LAST_SERIAL = 29221, 73050
DAYS_1904 = 1462
LIMIT = Decimal(10) ** 15
_NAMES_OF_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
MONTHS = {name: number for number, name in enumerate(_NAMES_OF_MONTHS, 1)}

_TIME = r"(?:[ T]\s*\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?\s*(?:[AaPp]\.?[Mm]\.?)?(?:Z|[+-]\d{2}:?\d{2})?)?"
_YEAR_FIRST = re.compile(r"(\d{4})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})\s*日?" + _TIME)
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})")
_NUMERIC = re.compile(r"(\d{1,2})\s*([-/.])\s*(\d{1,2})\s*\2\s*(\d{4}|\d{2})" + _TIME)
_DAY_MONTH = re.compile(r"(\d{1,2})(?:st|nd|rd|th)?[\s./-]*([A-Za-z]{3,9})\.?[\s,./-]*(\d{4}|\d{2})" + _TIME)
_MONTH_DAY = re.compile(r"([A-Za-z]{3,9})\.?[\s./-]*(\d{1,2})(?:st|nd|rd|th)?[\s,./-]+(\d{4})" + _TIME)
_SERIAL = re.compile(r"(\d{5})(?:\.\d+)?")


class ValueProblem(ValueError):
    """A cell that cannot be read: ``code`` is one of `ledger_problem.MESSAGES`."""

    def __init__(self, code: str):
        self.code = code
        super().__init__(code)


def clean(value: object) -> str:
    """Return a cell as text: full-width forms made plain, blanks made one, nothing evaluated.

    A number keeps the digits that a person sees, so that document numbers stay themselves. Excel's ``="0012"``,
    which keeps leading zeros in CSV files, is unwrapped; any other text that looks like a formula is just text.

    >>> clean(None), clean("  ＩＮＶ\\u00a00012 "), clean(20260001.0), clean('="0012"'), clean("=1+1")
    ('', 'INV 0012', '20260001', '0012', '=1+1')
    """
    if value is None:
        return ""
    if isinstance(value, datetime | date):
        return value.date().isoformat() if isinstance(value, datetime) else value.isoformat()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    text = unicodedata.normalize("NFKC", str(value))
    text = "".join(char if char.isprintable() else " " for char in text if unicodedata.category(char) != "Cf")
    text = " ".join(text.split())
    if text.startswith('="') and text.endswith('"') and '"' not in text[2:-1] and len(text) > 2:
        text = text[2:-1]
    return text


def parse_date(value: object, order: str = "", base_1904: bool = False) -> date | None:
    """Return the day in a cell, None for an empty one.

    :param value: a date, a number (Excel's serial, or 20260301) or a text
    :param order: ``dmy`` or ``mdy`` for texts such as 03/04/2026; empty: only where one reading is possible.
        A text with points is always day first.
    :param base_1904: the workbook counts days from 1904
    :raises ValueProblem: bad_date, ambiguous_date, date_order

    >>> [parse_date(v).isoformat() for v in (46082, "2026年3月1日", "3 Mar 2026", "20260301", "31/3/26", "46082")]
    ['2026-03-01', '2026-03-01', '2026-03-03', '2026-03-01', '2026-03-31', '2026-03-01']
    >>> parse_date("03/04/2026", "dmy").isoformat(), parse_date("03/04/2026", "mdy").isoformat()
    ('2026-04-03', '2026-03-04')
    """
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    if isinstance(value, bool):
        raise ValueProblem("bad_date")
    if isinstance(value, int | float | Decimal):
        return _from_number(value, base_1904)
    text = clean(value)
    if not text:
        return None
    if match := _YEAR_FIRST.fullmatch(text) or _COMPACT.fullmatch(text):
        return _day(*match.groups())
    if match := _NUMERIC.fullmatch(text):
        return _from_numeric(match, order)
    if match := _DAY_MONTH.fullmatch(text):
        day, month, year = match.groups()
        return _day(year, _month(month), day)
    if match := _MONTH_DAY.fullmatch(text):
        month, day, year = match.groups()
        return _day(year, _month(month), day)
    if match := _SERIAL.fullmatch(text):
        return _from_number(int(match[1]), base_1904)
    raise ValueProblem("bad_date")


def _from_number(value, base_1904):
    if value != value or abs(value) > 99_999_999:
        raise ValueProblem("bad_date")
    number = int(value)
    if match := value == number and _COMPACT.fullmatch(str(number)):
        return _day(*match.groups())
    if base_1904:
        number += DAYS_1904
    if not FIRST_SERIAL <= number <= LAST_SERIAL:
        raise ValueProblem("bad_date")
    return date(1899, 12, 30) + timedelta(days=number)


def _from_numeric(match, order):
    first, mark, second, year = match.groups()
    day_first, month_first = _try_day(year, second, first), _try_day(year, first, second)
    if mark == ".":
        day = day_first
    elif order:
        day = day_first if order == DAY_FIRST else month_first
        if not day and (day_first or month_first):
            raise ValueProblem("date_order")
    elif day_first and month_first and day_first != month_first:
        raise ValueProblem("ambiguous_date")
    else:
        day = day_first or month_first
    if not day:
        raise ValueProblem("bad_date")
    return day


def _month(name):
    if not (month := MONTHS.get(name[:3].lower())):
        raise ValueProblem("bad_date")
    return month


def _day(year, month, day):
    if result := _try_day(year, month, day):
        return result
    raise ValueProblem("bad_date")


def _try_day(year, month, day):
    """The day, None when the calendar has none or it is not of our time."""
    number = int(year) + (2000 if len(str(year)) == 2 else 0)
    try:
        return date(number, int(month), int(day)) if 1900 <= number < 2200 else None
    except ValueError:
        return None


def guess_date_order(values: Iterable[object]) -> str:
    """Return ``dmy`` or ``mdy`` if the texts of a column allow only that, otherwise an empty text.

    >>> guess_date_order(["03/04/2026", "13/04/2026"]), guess_date_order(["3/4/2026", "3/31/2026"])
    ('dmy', 'mdy')
    >>> guess_date_order(["03/04/2026"]), guess_date_order(["13/04/2026", "04/13/2026"])
    ('', '')
    """
    found = set()
    for value in values:
        if isinstance(value, str) and (match := _NUMERIC.fullmatch(clean(value))) and match[2] != ".":
            if int(match[1]) > 12:
                found.add(DAY_FIRST)
            elif int(match[3]) > 12:
                found.add(MONTH_FIRST)
    return found.pop() if len(found) == 1 else ""


# --- amounts ---

_DEBIT = ["d", "dr", "db", "debit", "s", "soll", "借", "借方"]
_CREDIT = ["c", "cr", "credit", "h", "haben", "贷", "贷方"]
_SIDES = {**dict.fromkeys(_DEBIT, 1), **dict.fromkeys(_CREDIT, -1)}
_FLAT = {"平", "-", ""}
_SIDE = re.compile(r"(?:^|(?<=[\d.\s)]))(dr|cr|db|借方?|贷方?)\.?(?=$|[\s\d(])", re.IGNORECASE)
_SIGN = re.compile(r"(?:[A-Z]{1,3})?[¥€$£₩₹฿₫₽]|元$|(?<![A-Za-z])[A-Z]{3}(?![A-Za-z])")
_CODE = re.compile(r"(?<![A-Za-z])([A-Z]{3})(?![A-Za-z])")
_CURRENCY_SIGNS = {"€": "EUR", "£": "GBP", "₹": "INR", "₩": "KRW"}
_MINUS = str.maketrans({"−": "-", "–": "-", "—": "-", "﹣": "-"})
_DASH = re.compile(r"-+")
_DIGITS = re.compile(r"\d[\d.,]*|[.,]\d+")
_SCIENTIFIC = re.compile(r"\d+(?:[.,]\d+)?[eE][+-]?\d{1,2}")
_GROUPED = {mark: re.compile(rf"\d{{1,3}}(?:{re.escape(mark)}\d{{2,3}})*{re.escape(mark)}\d{{3}}") for mark in ".,"}


def parse_side(value: object) -> int:
    """Return 1 for debit, -1 for credit, 0 for an empty cell.

    :raises ValueProblem: bad_side

    >>> parse_side("借"), parse_side("Cr."), parse_side("平"), parse_side("H")
    (1, -1, 0, -1)
    """
    text = clean(value).casefold().rstrip(".")
    if text in _FLAT:
        return 0
    if text not in _SIDES:
        raise ValueProblem("bad_side")
    return _SIDES[text]


def parse_amount(value: object, decimal_mark: str = "") -> Decimal | None:
    """Return the amount in a cell, exactly; None for an empty one.

    Negative are -1, 1-, (1), and amounts marked Cr or 贷. Currency signs and codes are left out. Floats become the
    15 digits that a spreadsheet shows, never their binary expansion.

    :param decimal_mark: ``.`` or ``,`` where the file has only that; empty: as the amount itself says, and a
        single mark before three digits separates thousands
    :raises ValueProblem: bad_amount, huge_amount

    >>> [str(parse_amount(v)) for v in ("1,234.56", "1.234,56", "1 234,5", "1'234.56", "(1,234.56)", "12,34,567.89")]
    ['1234.56', '1234.56', '1234.5', '1234.56', '-1234.56', '1234567.89']
    >>> [str(parse_amount(v)) for v in (0.1 + 0.2, "￥１，２３４．５０", "5.00-", "100 CR", "EUR 1.234", "-")]
    ['0.3', '1234.50', '-5.00', '-100', '1234', '0']
    >>> str(parse_amount("1.234", "."))
    '1.234'
    """
    if value is None:
        return None
    if isinstance(value, bool | date):
        raise ValueProblem("bad_amount")
    if isinstance(value, int | float | Decimal):
        return _limited(_from_float(value) if isinstance(value, float) else Decimal(value))
    text = clean(value).translate(_MINUS)
    if not text:
        return None
    if _DASH.fullmatch(text):  # how accountants write nothing
        return Decimal(0)
    text, sign = _take_sign(text)
    if _SCIENTIFIC.fullmatch(text):
        number = Decimal(text.replace(",", "."))
    elif _DIGITS.fullmatch(text):
        number = Decimal(_plain(text, decimal_mark))
    else:
        raise ValueProblem("bad_amount")
    return _limited(sign * number if number else number)


def _from_float(value):
    if value != value:
        raise ValueProblem("bad_amount")
    try:
        number = Decimal(f"{value:.15g}")
        result = number.quantize(Decimal("1e-10"), ROUND_HALF_EVEN).normalize()
    except InvalidOperation:
        raise ValueProblem("huge_amount") from None
    return result if result.as_tuple().exponent <= 0 else result.quantize(Decimal(1))


def _limited(number):
    if not number.is_finite():
        raise ValueProblem("bad_amount")
    if abs(number) >= LIMIT:
        raise ValueProblem("huge_amount")
    if number.as_tuple().exponent < -10:
        number = number.quantize(Decimal("1e-10"), ROUND_HALF_EVEN)
    return number


def _take_sign(text):
    """The digits alone, and 1 or -1."""
    sign = 1
    if match := _SIDE.search(text):
        sign = _SIDES[match[1].lower()]
        text = (text[: match.start()] + text[match.end() :]).strip()
    text = _SIGN.sub("", text).strip()
    if text.startswith("(") and text.endswith(")"):
        sign, text = -sign, text[1:-1].strip()
        text = _SIGN.sub("", text).strip()
    for mark, factor in (("-", -1), ("+", 1)):
        if text.startswith(mark):
            sign, text = factor * sign, text[1:].strip()
            break
        if text.endswith(mark):
            sign, text = factor * sign, text[:-1].strip()
            break
    text = _SIGN.sub("", text).strip()
    if re.fullmatch(r"\d{1,3}(?:[ '’`]\d{3})+(?:[.,]\d*)?", text):
        text = re.sub(r"[ '’`]", "", text)
    return text, sign


def _plain(text, decimal_mark):
    """Digits with at most one decimal point, from digits with points and commas."""
    last = max(text.rfind("."), text.rfind(","))
    if last < 0:
        return text
    mark = text[last]
    other = "," if mark == "." else "."
    if other in text or not (decimal_mark or text.count(mark) > 1 or _looks_grouped(text, mark)):
        decimal = mark
    else:
        decimal = decimal_mark or other
    if decimal_mark and decimal != decimal_mark:
        raise ValueProblem("bad_amount")
    whole, _, fraction = text.partition(decimal)
    group = "," if decimal == "." else "."
    if not whole and not fraction or not (fraction.isdigit() or not fraction):
        raise ValueProblem("bad_amount")
    if group in whole:
        if not _GROUPED[group].fullmatch(whole):
            raise ValueProblem("bad_amount")
        whole = whole.replace(group, "")
    return f"{whole or 0}.{fraction or 0}" if fraction else whole


def _looks_grouped(text, mark):
    whole, _, rest = text.partition(mark)
    return len(rest) == 3 and 1 <= len(whole) <= 3 and whole[0] != "0"


def guess_decimal_mark(values: Iterable[object]) -> str:
    """Return the decimal mark that the texts of a column prove, otherwise an empty text.

    >>> guess_decimal_mark(["1.234", "12,50"]), guess_decimal_mark(["1,234"]), guess_decimal_mark(["1.5", "1,5"])
    (',', '', '')
    """
    found = set()
    for value in values:
        if not isinstance(value, str):
            continue
        text, _sign = _take_sign(clean(value).translate(_MINUS))
        if not _DIGITS.fullmatch(text):
            continue
        last = max(text.rfind("."), text.rfind(","))
        if last < 0:
            continue
        mark = text[last]
        other = "," if mark == "." else "."
        if text.count(mark) > 1:
            found.add(other)
        elif other in text or not _looks_grouped(text, mark):
            found.add(mark)
    return found.pop() if len(found) == 1 else ""


def parse_currency(value: object) -> str:
    """Return the code of three letters in a cell of currencies, empty for an empty cell.

    :raises ValueProblem: bad_currency

    >>> parse_currency("eur"), parse_currency("人民币"), parse_currency("€"), parse_currency(None)
    ('EUR', 'CNY', 'EUR', '')
    """
    text = clean(value).upper()
    if not text:
        return ""
    if text in _NAMES:
        return _NAMES[text]
    if len(text) == 3 and text.isascii() and text.isalpha():
        return text
    raise ValueProblem("bad_currency")


_NAMES = {"RMB": "CNY", "人民币": "CNY", "人民币元": "CNY", "美元": "USD", "欧元": "EUR", "港币": "HKD", "港元": "HKD",
          "日元": "JPY", "英镑": "GBP", **_CURRENCY_SIGNS, "US$": "USD", "EURO": "EUR"}  # fmt: skip


def currency_of(value: object) -> str:
    """Return the code of the currency that is written beside an amount, empty when there is none that is certain.

    >>> currency_of("USD 12.00"), currency_of("12,00 €"), currency_of("$5"), currency_of(7)
    ('USD', 'EUR', '', '')
    """
    if not isinstance(value, str):
        return ""
    text = clean(value)
    if match := _CODE.search(text):
        return _NAMES.get(match[1], match[1])
    return next((code for sign, code in _CURRENCY_SIGNS.items() if sign in text), "")
