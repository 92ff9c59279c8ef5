# Everything a fresh machine needs is python3 (>= 3.11) and make.
# `make run` does the main job, `make test` runs the gate; `make help` lists the rest.
# `make test FULL=1` runs the slow tests too and holds the coverage floor; it is what .ci/run runs.

PYTHON ?= python3
SOURCE ?=
FULL ?=
VENV := .venv
BIN := $(VENV)/bin
# Written last, so an interrupted installation is repeated and a finished one costs nothing.
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help run ui test lint types imports unit lock docs clean

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements.lock bootstrap.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "python3 is older than 3.11: install a newer one, or name it with make PYTHON=..."; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3 cannot make a virtual environment: install its venv module (Debian: python3-venv)"; exit 2; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement bootstrap.lock
	@# uv installs in 7 s what pip needs a minute for; pip is the fallback where uv cannot reach the package index (pip's own settings).
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/python -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "apex_pipeline.pth").write_text(str(pathlib.Path.cwd()) + "\n")'
	@printf '#!/bin/sh\nexec "%s/$(BIN)/python" -m apex_pipeline "$$@"\n' "$$PWD" > $(BIN)/apex && chmod +x $(BIN)/apex
	@touch $(READY)

run: $(READY) ## The main job: SOURCE=/path/to/race/files, or without it a synthetic race weekend
	@if [ -n "$(SOURCE)" ]; then $(BIN)/apex sync "$(SOURCE)"; else $(BIN)/apex demo; fi

ui: $(READY) ## Open the Dagster UI on http://127.0.0.1:3000
	@$(BIN)/apex ui

test: $(READY) lint types imports unit ## The gate: formatting, lint, types, import rules, tests; FULL=1 adds the slow tests and the coverage floor

lint: $(READY) ## Formatting and lint
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .

types: $(READY) ## Static types, strict
	@$(BIN)/pyright

imports: $(READY) ## The import rules of the design
	@$(BIN)/lint-imports

unit: $(READY) ## The tests but the slow ones; FULL=1: all of them, with branch coverage
	@$(BIN)/pytest $(if $(FULL),--cov --cov-report=term-missing:skip-covered,-m "not slow")

lock: $(READY) ## Bring the lock files up to date with pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement bootstrap.lock
	@$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url --no-header --quiet --output-file requirements.lock

docs: $(READY) ## Write docs/tables.md from the schemas
	@$(BIN)/python -m apex_pipeline.tables.docs > docs/tables.md

clean: ## Remove what the commands above made; never the lake
	@rm -rf $(VENV) .coverage .pytest_cache .ruff_cache .hypothesis
