"""The examples in the kernels' docstrings run, and the kernels stay pure."""

import ast
import doctest
import importlib
import sys
from pathlib import Path

import billing_tools
import pytest

TOOLS = Path(billing_tools.__file__).parent
OURS = {"ageing", "dates", "money", "pricing", "proration", "recurrence", "revision", "usage"}


def imported_packages(path):
    """Return the top-level names of what a file imports from outside its own package."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]


KERNELS = sorted(
    path.stem
    for path in TOOLS.glob("*.py")
    if path.stem != "__init__" and "odoo" not in imported_packages(path)
)


def test_all_kernels_are_found_without_odoo():
    assert set(KERNELS) >= OURS
    assert "odoo" not in set(imported_packages(TOOLS / "__init__.py"))


@pytest.mark.parametrize("name", KERNELS)
def test_doctests_run_and_pass(name):
    result = doctest.testmod(importlib.import_module(f"billing_tools.{name}"))
    assert result.failed == 0
    assert result.attempted > 0 or name not in OURS, f"{name} shows no example in a docstring"


@pytest.mark.parametrize("name", sorted(OURS))
def test_kernel_imports_only_the_standard_library(name):
    foreign = set(imported_packages(TOOLS / f"{name}.py")) - sys.stdlib_module_names
    assert not foreign


@pytest.mark.parametrize("name", sorted(OURS))
def test_kernel_reads_no_clock_and_does_no_io(name):
    tree = ast.parse((TOOLS / f"{name}.py").read_text(encoding="utf-8"))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not used & {"today", "now", "utcnow", "time", "open", "print", "environ", "random"}
