"""The shipped deployment: the compose program accepts it, and it has the properties that production needs."""

import configparser
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
COMPOSE = Path(os.environ["BILLING_CACHE"]) / "compose" / "docker-compose"
SERVICES = ("db", "odoo", "proxy")


def config(*options, **env):
    command = [COMPOSE, "-f", CHECKOUT / "docker-compose.yml", *options, "config", "--format", "json"]
    clean = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]} | env
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr.lower(), done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def deployment():
    return config()


@pytest.fixture(scope="module")
def odoo_options():
    parser = configparser.ConfigParser()
    parser.read(CHECKOUT / "docker" / "odoo.conf")
    return parser["options"]


def test_nothing_else_runs_by_default(deployment):
    assert sorted(deployment["services"]) == sorted(SERVICES)


def test_images_are_named_with_a_version(deployment):
    images = {name: service["image"] for name, service in deployment["services"].items()}
    assert images["odoo"] == "odoo:19"
    assert all(re.fullmatch(r"\w+:\d[\w.]*", image) for image in images.values()), images


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_watched_limited_and_restarted(deployment, name):
    service = deployment["services"][name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"]
    assert service["deploy"]["resources"]["limits"]["memory"]
    assert service["logging"]["options"]["max-size"]


def test_start_order_waits_for_health(deployment):
    services = deployment["services"]
    assert services["odoo"]["depends_on"]["db"]["condition"] == "service_healthy"
    assert services["proxy"]["depends_on"]["odoo"]["condition"] == "service_healthy"


def test_only_the_proxy_is_reachable(deployment):
    services = deployment["services"]
    assert {name for name, service in services.items() if service.get("ports")} == {"proxy"}
    assert {port["target"] for port in services["proxy"]["ports"]} == {80, 443}
    assert list(services["db"]["networks"]) == ["backend"]
    assert deployment["networks"]["backend"]["internal"] is True
    assert "backend" not in services["proxy"]["networks"]


def test_secrets_come_from_files_outside_the_repository(deployment):
    assert set(deployment["secrets"]) == {"db_password", "tls_certificate", "tls_key"}
    for name, service in deployment["services"].items():
        for variable, value in (service.get("environment") or {}).items():
            if re.search("PASSWORD|SECRET|KEY|TOKEN", variable):
                assert variable.endswith("_FILE"), f"{name}: {variable}"
                assert value.startswith("/run/secrets/")
    assert "/secrets/" in (CHECKOUT / ".gitignore").read_text().splitlines()
    ignored = config(SECRETS="/somewhere")
    assert ignored["secrets"]["db_password"]["file"] == "/somewhere/db_password"


def test_data_is_kept_in_volumes(deployment):
    def targets(name, kind):
        return {mount["target"] for mount in deployment["services"][name]["volumes"] if mount["type"] == kind}

    assert targets("db", "volume") == {"/var/lib/postgresql/data"}
    assert targets("odoo", "volume") == {"/var/lib/odoo"}
    for name in SERVICES:
        for mount in deployment["services"][name]["volumes"]:
            if mount["type"] == "bind":
                assert mount["read_only"] is True
                assert Path(mount["source"]).exists()


def test_odoo_is_configured_for_production(odoo_options, deployment):
    assert odoo_options.getboolean("proxy_mode")
    assert not odoo_options.getboolean("list_db")
    assert odoo_options["dbfilter"] == f"^{odoo_options['db_name']}$"
    assert odoo_options.getint("workers") > 0
    assert odoo_options.getint("max_cron_threads") > 0
    assert "db_password" not in odoo_options
    assert "admin_passwd" not in odoo_options
    # all workers at their hard limit, and one to spare for the web socket, fit the container
    workers = odoo_options.getint("workers") + 1
    memory = int(deployment["services"]["odoo"]["deploy"]["resources"]["limits"]["memory"])
    assert workers * odoo_options.getint("limit_memory_hard") <= memory


def test_proxy_ends_tls_and_knows_the_web_socket(odoo_options):
    nginx = (CHECKOUT / "docker" / "nginx.conf").read_text()
    blocks = dict(re.findall(r"location (?:= )?(\S+) \{(.*?)\n        \}", nginx, re.S))
    upstreams = dict(re.findall(r"upstream (\S+) \{\s*server (\S+);", nginx))
    assert upstreams == {
        "odoo": f"odoo:{odoo_options['http_port']}",
        "odoo-gevent": f"odoo:{odoo_options['gevent_port']}",
    }
    assert "proxy_pass http://odoo-gevent;" in blocks["/websocket"]
    assert "Upgrade $http_upgrade" in blocks["/websocket"]
    assert "proxy_pass http://odoo;" in blocks["/web/login"]
    assert "limit_req" in blocks["/web/login"]
    assert "ssl_certificate /run/secrets/tls_certificate;" in nginx
    assert "ssl_certificate_key /run/secrets/tls_key;" in nginx
    assert "TLSv1.2 TLSv1.3" in nginx
    assert "TLSv1.1" not in nginx
    assert "X-Forwarded-Proto $scheme" in nginx
    assert nginx.count("{") == nginx.count("}")


@pytest.mark.parametrize("name", ["install", "update"])
def test_one_command_installs_and_updates(name):
    service = config("--profile", "setup")["services"][name]
    modules = sorted(path.parent.name for path in (CHECKOUT / "addons").glob("*/__manifest__.py"))
    assert ",".join(modules) in service["command"]
    assert "--stop-after-init" in service["command"]
    assert service["image"] == "odoo:19"
