"""Sections of docs/benchmarks.md that stand after those of bench.py."""

import os
from pathlib import Path

TARGET = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
HEAD = ("| | wall, or figure | processor | goal | |", "|---|---|---|---|---|")


def goal(title, figure, processor, limit, reached):
    """A row of a table under ``HEAD``; ``reached`` is None where nothing is asked."""
    verdict = {True: "reached", False: "**not reached**", None: ""}[reached]
    return f"| {title} | {figure} | {processor} | {limit} | {verdict} |"


def append(title, *lines):
    """Print a section; with WRITE=1 it is appended to the page."""
    text = "\n".join(["", f"## {title}", "", *lines]) + "\n"
    print(text, flush=True)
    if os.environ.get("WRITE"):
        with TARGET.open("a", encoding="utf-8") as target:
            target.write(text)
