"""Make the kernels importable as ``billing_tools``, without Odoo and without the add-on."""

import importlib.util
import sys
from pathlib import Path

from hypothesis import settings

TOOLS = Path(__file__).parents[2] / "addons" / "customer_billing" / "tools"

if "billing_tools" not in sys.modules:
    _spec = importlib.util.spec_from_file_location(
        "billing_tools", TOOLS / "__init__.py", submodule_search_locations=[str(TOOLS)]
    )
    _package = importlib.util.module_from_spec(_spec)
    sys.modules["billing_tools"] = _package
    _spec.loader.exec_module(_package)

settings.register_profile("kernel", deadline=None, database=None, print_blob=True)
settings.load_profile("kernel")
