#!/usr/bin/env python3
"""The commands behind the Makefile's targets: manage.py COMMAND …"""

import argparse
import shlex
import signal
import sys
import time

import build
import postgres
import server
import stages
from env import code_key, folder, odoo_command, odoo_environment, run, say, setting

DEMO = build.name("demo")


def demo_server():
    return server.Odoo(
        DEMO,
        DEMO,
        port=int(setting("HTTP_PORT", "8069")),
        gevent_port=int(setting("GEVENT_PORT", "8072")),
        mail_port=int(setting("MAIL_PORT", "8025")),
        workers=int(setting("WORKERS", "0")),
    )


def mail_catcher():
    return server.MailCatcher(DEMO, int(setting("MAIL_PORT", "8025")))


def demo(options):
    postgres.start()
    odoo, mail = demo_server(), mail_catcher()
    child = None
    current = postgres.get_mark(DEMO) if postgres.exists(DEMO) else None
    if options.fresh or current is None:
        odoo.stop()
        mail.stop()
        source = build.built()
        say(f"creating the demo database {DEMO}")
        postgres.copy(source, DEMO)
        build.copy_mails(mail.folder)
        postgres.set_mark(DEMO, code_key())
    elif current != code_key():
        odoo.stop()
        build.update(DEMO)
        postgres.set_mark(DEMO, code_key())
    mail.start()
    if odoo.is_ready():
        say("the demo server is running already")
    else:
        say("starting the server")
        child = odoo.start(keep_log=True)
    print(page(odoo, mail), flush=True)
    if child and not options.detach:
        follow(odoo, child)


def page(odoo, mail):
    told = build.story(DEMO)
    logins = told.get("logins") or [("Administrator", "admin", "admin", "Open the Billing app.")]
    rows = "\n".join(f"  {who:28}{login:12}{secret:12}{first}" for who, login, secret, first in logins)
    situations = "\n".join(f"  {what:38}{login:12}{who}" for what, who, login in told.get("situations", ()))
    if situations:
        head = f"{'to see':38}{'login':12}customer (each login is its own password; without one: as staff)"
        situations = f"\n  {head}\n{situations}\n"
    else:
        situations = "\n  Made by an older version, which did not list what there is to see. Anew: make demo FRESH=1.\n"
    counts = ", ".join(f"{number} {what}" for what, number in told.get("counts", {}).items())
    return f"""
Customer Billing is running.

  Staff and customers    {odoo.url}/odoo
  Customer portal        {odoo.url}/my
  API description        {odoo.url}/doc

  {'who':28}{'login':12}{'password':12}what to look at first
{rows}
{situations}
  In it: {counts or "an empty company"}

  Mails that the demo sent are caught here:  {mail.folder}   (make mails)
  Server log:                                {odoo.log}
  Stop it with: make stop.   Start over: make demo FRESH=1.   After changing code: make update.
"""


def follow(odoo, child):
    """Stays in the foreground until the server ends or somebody presses Ctrl-C."""
    print("The server runs in this terminal; Ctrl-C stops it.", flush=True)

    def leave(*_args):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, leave)
    try:
        child.wait()
    except KeyboardInterrupt:
        say("stopping the server")
    odoo.stop()


def stop(_options):
    for what, running in (("server", demo_server()), ("mail catcher", mail_catcher())):
        if running.stop():
            say(f"stopped the {what}")
    postgres.stop()


def update(_options):
    postgres.start()
    if not postgres.exists(DEMO):
        sys.exit("There is no demo database yet: make demo.")
    odoo = demo_server()
    was_running = odoo.stop()
    build.update(DEMO)
    postgres.set_mark(DEMO, code_key())
    if was_running:
        say("starting the server")
        odoo.start(keep_log=True)


def shell(options):
    postgres.start()
    database = options.database or DEMO
    if not postgres.exists(database):
        sys.exit(f"There is no database {database}: make demo first.")
    conf = server.write_config(f"{database}-shell", database, mail_port=int(setting("MAIL_PORT", "8025")), cron=0)
    return run(odoo_command("shell", "-c", conf, "-d", database, "--no-http"), env=odoo_environment())


def mails(_options):
    server.list_mails(mail_catcher().folder)


def psql_environment(_options):
    """Prints what a shell needs to reach the database server: eval "$(… manage.py pg-env)"."""
    postgres.start()
    where = postgres.parameters()
    for name, key in (("PGHOST", "host"), ("PGPORT", "port"), ("PGUSER", "user"), ("PGPASSWORD", "password")):
        if where[key]:
            print(f"export {name}={shlex.quote(str(where[key]))}")


def drop_test_databases(_options):
    postgres.start()
    for database in postgres.databases():
        if database.startswith(f"{build.name('')}") and database != DEMO:
            postgres.drop(database)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name, function, *, passes_arguments=False):
        sub = commands.add_parser(name, add_help=not passes_arguments)
        sub.set_defaults(function=function, passes_arguments=passes_arguments)
        return sub

    sub = command("demo", demo)
    sub.add_argument("--detach", action="store_true")
    sub.add_argument("--fresh", action="store_true")
    command("stop", stop)
    command("update", update)
    sub = command("shell", shell)
    sub.add_argument("-d", "--database")
    command("mails", mails)
    command("pg-env", psql_environment)
    command("drop-test-databases", drop_test_databases)
    for name, function in stages.COMMANDS.items():
        command(name, function, passes_arguments=True)

    options, rest = parser.parse_known_args()
    if rest and not options.passes_arguments:
        parser.error(f"unknown arguments: {' '.join(rest)}")
    options.rest = rest
    folder("run")
    started = time.monotonic()
    code = options.function(options)
    if options.passes_arguments:
        say(f"{options.command} took {time.monotonic() - started:.0f} s")
    sys.exit(code or 0)


if __name__ == "__main__":
    main()
