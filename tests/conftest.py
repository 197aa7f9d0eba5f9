"""Lets tests of kernels import `customer_billing.tools…` without Odoo.

Importing a module's package would import its models, and with them Odoo. A package that only has a path
stands in for it; its sub-packages are the real ones.
"""

import sys
import types
from pathlib import Path

ADDONS = Path(__file__).resolve().parent.parent / "addons"

if "odoo" not in sys.modules:
    for manifest in ADDONS.glob("*/__manifest__.py"):
        package = types.ModuleType(manifest.parent.name)
        package.__path__ = [str(manifest.parent)]
        sys.modules.setdefault(manifest.parent.name, package)
