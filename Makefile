# Every target sets itself up; `make` alone prints this file's help.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Tiny matrices: BLAS threads would only wait for one another.
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: help
help: ## Show this help
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  PYTHON=...   the Python (3.11 or newer) that makes $(VENV); otherwise the first suitable one is taken"
	@echo "  DEMO=...     options of the demo: make demo DEMO='--scenario metrics-lost --serve'"
	@echo "  PYTEST=...   more pytest options: make test PYTEST='-k stale -x'"
	@echo "  UPGRADE=1    with lock: take the newest release of everything"

$(READY): constraints.txt pyproject.toml scripts/bootstrap
	@PYTHON="$(PYTHON)" scripts/bootstrap $(VENV)
	@touch $@

.PHONY: demo
demo: $(READY) ## Watch the planner scale a simulated fleet: forty minutes in one, with its page
	@$(BIN)/planner demo $(DEMO)

.PHONY: test
test: $(READY) ## Run all tests that this machine can run, and name those it cannot
	@$(BIN)/python -m pytest --numprocesses auto --dist worksteal $(PYTEST)

.PHONY: e2e
e2e: $(READY) ## Run the end-to-end tests: on a real Kubernetes control plane, and of the page in a browser
	@$(BIN)/python -m pytest tests/e2e $(PYTEST)

.PHONY: testbed
testbed: ## Build the real components that some tests need, once, from pinned Go modules (minutes; needs Go)
	@scripts/testbed prometheus kubernetes kwok helm helm3 keda

.PHONY: check
check: $(READY) ## Lint, formatting, types, architecture, generated documents
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/generate_config_reference.py --check
	$(BIN)/python scripts/generate_metrics_reference.py --check

.PHONY: bench
bench: $(READY) ## Run the benchmarks, benchmarks/bench_*.py
	@set -e; shopt -s nullglob; for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

.PHONY: lock
lock: $(READY) ## Pin what pyproject.toml asks for, by version and hash, into constraints.txt
	$(BIN)/uv pip compile pyproject.toml --output-file constraints.txt \
	    --universal --python-version 3.11 --all-extras --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command 'make lock' \
	    --quiet $(if $(UPGRADE),--upgrade)

.PHONY: clean
clean: ## Remove the virtual environment, caches and build results
	rm -rf $(VENV) build dist .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
