"""The stages of `make test`, each also a command of its own. A stage returns 0 when it passed."""

import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import build
import postgres
import server
from env import ADDONS, CHECKOUT, folder, lock, modules, odoo_command, odoo_environment, run, say

# What a machine with many cores still does at once: each process needs a database and about 1 GB of memory.
MODULE_PROCESSES = 4
PYTEST = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]

# All of pylint-odoo's checks and a few of pylint's, but not these: README fragments are in readme/; a label may
# repeat the field's name; methods that return nothing extend others that return nothing.
PYLINT_CHECKS = (
    "--disable=all",
    "--enable=odoolint,anomalous-backslash-in-string,assignment-from-none,dangerous-default-value,duplicate-key,"
    "function-redefined,reimported,return-in-init,too-few-format-args,unreachable,eval-used",
    "--disable=missing-readme,attribute-string-redundant,missing-return",
)


def _pytest(*args, env=None, log=None):
    """pytest; that it found no test at all (code 5) is a failure unless the caller says otherwise."""
    return run([*PYTEST, *args], cwd=CHECKOUT, env=env or odoo_environment(), log=log)


def lint(_options):
    code = run([sys.executable, "-m", "ruff", "check", "--quiet", "."], cwd=CHECKOUT)
    say("ruff: " + ("failed" if code else "clean"))
    targets = [str(ADDONS / module) for module in modules()]
    if targets:
        pylint = [sys.executable, "-m", "pylint", "--rcfile=.pylintrc", *PYLINT_CHECKS, *targets]
        odoolint = run(pylint, cwd=CHECKOUT, env=odoo_environment())
        say("pylint-odoo: " + ("failed" if odoolint else "clean"))
        code = code or odoolint
    return code


def kernel(options):
    doctests = [str(path) for path in sorted(ADDONS.glob("*/tools"))]
    targets = options.rest if _names_a_path(options.rest) else ["tests/kernel", *doctests, *options.rest]
    env = odoo_environment()
    del env["PYTHONPATH"]  # kernels know nothing of Odoo
    return _pytest("-p", "no:odoo", "--doctest-modules", *targets, env=env)


def module(options):
    """pytest-odoo on a database of its own; a whole run starts with Odoo's own rules (test_lint) for our files.

    A whole run is shared out by files among as many processes as there are cores, each with its own database.
    """
    postgres.start()
    database = build.test()
    with lock(f"{database}-run"):
        if options.rest:
            targets = [] if _names_a_path(options.rest) else _module_test_files()
            return _module_share(database, [*targets, *options.rest])
        count = min(os.cpu_count() or 1, MODULE_PROCESSES)
        databases = [database, *(f"{database}_{number}" for number in range(2, count + 1))]
        for other in databases[1:]:
            postgres.copy(database, other)
        files = sorted(_module_test_files(), key=os.path.getsize, reverse=True)
        shares = [sorted(files[number::count]) for number in range(count)]
        shares[-1].append("tests/lint")
        logs = [None, *(folder("log") / f"{other}-run.log" for other in databases[1:])]
        with ThreadPoolExecutor(count) as pool:
            codes = list(pool.map(_module_share, databases, shares, logs))
        for log in logs[1:]:
            print(f"\n{log.read_text(encoding='utf-8', errors='replace')}", flush=True)
        return max(codes, key=abs)


def _module_test_files():
    return [str(path) for path in sorted(ADDONS.glob("*/tests/test_*.py"))]


def _module_share(database, targets, log=None):
    if log:
        log.unlink(missing_ok=True)
    conf = server.write_config(database, database, cron=0)
    odoo = ("-p", "odoo", f"--odoo-config={conf}", f"--odoo-database={database}", "--odoo-http")
    return _pytest(*odoo, *targets, log=log)


def _names_a_path(args):
    return any(os.path.exists(CHECKOUT / arg.split("::")[0]) for arg in args if not arg.startswith("-"))


def install(_options):
    """Install, update twice, uninstall, install again, in a scratch database; the log stays clean."""
    postgres.start()
    database = build.name("install")
    ours = ",".join(modules())
    if not ours:
        return 0
    with lock(database):
        postgres.copy(build.base(), database)
        ok = True
        for step, args in (
            ("install", ["-i", ours]),
            ("update", ["-u", ours]),
            ("update again", ["-u", ours]),
        ):
            say(step)
            ok = build.odoo_run(database, f"{database}-{step.replace(' ', '-')}", *args) and ok
        say("uninstall")
        before = _leftovers(database)
        log = folder("log") / f"{database}-uninstall.log"
        log.unlink(missing_ok=True)
        conf = server.write_config(database, database, log=log)
        uninstall = odoo_command("module", "uninstall", "-c", conf, "-d", database, *reversed(modules()))
        code = run(uninstall, env=odoo_environment())
        ok = server.report_complaints(log) and not code and ok
        left = _leftovers(database)
        if not before or left:
            print(f"Before the uninstallation: {len(before)} tables and models of ours. After it: {left}")
            ok = False
        postgres.drop(database)
    # one plain closing line, as the other stages have
    print(f"{4 if ok else 0} passed, {0 if ok else 1} failed", flush=True)
    return 0 if ok else 1


def _leftovers(database):
    return [
        name
        for (name,) in postgres.query(
            database,
            """SELECT model FROM ir_model WHERE model LIKE 'billing.%'
               UNION ALL SELECT tablename FROM pg_tables WHERE tablename LIKE 'billing\\_%'
               UNION ALL SELECT module || '.' || name FROM ir_model_data WHERE module LIKE 'customer\\_billing%'
               UNION ALL SELECT table_name || '.' || column_name FROM information_schema.columns
                   WHERE column_name LIKE 'billing\\_%'""",
        )
    ]


def _with_server(name, tests, options, workers):
    """A copy of the demo company, a server and a mail catcher, and pytest TESTS against them."""
    postgres.start()
    database = build.name(name)
    with lock(database):
        postgres.copy(build.built(), database)
        mail = server.MailCatcher(database)
        shutil.rmtree(mail.folder, ignore_errors=True)
        odoo = server.Odoo(database, database, mail_port=mail.port, workers=workers)
        say(f"starting a server with {workers or 'no'} workers")
        try:
            mail.start()
            odoo.start()
            env = odoo_environment(
                BILLING_URL=odoo.url,
                BILLING_DB=database,
                BILLING_MAILS=mail.folder,
                BILLING_RESULTS=folder("log", name),
                BILLING_CONF=folder("conf") / f"{database}.conf",
            )
            targets = [] if _names_a_path(options.rest) else [tests]
            code = _pytest("-p", "no:odoo", *targets, *options.rest, env=env)
        finally:
            odoo.stop()
            mail.stop()
        clean = server.report_complaints(odoo.log)
        return code or (0 if clean else 1)


def blackbox(options):
    return _with_server("blackbox", "tests/blackbox", options, workers=2)


def browser(options):
    # threads: there the web socket works without a reverse proxy
    return _with_server("browser", "tests/browser", options, workers=0)


def deploy(options):
    return _pytest("-p", "no:odoo", "tests/deploy", *options.rest)


# What the benchmarks compare with: the OCA's modules, each with the packages that it needs.
OCA_PACKAGES = {
    "account_credit_control": ["odoo-addon-account-credit-control==19.0.1.0.0.13"],
    "contract": ["odoo-addon-contract==19.0.1.2.1.2"],
    "partner_statement": [
        "odoo-addon-partner-statement==19.0.1.1.0.16",
        "odoo-addon-report-xlsx==19.0.1.0.2.2",
        "odoo-addon-report-xlsx-helper==19.0.1.0.0.2",
    ],
}


def bench(options):
    """Figures side by side; ARGS="BILLS ROUNDS CONTRACTS", LARGE=1 for 10,000, WRITE=1 writes docs/benchmarks.md."""
    postgres.start()
    database = build.name("bench")
    with lock(database):
        postgres.copy(build.base(), database)
        build.odoo_run(database, database, "-i", ",".join(modules()))
        conf = server.write_config(database, database, cron=0)
        for program, *args in (
            ("bench.py", conf, _bench_oca("contract"), *options.rest),
            ("statement.py", conf, _bench_oca("partner_statement")),
            ("matching.py",),
            ("receivable.py", conf),
            ("collection.py", conf, _bench_oca("account_credit_control")),
        ):
            if code := run([sys.executable, CHECKOUT / "bench" / program, *args], env=odoo_environment()):
                return code
    return 0


def _bench_oca(module):
    """The configuration of a database with a module of the OCA; "-" when it cannot be fetched or installed."""
    target, database = folder("oca", module), build.name(f"bench_oca_{module}")
    fetch = ["pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", target, *OCA_PACKAGES[module]]
    if run([sys.executable, "-m", *fetch]):
        say(f"{module} cannot be fetched: measured without it")
        return "-"
    postgres.copy(build.base(), database)
    conf = server.write_config(database, database, cron=0)
    text = conf.read_text().replace(f",{ADDONS}", f",{target}/odoo/addons")
    conf.write_text(text)
    install = odoo_command("server", "-c", conf, "-d", database, "--no-http", "--stop-after-init", "-i", module)
    if run(install, log=folder("log") / f"{database}.log", env=odoo_environment()):
        say(f"{module} cannot be installed: measured without it")
        return "-"
    return conf


def i18n(options):
    import i18n as translations

    postgres.start()
    return translations.regenerate(build.test(), options.rest or modules())


STAGES = {
    "lint": lint,
    "test-kernel": kernel,
    "test-module": module,
    "test-install": install,
    "test-blackbox": blackbox,
    "test-browser": browser,
    "test-deploy": deploy,
}


def everything(options):
    results = []
    for name, stage in STAGES.items():
        print(f"\n{'=' * 20} {name} {'=' * 20}", flush=True)
        started = time.monotonic()
        try:
            code = stage(options)
        except SystemExit as stopped:
            print(stopped.code, flush=True)
            code = stopped.code
        results.append((name, code, time.monotonic() - started))
    print("\nstage             result   seconds")
    for name, code, seconds in results:
        print(f"{name:18}{'failed' if code else 'passed':9}{seconds:7.0f}")
    failed = sum(bool(code) for _name, code, _seconds in results)
    print(f"\nstages: {len(results) - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


COMMANDS = {**STAGES, "test": everything, "bench": bench, "i18n": i18n}
