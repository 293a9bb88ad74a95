# Requires only Python 3.11 and pip. `make help` lists the targets.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help install requirements browser servers run cluster stop test chaos fuzz lint format types audit containers restore-drill migrations-check bench worker beat shell clean access

PORT ?= 8000
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PORT

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## create the virtual environment with the pinned requirements (no-op when they are unchanged)

# venv needs ensurepip, which Debian splits off into python3-venv; virtualenv does without.
# The stamp is a copy of the installed requirements, because file times in a fresh checkout mean nothing.
$(STAMP): requirements.txt requirements-dev.txt
	@set -e; if ! cat requirements.txt requirements-dev.txt | cmp -s - $(STAMP) || ! [ -x $(BIN)/python ]; then \
		python=$$(command -v $(PYTHON) || command -v python3 || true); \
		if [ -z "$$python" ] || ! "$$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then \
			echo "Kamioi needs Python 3.11; set PYTHON to its path, e.g. make $(MAKECMDGOALS) PYTHON=/usr/bin/python3.11" >&2; exit 1; \
		fi; \
		if ! [ -x $(BIN)/python ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
			echo "Making $(VENV) ..."; \
			"$$python" -m venv --clear $(VENV) 2>/dev/null || { \
				rm -rf $(VENV); \
				"$$python" -m virtualenv --version >/dev/null 2>&1 || "$$python" -m pip install -q --user virtualenv || "$$python" -m pip install -q --user --break-system-packages virtualenv; \
				"$$python" -m virtualenv -q $(VENV); \
			}; \
		fi; \
		echo "Installing requirements ..."; \
		$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.txt; \
		cat requirements.txt requirements-dev.txt >$(STAMP); \
	fi; touch $(STAMP)

run: install ## start servers, demo data, web, workers and beat; PORT=8000; Ctrl-C stops all
	@exec $(BIN)/python -m docker.local.devserver

cluster: install ## run the production topology as local processes: replica, PgBouncer, nginx, a worker pool per queue
	@exec docker/local-cluster --demo

stop: install ## stop servers that `make run` or a manage.py command left running
	@$(BIN)/python -m docker.local.devserver --stop

# Browser tests drive Debian's Chromium: PyPI has none.
browser:
	@if command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo "Installing Chromium for the browser test ..."; \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver; } >/dev/null \
		|| { echo "Chromium could not be installed." >&2; [ "$${CI:-}" != true ]; }; \
	else \
		echo "No Chromium for the browser test. As root: apt-get install chromium chromium-driver" >&2; \
	fi

# Debian programs that tests start, as program:package. Without one of them its tests are skipped with the reason.
PROGRAMS := nginx:nginx-light pgbouncer:pgbouncer rabbitmq-server:rabbitmq-server prometheus:prometheus prometheus-alertmanager:prometheus-alertmanager faketime:faketime pdftoppm:poppler-utils restic:restic

servers:
	@missing=; for pair in $(PROGRAMS); do \
		PATH="$$PATH:/usr/sbin" command -v "$${pair%%:*}" >/dev/null 2>&1 || missing="$$missing $${pair#*:}"; \
	done; \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo "Installing$$missing for the tests ..."; \
		trap 'rm -f "$$policy"' EXIT; policy=; \
		if ! [ -e /usr/sbin/policy-rc.d ]; then policy=/usr/sbin/policy-rc.d; printf '#!/bin/sh\nexit 101\n' >"$$policy"; chmod +x "$$policy"; fi; \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; } >/dev/null \
		|| { echo "$$missing could not be installed." >&2; [ "$${CI:-}" != true ]; }; \
	else \
		echo "Missing for some tests. As root: apt-get install$$missing" >&2; \
	fi

COVERAGE = .kamioi/coverage.json

# Many tests wait for other processes, so four run at once on two cores.
test: install browser servers lint types migrations-check ## run all checks and tests; without ARGS, coverage must reach its floor
	@mkdir -p .kamioi
	@env -u DJANGO_SETTINGS_MODULE $(BIN)/python -m $(if $(ARGS),,slipcover --json --out $(COVERAGE) -m )pytest -n 4 --dist worksteal $(ARGS)
	@$(if $(ARGS),:,$(BIN)/python -m slipcover --merge $(COVERAGE) --out $(COVERAGE) --skip-covered --fail-under 95)

# Sweeps run every two seconds so that all faults fit into 15 minutes; CHAOS_SHIPPED=1 keeps the shipped intervals.
chaos: install servers ## inject every fault into the whole cluster and print a table of outcomes; RECORD=1 writes docs/faults.md
	@env -u DJANGO_SETTINGS_MODULE CHAOS_SHIPPED="$(CHAOS_SHIPPED)" CHAOS_ROUNDS="$(CHAOS_ROUNDS)" RECORD="$(RECORD)" $(BIN)/python -m pytest -n 0 -m chaos tests/chaos $(ARGS)

# FUZZ_SEED repeats a run; ARGS="-k customer" sends the requests of one role.
FUZZ_EXAMPLES ?= 50
FUZZ_SEED := $(or $(FUZZ_SEED),$(shell date +%s))
fuzz: install ## send generated requests to every operation of the API (about an hour; FUZZ_EXAMPLES=5 for less)
	@echo "FUZZ_SEED=$(FUZZ_SEED)"
	@env -u DJANGO_SETTINGS_MODULE FUZZ_EXAMPLES="$(FUZZ_EXAMPLES)" FUZZ_SEED="$(FUZZ_SEED)" $(BIN)/python -m pytest -n 4 --dist worksteal tests/kamioi_site/api/test_schema.py $(ARGS)

access: install ## write docs/access.md: what every role may do at every route
	@env -u DJANGO_SETTINGS_MODULE RECORD=1 $(BIN)/python -m pytest -q -n 0 tests/kamioi_site/test_access.py -k matrix

lint: install ## ruff, formatting and the import contracts
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check --quiet . || { echo "Run \`ruff format .\`" >&2; exit 1; }
	@$(BIN)/lint-imports --no-cache

format: install ## format the code and sort imports
	@$(BIN)/python -m ruff check --quiet --fix --select I .
	@$(BIN)/python -m ruff format .

types: install ## mypy
	@KAMIOI_HOME="$${KAMIOI_TEST_HOME:-.kamioi/test}" $(BIN)/python -m kamioi_site.local.embedded_servers with-names $(BIN)/python -m mypy .

# Pins that are in the files stay; UPGRADE="-P django" or UPGRADE=-U raises them within pyproject.toml.
COMPILE = .kamioi/uv/bin/uv pip compile -q --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command "make requirements" $(UPGRADE)

requirements: ## resolve the direct dependencies of pyproject.toml into the requirements files, with hashes
	@[ -x .kamioi/uv/bin/uv ] || { $(PYTHON) -m venv .kamioi/uv && .kamioi/uv/bin/python -m pip install -q --disable-pip-version-check uv==0.13.9; }
	@$(COMPILE) --group app -o requirements.txt
	@$(COMPILE) --group legacy -c requirements.txt -o docker/requirements-legacy.txt
	@$(COMPILE) --group dev -c docker/requirements-legacy.txt -o requirements-dev.txt

# Installed into a separate environment. It queries PyPI for advisories.
audit: ## list known vulnerabilities of the pinned packages
	@[ -x .kamioi/audit/bin/pip-audit ] || { $(PYTHON) -m venv .kamioi/audit && .kamioi/audit/bin/python -m pip install -q --disable-pip-version-check pip-audit==2.10.1; }
	@.kamioi/audit/bin/pip-audit -r docker/requirements-legacy.txt --no-deps --disable-pip --strict

containers: ## build the images and run compose.yml on Debian's dockerd: CHECK=all: and its faults; needs root and podman
	@exec tests/docker/engine/containers all $(CHECK)

# Barman is a separate program; it copies with rsync.
restore-drill: install ## drop a table while purchases come in, and restore to the second before; prints time and loss
	@[ -x .kamioi/barman/bin/barman ] || { $(PYTHON) -m venv .kamioi/barman && .kamioi/barman/bin/python -m pip install -q --disable-pip-version-check --no-deps \
		barman==3.19.1 psycopg2-binary==2.9.13 python-dateutil==2.9.0.post0 six==1.17.0; }
	@command -v rsync >/dev/null || { echo "The drill needs rsync. As root: apt-get install rsync" >&2; exit 1; }
	@$(BIN)/python -m docker.local.restore_drill --barman .kamioi/barman/bin/barman $(ARGS)

migrations-check: install ## check that models and migrations agree
	@env -u DJANGO_SETTINGS_MODULE KAMIOI_HOME="$${KAMIOI_TEST_HOME:-.kamioi/test}" $(BIN)/python manage.py makemigrations --check --dry-run

bench: install ## run one benchmark (NAME=processing) or all of them
	@set -e; for name in $(or $(NAME),$$(cd benchmarks && ls *.py | sed 's/\.py$$//' | grep -vx -e __init__ -e common -e load_users -e citus)); do \
		$(BIN)/python -m benchmarks.$$name $(if $(NAME),$(ARGS)); \
	done

worker: install ## run one Celery worker for all queues in the foreground
	@exec $(BIN)/python -m kamioi_site.local.embedded_servers with-servers $(BIN)/celery -A kamioi_site worker -l info -Q ai,transactions,analytics,notifications,bulk

beat: install ## run the scheduler in the foreground
	@exec $(BIN)/python -m kamioi_site.local.embedded_servers with-servers $(BIN)/celery -A kamioi_site beat -l info

shell: install ## open a Django shell
	@exec $(BIN)/python manage.py shell

clean: stop ## stop the servers and delete the demo data and all caches (asks first)
	@if [ -t 0 ]; then printf 'Delete .kamioi (the demo database and uploads)? [y/N] '; read -r answer; [ "$$answer" = y ]; fi
	@KAMIOI_HOME=.kamioi/test $(BIN)/python -m kamioi_site.local.embedded_servers stop
	@if [ -e .kamioi/cluster ]; then docker/local-cluster stop; fi
	@rm -rf .kamioi .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +
