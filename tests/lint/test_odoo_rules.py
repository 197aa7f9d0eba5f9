"""Odoo's own rules for modules (its module test_lint), for our modules only.

They run in the module stage, because they ask the loaded registry. Their classes log what they find as
warnings in places; here a warning is a failure.
"""

import logging
from pathlib import Path
from unittest.mock import patch

from odoo.modules import Manifest
from odoo.tests import tagged
from odoo.tools import config

from odoo.addons.test_lint.tests import (
    test_dunderinit,
    test_i18n,
    test_index,
    test_jstranslate,
    test_manifests,
    test_naming,
    test_onchange_domains,
    test_orm_import,
    test_override_signatures,
    test_pofile,
    test_pylint,
    test_routes,
    test_test_holes,
)

ADDONS = Path(__file__).resolve().parents[2] / "addons"


def our_manifests():
    names = [path.parent.name for path in sorted(ADDONS.glob("*/__manifest__.py"))]
    return [manifest for name in names if (manifest := Manifest.for_addon(name))]


class OnlyOurs:
    """Narrows a rule that looks at all modules to ours, and turns its warnings into failures."""

    def setUp(self):
        super().setUp()
        ours = our_manifests()
        self.assertTrue(ours)
        self._replace(Manifest, "all_addon_manifests", staticmethod(lambda: ours))
        self._replace(test_pofile, "get_modules", lambda: [manifest.name for manifest in ours])
        self.warnings = []
        handler = logging.Handler(logging.WARNING)
        handler.emit = lambda record: self.warnings.append(record.getMessage())
        logger = logging.getLogger("odoo.addons.test_lint")
        logger.addHandler(handler)
        self.addCleanup(logger.removeHandler, handler)

    def _replace(self, target, name, value):
        patcher = patch.object(target, name, value)
        patcher.start()
        self.addCleanup(patcher.stop)

    def tearDown(self):
        super().tearDown()
        self.assertFalse(self.warnings)


class TestPackages(OnlyOurs, test_dunderinit.TestDunderinit):
    pass


class TestManifests(OnlyOurs, test_manifests.ManifestLinter):
    pass


class TestTranslatableProps(OnlyOurs, test_i18n.TestI18n):
    pass


class TestJavaScriptTranslations(OnlyOurs, test_jstranslate.TestJsTranslations):
    pass


class TestOnchanges(OnlyOurs, test_onchange_domains.TestOnchangeDomains):
    pass


class TestImports(OnlyOurs, test_orm_import.TestDunderinit):
    pass


class TestTemplates(OnlyOurs, test_pofile.PotLinter):
    pass


class TestTestsAreRun(OnlyOurs, test_test_holes.TestTestHoles):
    pass


# These look at the whole registry, Odoo's own models included.
@tagged("post_install", "-at_install")
class TestIndexes(test_index.TestIndex):
    pass


@tagged("post_install", "-at_install")
class TestNames(test_naming.TestNaming):
    pass


@tagged("post_install", "-at_install")
class TestSignatures(test_override_signatures.TestLintOverrideSignatures):
    pass


@tagged("post_install", "-at_install")
class TestRoutes(OnlyOurs, test_routes.RoutesLinter):
    pass


class TestPython(OnlyOurs, test_pylint.TestPyLint):
    """Odoo's pylint plug-ins: SQL injection, translation calls, unlink overrides."""

    def setUp(self):
        super().setUp()
        # the rule would also read all of Odoo; it starts from here
        self._replace(config, "root_path", our_manifests()[0].path)
