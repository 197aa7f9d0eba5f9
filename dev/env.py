"""Where things are: settings from the environment (see settings.mk), paths, Odoo's command line."""

import ast
import contextlib
import fcntl
import hashlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
ADDONS = CHECKOUT / "addons"
STORY = CHECKOUT / "dev" / "demo_story.py"
STORY_FILES = (STORY, CHECKOUT / "dev" / "demo_situations.py")
if "BILLING_CACHE" not in os.environ:
    sys.exit("Run this through make: it reads settings.mk.")
for _name in ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD"):
    if not os.environ.get(_name):  # make exports them empty; libpq takes that for a value
        os.environ.pop(_name, None)
for _name in ("no_proxy", "NO_PROXY"):  # a proxy is for the world, not for our own servers
    os.environ[_name] = ",".join(filter(None, (os.environ.get(_name), "127.0.0.1,localhost")))
CACHE = Path(os.environ["BILLING_CACHE"]).resolve()
PREFIX = os.environ.get("DB_PREFIX") or "billing"
LANGUAGES = ("zh_CN",)
STARTED = time.monotonic()


def setting(name, default=None):
    return os.environ.get(name) or default


def say(text):
    print(f"==> [{time.monotonic() - STARTED:5.1f} s] {text}", flush=True)


def die(text):
    sys.exit(f"\n{text}")


def folder(*parts):
    path = CACHE.joinpath(*parts)
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def lock(name):
    """One process at a time; a second one says what it waits for."""
    with open(folder("lock") / name, "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that uses {name}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


# --- Odoo ---------------------------------------------------------------------------------------
def _odoo_home():
    home = Path(setting("ODOO_HOME", str(CACHE / "odoo"))).resolve()
    for library in (home, home / "usr/lib/python3/dist-packages"):
        if (library / "odoo/release.py").exists():
            for program in (home / "odoo-bin", home / "usr/bin/odoo", home / "bin/odoo"):
                if program.exists():
                    return library, program
    return die(f"No Odoo in {home}: run make setup.")


ODOO_LIBRARY, ODOO_PROGRAM = _odoo_home()


def addons_path():
    candidates = [
        ODOO_LIBRARY / "addons",
        ODOO_LIBRARY / "odoo/addons",
        ADDONS,
        *Path(sys.prefix).glob("lib/python*/site-packages/odoo/addons"),
    ]
    return ",".join(str(path) for path in candidates if path.is_dir() and any(path.glob("*/__manifest__.py")))


def odoo_environment(**extra):
    env = dict(os.environ)
    env["PATH"] = f"{sys.prefix}/bin:{env.get('PATH', '')}"
    env["PYTHONPATH"] = str(ODOO_LIBRARY)
    env["HOME"] = str(folder("home"))  # nothing of ours in the user's own
    return env | {name: str(value) for name, value in extra.items()}


def odoo_command(*args):
    return [sys.executable, str(ODOO_PROGRAM), *map(str, args)]


def modules():
    """Our installable modules, those without dependencies on others of ours first."""
    found = {}
    for manifest in sorted(ADDONS.glob("*/__manifest__.py")):
        values = ast.literal_eval(manifest.read_text(encoding="utf-8"))
        if values.get("installable", True):
            found[manifest.parent.name] = set(values.get("depends", ()))
    ordered = []
    while found:
        ready = [name for name, depends in found.items() if not depends & found.keys()] or list(found)
        ordered += ready
        for name in ready:
            del found[name]
    return ordered


def odoo_key():
    digest = hashlib.sha256()
    for path in (ODOO_LIBRARY / "odoo/release.py", ODOO_LIBRARY / "odoo/addons/base/__manifest__.py"):
        digest.update(path.read_bytes())
    # a nightly or Debian release of the same version differs in its metadata or its stamp
    for path in (CACHE / "odoo/.stamp", ODOO_LIBRARY / ".git/HEAD"):
        if path.exists():
            digest.update(path.read_bytes())
    digest.update(f"en_US {LANGUAGES}".encode())
    return digest.hexdigest()[:8]


def code_key(*more):
    """Identifies what is installed into a database: Odoo, our modules without their tests, MORE files."""
    digest = hashlib.sha256(odoo_key().encode())
    apart = re.compile(r"/(tests|readme|__pycache__)/|/\.|\.pyc$|\.pot$")
    paths = sorted(path for path in ADDONS.rglob("*") if path.is_file())
    for path in [*paths, *(path for path in more if path.exists())]:
        name = path.relative_to(CHECKOUT).as_posix()
        if not apart.search(name):
            digest.update(name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def run(command, *, log=None, **kwargs):
    """Runs a command; its output goes to LOG if given. Returns the exit code."""
    if log is None:
        return subprocess.run(command, check=False, **kwargs).returncode
    with open(log, "ab") as out:
        return subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=False, **kwargs).returncode
