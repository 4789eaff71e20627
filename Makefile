# Needs make and Python 3.11 or newer. Each target is a nox session of the same name: see noxfile.py.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && \
	echo "$$python" && break; done)
TOOLS := .venv-tools
NOX := $(TOOLS)/bin/nox
BENCH ?= --full

.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Watch two runs wait for the same credits; with YDC_API_KEY set, a gate open on your account
airflow: ## Run a whole Airflow with the example DAGs and a You.com sandbox, until Ctrl-C
check: ## Run the short unit tests, lint and types, in under a minute
test: ## Run all tests on the installed wheel and Airflow 3.3; ARGS="-k retry"
lint: ## Check style, formatting and security
types: ## Check the types
audit: ## Look for known vulnerabilities in what the provider needs
matrix: ## Run the tests on every supported Airflow; VERSIONS="2.11 3.0"
pythons: ## Run the unit tests on newer Pythons; PYTHONS="3.13 3.14"
scenarios: ## Run the examples, reserve credits and watch a balance in a whole Airflow
ledger: ## Look for a way to overspend what is reserved, for two minutes
distributed: ## Kill a worker and a triggerer of an Airflow on several machines
browser: ## Click through the UI of Airflow 2.11 and 3.3 with Chromium
bench: ## Measure what waiting costs, in half an hour; BENCH=--small takes under 5 minutes
simulation: ## Simulate what reserving costs with 100,000 runs; ARGS="--runs 10000"
fleet: ## Let 100 runs spend one account behind each kind of gate; ARGS="--runs 20"
soak: ## Run gates through minutes of random trouble; MINUTES=10
docs: ## Build the documentation into site/
dist: ## Build the wheel and the source distribution into dist/
constraints: ## Write the pins of an Airflow, or renew them; AIRFLOW=3.3.2

demo airflow check test lint types audit scenarios ledger simulation fleet distributed browser docs dist: $(TOOLS)/installed
	@$(NOX) --session $@ -- $(ARGS)

matrix: $(TOOLS)/installed
	@$(NOX) --session $(or $(foreach version,$(VERSIONS),"matrix(airflow='$(version)')"),matrix) -- $(ARGS)

pythons: $(TOOLS)/installed
	@$(NOX) --no-error-on-missing-interpreters --session $(or $(PYTHONS:%=pythons-%),pythons) -- $(ARGS)

bench: $(TOOLS)/installed
	@$(NOX) --session bench -- $(BENCH)

soak: $(TOOLS)/installed
	@$(NOX) --session soak -- $(if $(MINUTES),--minutes $(MINUTES))

constraints: $(TOOLS)/installed
	@$(NOX) --session constraints -- $(AIRFLOW) $(AS_OF)

clean: ## Remove everything that was made here
	rm -rf .venv $(TOOLS) .nox build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis

.venv: $(TOOLS)/installed
	@$(NOX) --session environment

# nox and uv have to come from somewhere: pip installs uv, and uv the rest, ten times as fast.
$(TOOLS)/installed: constraints/tools.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Install Python 3.11 or newer, or name one: make PYTHON=..." >&2; exit 1; }
	@echo "Installing nox and the other tools into $(TOOLS)."
	@$(PYTHON) -m venv --clear $(TOOLS)
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $< uv
	@$(TOOLS)/bin/uv pip install --quiet --python $(TOOLS)/bin/python --constraint $< --group tools
	@touch $@

.PHONY: help demo airflow check test lint types audit matrix pythons scenarios ledger distributed browser bench simulation fleet soak docs dist constraints clean .venv
