# Needs make and Python 3.11 or newer; fetches the rest into .venv and .venv-tools.

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && \
	echo "$$python" && break; done)

ENVIRONMENT = $(PYTHON) -m dev.environment
AIRFLOW_PINS := constraints/airflow-3.3.txt
TOOL_PINS := constraints/tools.txt
TEST_PACKAGES := pytest pytest-timeout hypothesis jsonschema types-requests
BENCH ?= --full
VERSIONS ?= 2.11 3.0 3.1 3.2 3.3
SOURCES := $(shell find airflow_provider_youcom -name '*.py' -o -name py.typed)

.DEFAULT_GOAL := help
.PHONY: help demo airflow test lint audit types matrix browser bench soak docs dist clean

help: ## Say what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/installed ## See a gate wait, open and let a pipeline spend; with YDC_API_KEY set, on your account
	@.venv/bin/python -m dev.demo

airflow: .venv/installed ## Leave a whole Airflow running, with the example DAGs and a You.com sandbox
	@.venv/bin/python -m dev.serve

test: .venv/installed ## Run the tests on the installed wheel and Airflow 3.3
	TEST_INSTALLED_PROVIDER=1 .venv/bin/pytest tests -m "not browser and not soak"

lint: .venv-tools/installed ## Check style, formatting and security
	.venv-tools/bin/ruff check .
	.venv-tools/bin/ruff format --check .
	.venv-tools/bin/bandit --quiet --configfile pyproject.toml --recursive airflow_provider_youcom

audit: .venv-tools/installed ## Look for known vulnerabilities in what the provider needs, where the registry tells
	grep -E '^(apache-airflow-providers-common-compat|pendulum|requests|urllib3)==' $(AIRFLOW_PINS) | \
		.venv-tools/bin/pip-audit --no-deps --disable-pip --progress-spinner off --requirement /dev/stdin

types: .venv/installed .venv-tools/installed ## Check the types
	MYPYPATH=. .venv-tools/bin/mypy --python-executable .venv/bin/python

matrix: .venv/nox ## Run the tests on every Airflow from 2.11 to 3.3; VERSIONS="2.11 3.0"
	.venv/bin/nox -s $(foreach version,$(VERSIONS),"matrix(airflow='$(version)')")

browser: .venv/nox ## Click through the UI of Airflow 2.11 and 3.3 with Chromium
	.venv/bin/nox -s browser

bench: .venv/benchmarks ## Measure what waiting costs, in half an hour; BENCH=--small takes under 5 minutes
	.venv/bin/python -m benchmarks.waiting $(BENCH)

soak: .venv/benchmarks ## Run gates through minutes of random trouble; MINUTES=10
	.venv/bin/python -m benchmarks.soak $(if $(MINUTES),--minutes $(MINUTES))

docs: .venv-tools/installed ## Build the documentation into site/
	.venv-tools/bin/mkdocs build --strict

dist: .venv-tools/installed ## Build the wheel and the source distribution into dist/
	rm -rf dist
	.venv-tools/bin/python -m build
	.venv-tools/bin/twine check --strict dist/*

clean: ## Remove all that was made here
	rm -rf .venv .venv-tools .nox build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis

.venv/installed: $(AIRFLOW_PINS) pyproject.toml $(SOURCES) | python
	@$(ENVIRONMENT) .venv --constraints $(AIRFLOW_PINS) . $(TEST_PACKAGES)
	@touch $@

.venv/nox: .venv/installed
	@$(ENVIRONMENT) .venv --constraints $(AIRFLOW_PINS) nox
	@touch $@

.venv/benchmarks: .venv/installed
	@$(ENVIRONMENT) .venv --constraints $(AIRFLOW_PINS) apache-airflow-providers-http matplotlib psycopg2-binary asyncpg
	@touch $@

.venv-tools/installed: $(TOOL_PINS) | python
	@$(ENVIRONMENT) .venv-tools --constraints $(TOOL_PINS) \
		bandit build hatchling mkdocs-material 'mkdocstrings[python]' mypy pip-audit ruff twine types-requests
	@touch $@

.PHONY: python
python:
	@test -n "$(PYTHON)" || { echo "This needs Python 3.11 or newer; install it, or say where: make PYTHON=..." >&2; exit 1; }
