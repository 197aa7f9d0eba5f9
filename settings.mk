# The one file of variables. Override any of them from the environment or the command line:
#     make demo HTTP_PORT=8170
#     PGHOST=db PGUSER=odoo PGPASSWORD=… make test

# Everything that is downloaded, built or written lives here, outside the checkout.
BILLING_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/customer-billing

# An Odoo 19 source checkout (with odoo-bin) or an installed prefix. Empty: fetched into the cache.
ODOO_HOME ?=

# The Python that makes the virtual environment (3.11 or newer).
PYTHON ?= python3

# The demo server listens on this machine only. Tests take free ports of their own.
HTTP_HOST ?= 127.0.0.1
HTTP_PORT ?= 8069
GEVENT_PORT ?= 8072
MAIL_PORT ?= 8025

# 0: one process with threads, where the web socket works without a reverse proxy.
# Above 0: that many workers, as in production.
WORKERS ?= 0

# All databases are called DB_PREFIX_something. Use another one to work beside somebody else.
DB_PREFIX ?= billing

# A PostgreSQL server to use instead of the embedded one; the role must be allowed to create databases.
PGHOST ?=
PGPORT ?=
PGUSER ?=
PGPASSWORD ?=

CHROMIUM ?= /usr/bin/chromium
