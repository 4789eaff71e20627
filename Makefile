# Needs make and Python 3.11 or newer. `make NAME` runs the nox session of that name: see noxfile.py.
# ARGS="…" goes to the session, and VERSIONS="…" selects the Airflows or Pythons of one that has several.

PYTHONS := python3 $(shell sed -n 's/.*"Programming Language :: Python :: \(3\.[0-9]*\)".*/python\1/p' pyproject.toml)
PYTHON ?= $(shell for python in $(PYTHONS); do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && \
	echo "$$python" && break; done)
TOOLS := .venv-tools
NOX := $(TOOLS)/bin/nox

.DEFAULT_GOAL := help

help: $(TOOLS)/installed # Lists the commands.
	@$(NOX) --list | sed -nE 's/^[-*] ([a-z]+)[^>]*-> (.*)/make \1 \2/p' | uniq | while read -r make name what; do \
		printf 'make %-13s%s\n' "$$name" "$$what"; done

%: $(TOOLS)/installed always
	@$(NOX) --session $(or $(VERSIONS:%="$@(%)"),$@) -- $(ARGS)

# A newer Python that is not to be had is left out.
pythons: NOX += --no-error-on-missing-interpreters

clean: # Removes everything that was made here.
	rm -rf .venv $(TOOLS) .nox build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis

# nox and uv have to come from somewhere: pip installs uv, and uv the rest, ten times as fast.
$(TOOLS)/installed: constraints/tools.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Install Python 3.11 or newer, or name one: make PYTHON=..." >&2; exit 1; }
	@echo "Installing nox and the other tools into $(TOOLS)."
	@$(PYTHON) -m venv --clear $(TOOLS)
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $< uv
	@$(TOOLS)/bin/uv pip install --quiet --python $(TOOLS)/bin/python --constraint $< --group tools
	@touch $@

# Files, and not the names of sessions.
Makefile constraints/tools.txt pyproject.toml: ;

.PHONY: help clean always
