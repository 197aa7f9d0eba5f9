"""How long 10,000 rows of a customer's ledger take, from the file to the groups.

Run: python bench/matching.py [ROWS]. With WRITE=1 a section of docs/benchmarks.md is appended.
"""

import importlib
import io
import random
import sys
import time
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import page

sys.path.insert(0, str(Path(__file__).parents[1] / "addons/customer_billing_statement"))
ledger_file, ledger_columns, matching = (
    importlib.import_module(f"tools.{name}") for name in ("ledger_file", "ledger_columns", "matching")
)
FIRST = date(2026, 1, 1)


def entries(rows, kind):
    """Ours, and the rows of their ledger. ``hard``: no numbers, few amounts, nothing fits well."""
    chance = random.Random(rows)
    ours, theirs = [], []
    for i in range(rows):
        day = FIRST + timedelta(days=chance.randrange(365))
        amount = Decimal(chance.choice([100, 250, 999]) if kind == "hard" else chance.randrange(100, 10**6)) / 100
        ours.append(matching.OurItem(i, "" if kind == "hard" else f"INV/2026/{i:05}", (), day, amount))
        late = day + timedelta(days=chance.randrange(9))
        what = chance.random()
        if kind == "sums":
            amount = Decimal(chance.randrange(100, 10**6)) / 100
            theirs.append((late, "", amount))
        elif what < 0.9:
            number = chance.choice([f"INV/2026/{i:05}", f"{i:05}", ""]) if kind != "hard" else ""
            theirs.append((late, number, amount + (what < 0.05)))
        elif what < 0.95:
            theirs += [(late, f"INV-2026-{i}", amount - 1), (late, f"INV-2026-{i}", Decimal(1))]
    return ours, theirs


def workbook(rows):
    import xlsxwriter

    target = io.BytesIO()
    book = xlsxwriter.Workbook(target, {"in_memory": True, "default_date_format": "yyyy-mm-dd"})
    sheet = book.add_worksheet()
    sheet.write_row(0, 0, ["Date", "Invoice", "Text", "Debit", "Credit", "Balance"])
    for number, (day, text, amount) in enumerate(rows, 1):
        sheet.write_datetime(number, 0, day)
        sheet.write_row(number, 1, [text, "Consulting", "", float(amount), 0])
    book.close()
    return target.getvalue()


KINDS = {
    "usual": "most with a number, a few wrong or in parts",
    "hard": "no numbers, three amounts",
    "sums": "no numbers, no amount fits",
}


def describe(rows):
    yield "| rows | read s | columns and rows s | match s | matched | not matched | problems |"
    yield "|---|---|---|---|---|---|---|"
    for kind, title in KINDS.items():
        ours, theirs = entries(rows, kind)
        content = workbook(theirs)
        steps = [time.process_time()]
        table = ledger_file.read_file(content, ledger_columns.score_head)
        steps.append(time.process_time())
        mapping, _problems = ledger_columns.guess_mapping(table)
        ledger = ledger_columns.read_items(table, mapping)
        steps.append(time.process_time())
        result = matching.match(ours, ledger.items, currency="EUR")
        steps.append(time.process_time())
        seconds = " | ".join(f"{b - a:.1f}" for a, b in zip(steps, steps[1:], strict=False))
        left = sum(group.status.startswith("only") for group in result.groups)
        stopped = "" if result.complete else ", search for sums stopped"
        yield (
            f"| {kind}: {title}{stopped} | {seconds} | {len(result.groups) - left:,} | {left:,} "
            f"| {len(ledger.problems):,} |"
        )


def main(rows):
    page.append(
        "Comparing a customer's ledger",
        f"A workbook of about {rows:,} rows against as many of our entries; processor time, no goal is set.",
        "",
        *describe(rows),
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
