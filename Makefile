# Every command of this repository. `make` alone lists them.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUNS := $(VENV)/.runs
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
PYTEST := $(BIN)/pytest

# Where Python may keep no bytecode, every process that starts compiles all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install run demo test test-fast test-slow chaos bench check fix history reference

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## Make the virtual environment and install what is pinned

# An interpreter may be a stub that does not run, so each one is asked for its version.
$(BIN)/python:
	@for name in python3.13 python3.12 python3.11 python3; do \
		if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
			python=$$name; break; \
		fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "signalbox: Python 3.11 or newer is needed, and none was found" >&2; exit 1; \
	fi; \
	echo "making $(VENV) with $$python"; $$python -m venv $(VENV)

# What the service needs, and nothing that only its developers do.
$(RUNS): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	@touch $@

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[dev]'
	@touch $@ $(RUNS)

run: $(RUNS) ## Run everything here: Temporal, worker and API; one Ctrl-C stops it
	@$(BIN)/signalbox up --stop-with-parent

demo: $(RUNS) ## Show a run that survives the kill of its worker
	@$(BIN)/signalbox demo

test: $(STAMP) ## Run the tests
	$(PYTEST) -n 4 --dist loadfile --no-loadscope-reorder -m "not slow and not chaos and not benchmark"

test-fast: $(STAMP) ## Run the tests that need no server
	$(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not chaos and not benchmark" tests/unit tests/steps tests/replay

test-slow: $(STAMP) ## Run the tests that take minutes
	$(PYTEST) -m slow

chaos: $(STAMP) ## Kill processes at scale and see that nothing is lost
	$(PYTEST) -m chaos -rP

bench: $(STAMP) ## Measure
	$(PYTEST) -m benchmark -s

check: $(STAMP) ## Check format, rules, types and imports
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(STAMP) ## Repair what can be repaired: format and rules
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

history: $(STAMP) ## Record the histories that the replay tests replay
	$(BIN)/python -m tests.replay.record

reference: $(STAMP) ## Write the reference pages that are made of the code
	$(BIN)/signalbox openapi > docs/reference/openapi.json
	$(BIN)/signalbox step-types > docs/reference/step-types.md
