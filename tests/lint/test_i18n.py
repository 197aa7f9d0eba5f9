"""The Chinese interface is complete, and the templates are those of the present code."""

import io
import re
from pathlib import Path

import polib
import pytest

import odoo
from odoo.modules.registry import Registry
from odoo.tests.common import get_db_name
from odoo.tools.translate import trans_export

ADDONS = Path(__file__).resolve().parents[2] / "addons"
MODULES = sorted(path.parent.name for path in ADDONS.glob("*/__manifest__.py"))
HOLE = re.compile(r"%\([^)]*\)[sdrif]|%[sdrif]|\{\{.*?\}\}|<[a-z/][^>]*>")


def catalogue(module, name):
    path = ADDONS / module / "i18n" / name
    assert path.exists(), f"{path} is missing: make i18n"
    return polib.pofile(str(path))


@pytest.fixture(scope="module")
def env():
    with Registry(get_db_name()).cursor(readonly=True) as cr:
        yield odoo.api.Environment(cr, odoo.SUPERUSER_ID, {})


@pytest.mark.parametrize("module", MODULES)
def test_template_is_up_to_date(env, module):
    fresh = io.BytesIO()
    trans_export(None, [module], fresh, "po", env)
    expected = {entry.msgid for entry in polib.pofile(fresh.getvalue().decode())}
    committed = {entry.msgid for entry in catalogue(module, f"{module}.pot")}
    assert expected, "nothing to translate was found"
    assert (sorted(expected - committed), sorted(committed - expected)) == ([], []), "make i18n"


@pytest.mark.parametrize("module", MODULES)
def test_chinese_is_complete(module):
    terms = catalogue(module, "zh_CN.po")
    template = {entry.msgid for entry in catalogue(module, f"{module}.pot")}
    missing = [entry.msgid for entry in terms.untranslated_entries()]
    missing += sorted(template - {entry.msgid for entry in terms if not entry.obsolete})
    assert missing == []
    assert [entry.msgid for entry in terms.fuzzy_entries()] == []
    assert [entry.msgid for entry in terms.obsolete_entries()] == []


@pytest.mark.parametrize("module", MODULES)
def test_chinese_keeps_the_placeholders(module):
    wrong = [
        entry.msgid
        for entry in catalogue(module, "zh_CN.po").translated_entries()
        if sorted(HOLE.findall(entry.msgid)) != sorted(HOLE.findall(entry.msgstr))
    ]
    assert wrong == []
