"""Documents lose nothing between their pages, and no page holds more than it can."""

import importlib.util
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

TOOLS = Path(__file__).parents[2] / "addons" / "customer_billing_statement" / "tools"


def load(name):
    spec = importlib.util.spec_from_file_location(f"statement_{name}", TOOLS / f"{name}.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pages, file_names = load("pages"), load("file_names")
HEIGHT = 100
ROWS = st.lists(st.builds(pages.Row, st.integers(1, 20), st.booleans()), max_size=40)
BLOCKS = st.lists(st.builds(pages.Block, st.integers(1, 60), ROWS), min_size=1, max_size=8)


@given(BLOCKS)
def test_every_row_is_on_one_page_in_its_order(blocks):
    parts = [part for page in pages.paginate(blocks, HEIGHT) for part in page]
    for index, block in enumerate(blocks):
        found = [row for number, start, stop in parts if number == index for row in range(start, stop)]
        assert found == list(range(len(block.rows)))
        assert index in [number for number, _start, _stop in parts]
    assert [part[0] for part in parts] == sorted(part[0] for part in parts)


@given(BLOCKS)
def test_a_page_is_too_high_only_when_what_stays_together_is(blocks):
    for page in pages.paginate(blocks, HEIGHT):
        height = sum(
            blocks[index].height + sum(row.height for row in blocks[index].rows[start:stop])
            for index, start, stop in page
        )
        if height > HEIGHT:
            # one part, which cannot be divided: a block, or rows that are glued
            [(index, start, stop)] = page
            assert all(row.glued for row in blocks[index].rows[start : stop - 1])


@given(BLOCKS)
def test_glued_rows_are_followed_by_the_next_one(blocks):
    for page in pages.paginate(blocks, HEIGHT):
        for index, start, stop in page:
            rows = blocks[index].rows
            assert stop == len(rows) or not stop > start or not rows[stop - 1].glued


@given(st.text(max_size=200), st.integers(2, 30))
def test_lines_are_not_too_wide_and_lose_only_spaces(text, width):
    lines = pages.wrap(text, width)
    assert all(pages.text_width(line) <= width + 1e-9 for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


@given(st.text(max_size=200), st.integers(2, 30), st.integers(1, 4))
def test_shortened_text_fits(text, width, count):
    lines = pages.shorten(text, width, count)
    assert len(lines) <= count
    assert all(pages.text_width(line) <= width + 1e-9 for line in lines)


@given(st.text(max_size=200))
def test_file_names_are_no_paths(text):
    name = file_names.safe_file_name(text)
    assert name and name.isascii() and len(name) <= file_names.MAX_LENGTH
    assert not set(name) & set('/\\:*?"<>| \n\0')
    assert ".." not in name and name.strip(".-_") == name
