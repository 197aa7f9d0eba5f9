include settings.mk
export BILLING_CACHE ODOO_HOME PYTHON HTTP_HOST HTTP_PORT GEVENT_PORT MAIL_PORT WORKERS DB_PREFIX \
	PGHOST PGPORT PGUSER PGPASSWORD CHROMIUM

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

MANAGE = $(BILLING_CACHE)/venv/bin/python dev/manage.py
# Arguments handed through, e.g. make test-module ARGS="-k recurrence -x"
ARGS ?=

.PHONY: help setup setup-test demo stop update shell mails i18n lint test test-kernel test-module \
	test-install test-blackbox test-browser test-deploy bench clean distclean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' Makefile | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/' | expand -t 22
	@echo; echo "  Variables (ports, cache, database server, Odoo): settings.mk"

setup: ## fetch and check all that running needs (Odoo, Python packages, system packages)
	@dev/setup.sh run

setup-test:
	@dev/setup.sh test

demo: setup ## a demo company that has been billed, on localhost; DETACH=1 in the background, FRESH=1 from scratch
	@$(MANAGE) demo $(if $(DETACH),--detach) $(if $(FRESH),--fresh)

stop: ## stop the demo server, the mail catcher and the embedded database server
	@if [ -x "$(BILLING_CACHE)/venv/bin/python" ]; then $(MANAGE) stop; fi

update: setup ## update our modules in the demo database
	@$(MANAGE) update

shell: setup ## Odoo's Python shell on the demo database
	@$(MANAGE) shell $(ARGS)

mails: setup ## list the mails that the demo sent (they are caught on this machine)
	@$(MANAGE) mails

i18n: setup ## write every module's .pot and bring its zh_CN.po up to date
	@$(MANAGE) i18n $(ARGS)

lint: setup-test ## ruff, pylint-odoo
	@$(MANAGE) lint

test: setup-test ## everything: lint, kernels, modules, install/uninstall, black box, browser, deployment
	@$(MANAGE) test

test-kernel: setup-test ## kernels alone (pure Python, seconds); ARGS= goes to pytest
	@$(MANAGE) test-kernel $(ARGS)

test-module: setup-test ## the modules' own tests; ARGS="-k word -x" or ARGS=addons/…/test_x.py
	@$(MANAGE) test-module $(ARGS)

test-install: setup-test ## install, update twice, uninstall, with a clean log
	@$(MANAGE) test-install $(ARGS)

test-blackbox: setup-test ## odoorpc, JSON-2 and HTTP against a running server
	@$(MANAGE) test-blackbox $(ARGS)

test-browser: setup-test ## staff and customers in a real browser
	@$(MANAGE) test-browser $(ARGS)

test-deploy: setup-test ## the compose file
	@$(MANAGE) test-deploy $(ARGS)

bench: setup-test ## figures side by side; ARGS="BILLS ROUNDS CONTRACTS", LARGE=1: 10,000 contracts, WRITE=1: docs/benchmarks.md
	@WRITE=$(WRITE) LARGE=$(LARGE) $(MANAGE) bench $(ARGS)

clean: stop ## stop all, drop the embedded databases, logs and caught mails; keep the downloads
	@rm -rf -- "$(BILLING_CACHE)"/{pg,data,log,mail,run,conf,lock,home}

distclean: clean ## also remove the downloads
	@rm -rf -- "$(BILLING_CACHE)"
