"""Writes every module's .pot and brings its zh_CN.po up to date with it."""

import polib

import server
from env import ADDONS, LANGUAGES, ODOO_LIBRARY, odoo_command, odoo_environment, run, say

# Odoo's own translations of the same words; ours should read like theirs.
SAMPLES = ("base", "web", "mail", "portal", "product", "account")


def regenerate(database, modules):
    conf = server.write_config(f"{database}-i18n", database, cron=0)
    before = {module: _entries(_template(module)) for module in modules}
    old = {module: _template(module).read_bytes() for module in modules if before[module]}
    export = odoo_command("i18n", "export", "-c", conf, "-d", database, *modules, "-l", "pot")
    code = run(export, env=odoo_environment())
    if code:
        return code
    for module in modules:
        if module in old and _entries(_template(module)) == before[module]:
            _template(module).write_bytes(old[module])  # only its date differs
        for language in LANGUAGES:
            _merge(module, language)
    return 0


def _template(module):
    return ADDONS / module / "i18n" / f"{module}.pot"


def _entries(path):
    if not path.exists():
        return None
    return [(entry.msgid, entry.occurrences, entry.comment) for entry in polib.pofile(str(path))]


def _merge(module, language):
    template = polib.pofile(str(_template(module)))
    path = ADDONS / module / "i18n" / f"{language}.po"
    catalogue = polib.pofile(str(path)) if path.exists() else polib.POFile()
    catalogue.metadata = {
        "Project-Id-Version": template.metadata.get("Project-Id-Version", ""),
        "Language": language,
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=UTF-8",
        "Content-Transfer-Encoding": "8bit",
        "Plural-Forms": "nplurals=1; plural=0;",
    }
    catalogue.merge(template)
    order = {entry.msgid: n for n, entry in enumerate(template)}
    known = _samples(language) if catalogue.untranslated_entries() else {}
    taken = 0
    merged = polib.POFile(wrapwidth=78)
    merged.header = f"Translation of {module} to {language}."
    merged.metadata = catalogue.metadata
    for entry in sorted((entry for entry in catalogue if not entry.obsolete), key=lambda e: order[e.msgid]):
        if not entry.msgstr and known.get(entry.msgid):
            entry.msgstr = known[entry.msgid]
            taken += 1
        merged.append(entry)
    merged.save(str(path))
    left = len(merged.untranslated_entries()) + len(merged.fuzzy_entries())
    say(f"{module} {language}: {len(merged)} terms, {taken} new from Odoo's own translation, {left} left to translate")


def _samples(language):
    found = {}
    for module in SAMPLES:
        for root in (ODOO_LIBRARY / "addons", ODOO_LIBRARY / "odoo/addons"):
            path = root / module / "i18n" / f"{language}.po"
            if path.exists():
                for entry in polib.pofile(str(path)).translated_entries():
                    found.setdefault(entry.msgid, entry.msgstr)
    return found
