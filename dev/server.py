"""Running servers: Odoo and the mail catcher, their configuration, process ids and logs."""

import configparser
import contextlib
import email
import mailbox
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.header import decode_header, make_header
from pathlib import Path

import psutil

import postgres
from env import CACHE, addons_path, die, folder, odoo_command, odoo_environment, say

# Lines of Odoo itself that are harmless here; each says why.
HARMLESS = (
    # the embedded PostgreSQL has no contrib modules
    r'extension "(pg_trgm|unaccent)" is not available',
    r"bad query: CREATE EXTENSION IF NOT EXISTS (pg_trgm|unaccent)",
    # what a user may not do is told to him, and noted with this logger; crashes come with a traceback
    r"(?s)^[^\n]* WARNING \S+ odoo\.http: (?!.*Traceback)",
    # two transactions met, and Odoo runs the later one again; when that fails, the request's own error follows
    r"odoo\.sql_db: bad query: [^\n]*\nERROR: could not serialize access due to concurrent update",
    # the page that a payer comes back to asks again when two payments are booked at once
    r"(?s)odoo\.http: Exception during request handling\..* in poll_status\n.*\nException: retry",
    # Odoo looks up new companies with a service of its own, which a closed network or a missing right does not reach
    r" odoo\.addons\.(partner_autocomplete|iap)\.",
    # odoorpc speaks the older protocol
    r"rpc\.controllers\.jsonrpc: The /xmlrpc, /xmlrpc/2 and /jsonrpc endpoints are deprecated",
    # Debian's wkhtmltopdf has the unpatched Qt; our reports do without its headers and footers
    r"wkhtmltopdf.*(unpatched|patched qt|upgrade)",
)
LEVEL = re.compile(r"^\d{4}-\d\d-\d\d [\d:,]+ \d+ (WARNING|ERROR|CRITICAL) ")
LINE = re.compile(r"^\d{4}-\d\d-\d\d [\d:,]+ \d+ (INFO|DEBUG|WARNING|ERROR|CRITICAL) ")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def complaints(log):
    """Warnings and errors (with what follows them) in an Odoo log, without the harmless ones."""
    found, current = [], None
    for line in Path(log).read_text(encoding="utf-8", errors="replace").splitlines():
        if LEVEL.match(line):
            current = [line]
            found.append(current)
        elif LINE.match(line):
            current = None
        elif current is not None:
            current.append(line)
        elif line.startswith("Traceback (most recent call last)"):
            current = [line]
            found.append(current)
    texts = ("\n".join(block) for block in found)
    return [text for text in texts if not any(re.search(pattern, text) for pattern in HARMLESS)]


def report_complaints(log):
    """Prints them; true if there are none."""
    found = complaints(log)
    for text in found:
        print(f"\n{text}")
    if found:
        print(f"\nThe server's log holds {len(found)} warnings or errors: {log}")
    return not found


def write_config(name, database, *, port=0, gevent_port=0, mail_port=0, workers=0, cron=1, log=None):
    where = postgres.parameters()
    options = {
        "addons_path": addons_path(),
        "data_dir": folder("data"),
        "db_host": where["host"],
        "db_port": where["port"],
        "db_user": where["user"],
        "db_name": database,
        "dbfilter": f"^{database}$",
        "list_db": False,
        "http_interface": os.environ.get("HTTP_HOST") or "127.0.0.1",
        "http_port": port or free_port(),
        "gevent_port": gevent_port or free_port(),
        "workers": workers,
        "max_cron_threads": cron,
        "limit_time_cpu": 1200,
        "limit_time_real": 1800,
        "limit_time_real_cron": 1800,
        "smtp_server": "127.0.0.1",
        "smtp_port": mail_port or 9,  # nobody listens on 9: without a catcher no mail leaves
        "email_from": "no-reply@example.com",  # for what Odoo mails by itself
        "geoip_city_db": "",
        "geoip_country_db": "",
    }
    if where["password"]:
        options["db_password"] = where["password"]
    if log:
        options["logfile"] = log
    config = configparser.RawConfigParser()
    config["options"] = {key: str(value) for key, value in options.items()}
    path = folder("conf") / f"{name}.conf"
    with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as handle:
        config.write(handle)
    return path


# --- processes -----------------------------------------------------------------------------------
def _pid_file(name):
    return folder("run") / f"{name}.pid"


def process(name):
    """The running process that was started under this name, or None."""
    try:
        pid, created = _pid_file(name).read_text().split()
        found = psutil.Process(int(pid))
        if abs(found.create_time() - float(created)) < 2 and found.status() != psutil.STATUS_ZOMBIE:
            return found
    except (OSError, ValueError, psutil.Error):
        pass
    return None


def spawn(name, command, log, **kwargs):
    with open(log, "ab") as out:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, **kwargs
        )
    _pid_file(name).write_text(f"{child.pid} {psutil.Process(child.pid).create_time()}")
    return child


def terminate(name, patience=30):
    found = process(name)
    if found:
        children = found.children(recursive=True)
        with contextlib.suppress(psutil.NoSuchProcess):
            found.send_signal(signal.SIGTERM)
            try:
                found.wait(patience)
            except psutil.TimeoutExpired:
                found.kill()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    _pid_file(name).unlink(missing_ok=True)
    return bool(found)


# --- Odoo ----------------------------------------------------------------------------------------
@dataclass
class Odoo:
    name: str
    database: str
    port: int = 0
    gevent_port: int = 0
    mail_port: int = 0
    workers: int = 0
    cron: int = 1

    def __post_init__(self):
        self.port = self.port or free_port()
        self.gevent_port = self.gevent_port or free_port()
        self.log = folder("log") / f"{self.name}.log"

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def get(self, path, timeout):
        try:
            with urllib.request.urlopen(self.url + path, timeout=timeout) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except (OSError, urllib.error.URLError):
            return 0

    def start(self, keep_log=False):
        if not keep_log:
            self.log.unlink(missing_ok=True)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError:
                die(f"Port {self.port} is in use by another program: choose another one with HTTP_PORT=…")
        postgres.set_base_url(self.database, self.url)
        conf = write_config(
            self.name, self.database, port=self.port, gevent_port=self.gevent_port, mail_port=self.mail_port,
            workers=self.workers, cron=self.cron, log=self.log,
        )  # fmt: skip
        child = spawn(self.name, odoo_command("server", "-c", conf), f"{self.log}.out", env=odoo_environment())
        deadline = time.monotonic() + 180
        while self.get("/web/health", 5) != 200 or self.get("/web/login", 120) != 200:
            if child.poll() is not None or time.monotonic() > deadline:
                tail = [
                    line
                    for path in (f"{self.log}.out", self.log)
                    if os.path.exists(path)
                    for line in Path(path).read_text(errors="replace").splitlines()[-15:]
                ]
                self.stop()
                die("\n".join([*tail, f"The server did not come up; see {self.log}"]))
            time.sleep(0.3)
        return child

    def stop(self):
        return terminate(self.name)

    def is_ready(self):
        return process(self.name) is not None and self.get("/web/health", 5) == 200


# --- mail ----------------------------------------------------------------------------------------
@dataclass
class MailCatcher:
    """Takes every mail and keeps it as a file in a Maildir."""

    name: str
    port: int = 0

    def __post_init__(self):
        self.port = self.port or free_port()
        self.folder = folder("mail") / self.name

    def start(self):
        if process(f"{self.name}-mail"):
            return
        handler = [sys.executable, "-m", "aiosmtpd", "-n", "-u", "-c", "aiosmtpd.handlers.Mailbox"]
        child = spawn(
            f"{self.name}-mail",
            [*handler, str(self.folder), "-l", f"127.0.0.1:{self.port}"],
            folder("log") / f"{self.name}-mail.log",
        )
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            if child.poll() is not None:
                break
            time.sleep(0.1)
        die(f"The mail catcher does not start on port {self.port} (MAIL_PORT); see {CACHE}/log/{self.name}-mail.log")

    def stop(self):
        return terminate(f"{self.name}-mail", 5)


def list_mails(path):
    if not path.exists():
        say("no mail has been sent yet")
        return
    mails = mailbox.Maildir(str(path), factory=email.message_from_binary_file, create=False)
    for _key, mail in sorted(mails.items()):
        files = " ".join(_decode(part.get_filename()) for part in mail.walk() if part.get_filename())
        date, to, subject = (" ".join(_decode(mail.get(name, "")).split()) for name in ("Date", "To", "Subject"))
        print(f"{date[:25]:26}{to:40} {subject}  {files}")
    print(f"\n{len(mails)} mails in {path}/new")


def _decode(value):
    return str(make_header(decode_header(value)))
