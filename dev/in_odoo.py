"""Runs inside Odoo: in_odoo.py CONFIG DATABASE MODULE FUNCTION calls dev/MODULE.py's FUNCTION(env) and commits.

What the function returns is kept in the database (as JSON, in a system parameter), so that copies know it too.
A web server runs beside it, because wkhtmltopdf asks it for the style sheets of what it prints.
"""

import importlib
import json
import sys

import odoo.cli
import odoo.http
from odoo import SUPERUSER_ID, api
from odoo.modules.registry import Registry
from odoo.service import server
from odoo.tools import config

PARAMETER = "customer_billing.demo_story"


def main(conf, database, module, function):
    config.parse_config(["-c", conf, "-d", database], setup_logging=True)
    registry = Registry(database)
    server.load_server_wide_modules()
    server.server = server.ThreadedServer(odoo.http.root)
    server.server.start(stop=False)
    with registry.cursor() as cr:
        parameters = api.Environment(cr, SUPERUSER_ID, {})["ir.config_parameter"]
        parameters.set_param("report.url", f"http://127.0.0.1:{config['http_port']}")
    try:
        build = getattr(importlib.import_module(module), function)
        with registry.cursor() as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            result = build(env)
            if result is not None:
                env["ir.config_parameter"].set_param(PARAMETER, json.dumps(result, default=str))
    finally:
        with registry.cursor() as cr:
            api.Environment(cr, SUPERUSER_ID, {})["ir.config_parameter"].set_param("report.url", False)
        server.server.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
