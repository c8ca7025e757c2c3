# Everything runs from the repository's own virtual environment; `make setup` builds it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
UV_VERSION := 0.13.9
READY := .venv/.ready
# The checkout comes first on the path: PyPI has packages called `config` and `api`.
export PYTHONPATH := $(CURDIR)
SEED ?= 1
FUZZ_PHASES := examples,coverage,fuzzing,stateful
INPUT ?=
ARGS ?=

.PHONY: help setup lock format check test test-unit test-contract test-integration test-e2e demo up bench mutate mutate-tenancy fuzz chaos clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

setup: $(READY) ## create .venv and install the locked dependencies

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	  || { echo "Keystage needs Python 3.11: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv 2>/dev/null || $(MAKE) --no-print-directory venv-without-ensurepip
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes --compile-bytecode -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $(READY)

.PHONY: venv-without-ensurepip
venv-without-ensurepip:
	@rm -rf .venv && $(PYTHON) -m pip install --quiet --target .venv-bootstrap virtualenv
	@PYTHONPATH=.venv-bootstrap $(PYTHON) -m virtualenv --quiet .venv && rm -rf .venv-bootstrap

lock: ## pin the dependencies again, with hashes, from pyproject.toml
	@$(BIN)/uv pip compile --quiet --python-version 3.11 --python-platform x86_64-manylinux_2_28 --all-extras --generate-hashes --no-emit-index-url --no-emit-find-links --no-header pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile --quiet --python-version 3.11 --python-platform x86_64-manylinux_2_28 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header -c requirements.lock pyproject.toml -o requirements.image.lock

format: $(READY) ## put the code into the house's format
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix-only --quiet .

check: $(READY) ## format, lint, types, import contracts, unit tests: the whole truth about style
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports
	@$(BIN)/pytest -q tests/unit

test: check test-contract test-integration test-e2e ## everything, against real components

test-unit: test-%: $(READY)
	@start=$$SECONDS; $(BIN)/pytest -q tests/$*; echo "tests/$*: $$((SECONDS - start)) s"

test-contract test-integration test-e2e: test-%: $(READY)
	@$(BIN)/python -m tests.side_by_side tests/$*

demo: $(READY) ## the main job on real files, end to end, on a private stack (INPUT=path for your own files)
	@$(BIN)/keystage demo $(if $(INPUT),--input "$(INPUT)") $(ARGS)

up: $(READY) ## the whole stack in the foreground; Ctrl-C stops it
	@$(BIN)/keystage up $(ARGS)

bench: $(READY) ## the benchmarks, into benchmarks/results/latest.json
	@$(BIN)/python -m benchmarks

mutate: $(READY) ## take each guard away once and see that a test notices (minutes)
	@$(BIN)/python -m tests.mutation

mutate-tenancy: $(READY) ## take each tenant predicate away once and see that a test notices (minutes)
	@$(BIN)/python -m tests.mutation.tenancy $(ARGS)

fuzz: $(READY) ## the API against its own document: many requests of every kind, with keys of every permission (minutes)
	@KEYSTAGE_FUZZ_PHASES=$(FUZZ_PHASES) KEYSTAGE_FUZZ_EXAMPLES=100 KEYSTAGE_FUZZ_SEED=$$RANDOM $(BIN)/pytest -q tests/integration/test_fuzz.py

chaos: $(READY) ## the long fault run: 300 jobs, 30 kills, 2 Redis flushes (SEED=n)
	@$(BIN)/python -m tests.e2e.chaos --seed $(SEED) --jobs 300 --kills 30 --flushes 2

clean: ## remove the environment and all caches
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
