"""How a document is divided into pages, where the printer neither repeats heads of tables nor keeps rows whole."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

# Widths in em, rather too large: a row must never need more lines than were counted.
NARROW, SLIM, NORMAL, CAPITAL, BROAD = 0.34, 0.5, 0.56, 0.73, 1.0
NARROW_CHARACTERS = frozenset("iljftrI.,:;'!|()[]/\\- ")
SLIM_CHARACTERS = frozenset("cksvxyzJ")
BROAD_CHARACTERS = frozenset("mwMWGOQ@%&…—")


@dataclass(frozen=True)
class Row:
    """A row of a table: its height, and whether it must stand on one page with the next one."""

    height: float
    glued: bool = False


@dataclass(frozen=True)
class Block:
    """A part of a document: ``height`` of what is never divided; with ``rows``, that stands above
    them on each page."""

    height: float
    rows: Sequence[Row] = ()


def paginate(blocks: Sequence[Block], page_height: float) -> list[list[tuple[int, int, int]]]:
    """Divide ``blocks`` among pages: for each page the parts (index of the block, first row, row after the last).

    What is higher than a page has one of its own.

    >>> table = Block(20, [Row(10), Row(10), Row(10, glued=True), Row(10)])
    >>> paginate([Block(30), table, Block(50)], 80)
    [[(0, 0, 0), (1, 0, 2)], [(1, 2, 4)], [(2, 0, 0)]]
    """
    pages: list[list[tuple[int, int, int]]] = [[]]
    left = page_height
    for index, block in enumerate(blocks):
        units = _get_units(block.rows)
        if pages[-1] and block.height + (units[0][2] if units else 0) > left:
            pages.append([])
            left = page_height
        left -= block.height
        start = stop = 0
        for first, after, height in units:
            if height > left and first > start:
                pages[-1].append((index, start, first))
                pages.append([])
                left = page_height - block.height
                start = first
            left -= height
            stop = after
        pages[-1].append((index, start, stop))
    return pages


def _get_units(rows: Sequence[Row]) -> list[tuple[int, int, float]]:
    """Rows that stay together: (first, after the last, height)."""
    units, first, height = [], 0, 0.0
    for index, row in enumerate(rows, start=1):
        height += row.height
        if not row.glued or index == len(rows):
            units.append((first, index, height))
            first, height = index, 0.0
    return units


def text_width(text: str) -> float:
    """The width of ``text`` in em, in a font like Arial; at least what it takes.

    >>> round(text_width("Total 1.5"), 2)
    4.33
    >>> text_width("对账单")
    3.0
    """
    return sum(map(_get_width, text))


def _get_width(character: str) -> float:
    if character in NARROW_CHARACTERS:
        return NARROW
    if character in BROAD_CHARACTERS or unicodedata.east_asian_width(character) in "WF":
        return BROAD
    if character in SLIM_CHARACTERS:
        return SLIM
    if character.isascii() and not character.isupper():
        return NORMAL
    return CAPITAL


def wrap(text: str, width: float) -> list[str]:
    """``text`` in lines of at most ``width`` em, broken at spaces, else anywhere.

    >>> wrap("one two three", 5)
    ['one two', 'three']
    >>> wrap("对账单", 2)
    ['对账', '单']
    """
    lines = []
    for paragraph in text.split("\n"):
        line, room = "", width
        for word in filter(None, paragraph.split(" ")):  # not at spaces that do not break
            needed = text_width(word)
            if line and needed + NARROW <= room:
                line, room = f"{line} {word}", room - needed - NARROW
                continue
            if line:
                lines.append(line)
            line, room = "", width
            for character in word:
                step = _get_width(character)
                if step > room and line:
                    lines.append(line)
                    line, room = "", width
                line, room = line + character, room - step
        lines.append(line)
    return lines


def shorten(text: str, width: float, count: int) -> list[str]:
    """At most ``count`` lines of ``text``; the last one shows that some is left out.

    >>> shorten("one two three four five", 5, 2)
    ['one two', 'three fo…']
    """
    lines = wrap(text, width)
    if len(lines) <= count:
        return lines
    last = lines[count - 1]
    while last and text_width(last) + BROAD > width:
        last = last[:-1]
    return [*lines[: count - 1], f"{last}…"]
