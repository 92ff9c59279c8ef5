# A fresh machine needs only python3 (>= 3.11) and make.
# `make run` syncs race files, `make test` runs the fast checks; `make help` lists the other targets.
# `make test FULL=1` also runs the slow tests and enforces the coverage floor; .ci/run runs it.

PYTHON ?= python3
SOURCE ?=
FULL ?=
VENV := .venv
BIN := $(VENV)/bin
# Written last, so an interrupted installation is repeated and a complete one is skipped.
READY := $(VENV)/.ready
COMPILED := $(VENV)/.compiled

# Where this is set, every process compiles all it imports again: 10 s for each worker of the tests.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help run ui test lint types imports unit lock docs clean soak races readers

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements.lock bootstrap.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "python3 is older than 3.11: install a newer version, or set its path with make PYTHON=..."; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3 cannot create a virtual environment: install its venv module (Debian: python3-venv)"; exit 2; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement bootstrap.lock
	@# uv takes 7 s where pip takes a minute; pip is the fallback if uv cannot reach the package index (it ignores pip's settings).
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock \
	  || { echo "uv could not install the packages (its message is above), so pip does: about a minute, without further lines."; \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock; }
	@$(BIN)/python -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "apex_pipeline.pth").write_text(str(pathlib.Path.cwd()) + "\n")'
	@printf '#!/bin/sh\nexec "%s/$(BIN)/python" -m apex_pipeline "$$@"\n' "$$PWD" > $(BIN)/apex && chmod +x $(BIN)/apex
	@# 6 to 20 s now instead of during the first load of telemetry.
	@$(BIN)/python -m apex_pipeline.sources.gr_cup.telemetry.compile > /dev/null
	@touch $(READY)

run: $(READY) ## Sync SOURCE=/path/to/race/files, or a synthetic race weekend without SOURCE
	@if [ -n "$(SOURCE)" ]; then $(BIN)/apex sync "$(SOURCE)"; else $(BIN)/apex demo; fi

ui: $(READY) ## Open the Dagster UI on http://127.0.0.1:3000
	@$(BIN)/apex ui

test: $(READY) lint imports ## Formatting, lint, types, import rules, fast tests; FULL=1 adds slow tests and the coverage floor
	@# Side by side: the types take one core for half a minute, while the tests often wait for servers.
	@$(MAKE) --no-print-directory -j2 types unit

lint: $(READY) ## Check formatting and lint
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .

types: $(READY) ## Check static types, strict
	@$(BIN)/pyright

imports: $(READY) ## Check the import rules (pyproject.toml)
	@$(BIN)/lint-imports

# Without it, each worker of the first run on a fresh checkout compiles all it imports and all assertions again.
$(COMPILED): $(READY)
	@# An error of a test file is reported by the run itself.
	@$(BIN)/pytest -n 0 --collect-only -qq > /dev/null 2>&1 || true
	@touch $(COMPILED)

unit: $(COMPILED) ## Run the fast tests; FULL=1: all tests, with branch coverage
	@$(BIN)/python -m apex_pipeline.sources.gr_cup.telemetry.compile > /dev/null
	@export TMPDIR="$$(.ci/temporary-folder)"; \
	  $(if $(FULL),$(BIN)/python -m slipcover --json --out .coverage.json -m pytest -m "not soak",$(BIN)/pytest -m "not slow and not soak")
	@# In a command of its own: asked for a floor while it runs pytest, slipcover 1.1 prints a report without the workers.
	@$(if $(FULL),$(BIN)/python -m slipcover --merge .coverage.json --out /dev/null --fail-under 95)

soak: $(READY) ## Run the long tests: kills, races, damage, bombs, services, more examples (an hour); see also benchmarks/sync_soak.py
	@$(BIN)/pytest -m soak
	@# Properties run twice as many examples as in the gate; the plugin of Hypothesis marks them.
	@APEX_HYPOTHESIS_PROFILE=soak $(BIN)/pytest -m "hypothesis and not soak"

races: $(READY) ## Derive 500 races whose every lap is known, and every mutation of official timing (ten minutes)
	@$(BIN)/pytest -m "soak or not soak" apex_pipeline_tests/races

readers: $(READY) ## Build the wheel, use it outside the checkout, and read with the oldest and the newest versions (needs the index)
	@.ci/readers

lock: $(READY) ## Update the lock file from pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement bootstrap.lock
	@$(BIN)/uv pip compile pyproject.toml --extra all --group dev --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url --no-header --quiet --output-file requirements.lock
	@# What servers install: without the tools of development, in the same versions.
	@$(BIN)/uv pip compile pyproject.toml --extra deploy --extra queue --constraint requirements.lock --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url --no-header --no-annotate --quiet --output-file deploy/requirements.lock

docs: $(READY) ## Generate docs/tables.md and docs/reference.md, and build the site into site/
	@$(BIN)/python -m apex_pipeline.tables.docs > docs/tables.md
	@$(BIN)/python -m apex_pipeline.catalog.docs > docs/reference.md
	@$(BIN)/python docs/build_site.py

clean: ## Remove the environment and caches; never the lake
	@rm -rf $(VENV) site .cache .coverage.json .pytest_cache .ruff_cache .hypothesis
