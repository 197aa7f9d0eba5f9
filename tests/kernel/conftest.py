"""Make the kernels importable as ``billing_tools`` and so on, without Odoo and without the add-ons."""

import importlib.util
import sys
from pathlib import Path

from hypothesis import settings

ADDONS = Path(__file__).parents[2] / "addons"
PACKAGES = {"billing_tools": "customer_billing", "statement_tools": "customer_billing_statement",
            "collection_tools": "customer_billing_collection"}

for _name, _module in PACKAGES.items():
    _folder = ADDONS / _module / "tools"
    if _name not in sys.modules and _folder.is_dir():
        _spec = importlib.util.spec_from_file_location(
            _name, _folder / "__init__.py", submodule_search_locations=[str(_folder)]
        )
        _package = importlib.util.module_from_spec(_spec)
        sys.modules[_name] = _package
        _spec.loader.exec_module(_package)

settings.register_profile("kernel", deadline=None, database=None, print_blob=True)
settings.load_profile("kernel")
