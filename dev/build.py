"""Databases, made step by step; each step is a template that is kept as long as nothing it is made of changes.

    base   Odoo's modules that ours build on, zh_CN loaded (minutes; changes with Odoo)
    built  base + our modules + the demo story (changes with our code)
    test   base with Odoo's demo data + our modules (changes with our code, not with its tests)
"""

import json
import shutil
import sys

import postgres
from env import (
    CACHE,
    CHECKOUT,
    LANGUAGES,
    PREFIX,
    STORY,
    STORY_FILES,
    code_key,
    die,
    folder,
    lock,
    modules,
    odoo_command,
    odoo_environment,
    odoo_key,
    run,
    say,
    setting,
)
from server import MailCatcher, report_complaints, write_config

CORE_MODULES = ("account", "account_payment", "contacts", "mail", "portal", "product")
DEMO_MODULES = ("payment_demo",)  # a payment provider that answers as the saved method says, and takes no money
STORY_PARAMETER = "customer_billing.demo_story"


def name(part):
    return f"{PREFIX}_{part}"


def odoo_run(database, log_name, *args, must_be_clean=False):
    """Runs Odoo until it is done with ARGS; ends the program with the log's last lines on failure."""
    log = folder("log") / f"{log_name}.log"
    log.unlink(missing_ok=True)
    conf = write_config(log_name, database, log=log)
    code = run(
        odoo_command("server", "-c", conf, "-d", database, "--no-http", "--stop-after-init", *args),
        log=f"{log}.out",
        env=odoo_environment(),
    )
    clean = report_complaints(log)
    if code or (must_be_clean and not clean):
        die(f"Odoo ended with code {code}; see {log}")
    return clean


def base(with_demo=False):
    """The database that others start from. Shared by all checkouts that use the same Odoo and cache."""
    database = f"billing_base_{odoo_key()}" + ("_demo" if with_demo else "")
    with lock(database):
        if postgres.get_mark(database) != "complete":
            say(f"installing Odoo's own modules {'with demo data ' if with_demo else ''}(once, about a minute)")
            postgres.drop(database)
            odoo_run(
                database,
                database,
                *("-i", ",".join(CORE_MODULES), f"--load-language=en_US,{','.join(LANGUAGES)}"),
                *(["--with-demo"] if with_demo else []),
            )
            postgres.set_mark(database, "complete")
    return database


def _fresh(database, source, key, steps):
    """DATABASE as a copy of SOURCE with STEPS done, unless it is marked as being just that."""
    with lock(database):
        if postgres.get_mark(database) == key:
            return False
        working = f"{database}_new"
        postgres.copy(source, working)
        steps(working)
        postgres.rename(working, database)
        postgres.set_mark(database, key)
        return True


def built():
    """The demo company, as it is when nobody has touched it yet."""
    database = name("built")

    def steps(working):
        say(f"installing {', '.join(modules()) or 'nothing: there is no module yet'}")
        if modules():
            odoo_run(working, f"{database}-install", "-i", ",".join((*modules(), *DEMO_MODULES)))
        tell_story(working)

    _fresh(database, base(), code_key(*STORY_FILES), steps)
    return database


def tell_story(database):
    if not STORY.exists():
        say("dev/demo_story.py does not exist yet: the demo company stays empty")
        return True
    say("billing the demo company")
    postgres.set_base_url(database, f"http://127.0.0.1:{setting('HTTP_PORT', '8069')}")
    catcher = MailCatcher(name("built"))
    shutil.rmtree(catcher.folder, ignore_errors=True)
    catcher.start()
    log = folder("log") / f"{name('built')}-story.log"
    log.unlink(missing_ok=True)
    conf = write_config(f"{name('built')}-story", database, mail_port=catcher.port, log=log)
    try:
        code = call(conf, database, "demo_story", "build", log=f"{log}.out")
    finally:
        catcher.stop()
    clean = report_complaints(log)
    if code:
        with open(f"{log}.out") as out:
            die("".join(out.readlines()[-25:]) + f"\nThe demo story failed; see {log} and {log}.out")
    return clean


def call(conf, database, module, function, **kwargs):
    script = CHECKOUT / "dev" / "in_odoo.py"
    return run([sys.executable, script, conf, database, module, function], env=odoo_environment(), **kwargs)


def story(database):
    """What the story told about itself: logins, first clicks."""
    rows = postgres.query(database, "SELECT value FROM ir_config_parameter WHERE key = %s", STORY_PARAMETER)
    return json.loads(rows[0][0]) if rows else {}


def test():
    """The database of the modules' own tests."""
    database = name("test")

    def steps(working):
        say("installing our modules into the test database")
        odoo_run(working, database, "-i", ",".join(modules()), "--with-demo", must_be_clean=True)

    _fresh(database, base(with_demo=True), code_key(), steps)
    return database


def update(database):
    """Brings a database with data worth keeping to the present code: updates our modules, installs new ones."""
    installed = {
        module
        for (module,) in postgres.query(database, "SELECT name FROM ir_module_module WHERE state = 'installed'")
    }
    old = [module for module in modules() if module in installed]
    new = [module for module in modules() if module not in installed]
    say(f"updating {', '.join(old) or 'nothing'}" + (f", installing {', '.join(new)}" if new else ""))
    args = (["-u", ",".join(old)] if old else []) + (["-i", ",".join(new)] if new else [])
    odoo_run(database, f"{database}-update", *args)
    if postgres.query(database, "SELECT 1 FROM ir_module_module WHERE state LIKE 'to %'"):
        die(f"The update did not finish; see {CACHE}/log/{database}-update.log")


def copy_mails(target):
    """The mails that the story sent, for whoever looks at a copy of it."""
    shutil.rmtree(target, ignore_errors=True)
    source = MailCatcher(name("built")).folder
    if source.exists():
        shutil.copytree(source, target)
