"""Runs inside Odoo: in_odoo.py CONFIG DATABASE MODULE FUNCTION calls dev/MODULE.py's FUNCTION(env) and commits.

A web server runs beside it, because wkhtmltopdf asks it for the style sheets of what it prints.
"""

import functools
import importlib
import sys

import odoo.cli
import odoo.http
from odoo import SUPERUSER_ID, api
from odoo.modules.registry import Registry
from odoo.service import server
from odoo.tools import config


def main(conf, database, module, function):
    config.parse_config(["-c", conf, "-d", database], setup_logging=True)
    registry = Registry(database)
    server.load_server_wide_modules()
    server.server = server.ThreadedServer(odoo.http.root)
    server.server.start(stop=False)
    with registry.cursor() as cr:
        # a request that waits for rows that our own transaction holds would wait for ever
        cr.execute(f'ALTER DATABASE "{database}" SET lock_timeout = \'5s\'')
        parameters = api.Environment(cr, SUPERUSER_ID, {})["ir.config_parameter"]
        parameters.set_param("report.url", f"http://127.0.0.1:{config['http_port']}")
    commit_before_printing(registry)
    try:
        build = getattr(importlib.import_module(module), function)
        with registry.cursor() as cr:
            build(api.Environment(cr, SUPERUSER_ID, {}))
    finally:
        with registry.cursor() as cr:
            cr.execute(f'ALTER DATABASE "{database}" RESET lock_timeout')
            api.Environment(cr, SUPERUSER_ID, {})["ir.config_parameter"].set_param("report.url", False)
        server.server.stop()


def commit_before_printing(registry):
    """The web server's transactions see only what is committed, and wait for rows that are not."""
    for model, name in (("account.move", "_deliver"), ("billing.case", "action_hand_over")):
        if method := getattr(registry[model], name, None) if model in registry else None:
            setattr(registry[model], name, committing(method))


def committing(method):
    @functools.wraps(method)
    def commit_first(self, *args, **kwargs):
        self.env.cr.commit()
        return method(self, *args, **kwargs)

    return commit_first


if __name__ == "__main__":
    main(*sys.argv[1:])
