# Everything runs from the repository's own virtual environment; `make setup` builds it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The newest Python that Keystage runs on and that really starts: a version manager leaves names that do not.
PYTHONS := python3.13 python3.12 python3.11 python3
PYTHON ?= $(shell for name in $(PYTHONS); do $$name -c '' 2>/dev/null && command -v $$name && break; done)
# Another environment for another Python: make demo VENV=.venv-3.12 PYTHON=python3.12
VENV ?= .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
READY := $(VENV)/.ready
OLD_CLIENT := .venv-client-1.3.1/.ready
# The checkout comes first on the path: PyPI has packages called `config` and `api`.
export PYTHONPATH := $(CURDIR)
SEED ?= 1
MINUTES ?= 15
SECONDS ?= 60
NAMESPACES ?= 10
FUZZ_PHASES := examples,coverage,fuzzing,stateful
INPUT ?=
ARGS ?=

.PHONY: engine test-engine help setup lock format check test test-unit test-contract test-integration test-e2e demo up bench soak mutate mutate-tenancy fuzz chaos absence clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

setup: $(READY) $(OLD_CLIENT) ## create .venv and install the locked dependencies

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "Keystage needs Python 3.11, 3.12 or 3.13: make setup PYTHON=/path/to/python3.13" >&2; exit 1; }
	@echo "setting up $(VENV) with $$($(PYTHON) --version): about a minute" >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) 2>/dev/null || $(MAKE) --no-print-directory venv-without-ensurepip
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes --compile-bytecode -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $(READY)

$(OLD_CLIENT): tests/contract/client-1.3.1.lock | $(READY)
	@rm -rf $(@D)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes --target $(@D) -r $<
	@touch $@

.PHONY: venv-without-ensurepip
venv-without-ensurepip:
	@rm -rf $(VENV) && $(PYTHON) -m pip install --quiet --target $(VENV)-bootstrap virtualenv
	@PYTHONPATH=$(VENV)-bootstrap $(PYTHON) -m virtualenv --quiet $(VENV) && rm -rf $(VENV)-bootstrap

COMPILE := uv pip compile --quiet --universal --python-version 3.11 --no-header
PINNED := --generate-hashes --no-emit-index-url --no-emit-find-links

lock: $(READY) ## pin the dependencies again, with hashes, from pyproject.toml: one lock for every platform
	@$(BIN)/$(COMPILE) $(PINNED) --all-extras pyproject.toml -o requirements.lock
	@$(BIN)/$(COMPILE) $(PINNED) -c requirements.lock pyproject.toml -o requirements.image.lock
	@$(BIN)/$(COMPILE) --all-extras -c requirements.lock --format pylock.toml pyproject.toml | $(BIN)/python -m tests.wheels

format: $(READY) ## put the code into the house's format
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix-only --quiet .

check: $(READY) ## format, lint, types, import contracts, unit tests: the whole truth about style
	@echo "format"; $(BIN)/ruff format --check .
	@echo "lint"; $(BIN)/ruff check .
	@echo "types: a minute when nothing is cached yet"; $(BIN)/mypy
	@echo "import contracts"; $(BIN)/lint-imports --no-logo
	@echo "unit tests"; $(BIN)/pytest -q tests/unit

test: check test-contract test-integration test-e2e ## everything, against real components

test-unit: test-%: $(READY)
	@start=$$SECONDS; $(BIN)/pytest -q tests/$*; echo "tests/$*: $$((SECONDS - start)) s"

test-contract: $(OLD_CLIENT)

test-contract test-integration test-e2e: test-%: $(READY)
	@$(BIN)/python -m tests.side_by_side tests/$*

demo: $(READY) ## the main job on real files, end to end, on a private stack (INPUT=path for your own files)
	@$(BIN)/keystage demo $(if $(INPUT),--input "$(INPUT)") $(ARGS)

up: $(READY) ## the whole stack in the foreground; Ctrl-C stops it
	@$(BIN)/keystage up $(ARGS)

ENGINE_HOME := $(HOME)/.cache/keystage/engine
ENGINE_VERSION := 0.5.3-beta.196

engine: $(ENGINE_HOME)/bin/secantusd-rs ## build the native database engine (minutes; needs cargo, CMake and a C compiler)

# its manifest asks for a newer Rust than it needs
$(ENGINE_HOME)/bin/secantusd-rs:
	@cargo install secantus-mdb --version $(ENGINE_VERSION) --locked --ignore-rust-version --root $(ENGINE_HOME)

test-engine: $(READY) ## the stores' tests on the native engine, where it is built
	@KEYSTAGE_TEST_ENGINE=secantusd-rs $(BIN)/python -m tests.side_by_side tests/contract

bench: $(READY) ## the benchmarks, into benchmarks/results/latest.json
	@$(BIN)/python -m benchmarks

soak: $(READY) ## work a stack for MINUTES=15 over NAMESPACES=10, and print what each process grew by for one job
	@$(BIN)/python -m benchmarks.soak --minutes $(MINUTES) --namespaces $(NAMESPACES)

mutate: $(READY) ## take each guard away once and see that a test notices (minutes)
	@$(BIN)/python -m tests.mutation

mutate-tenancy: $(READY) ## take each tenant predicate away once and see that a test notices (minutes)
	@$(BIN)/python -m tests.mutation.tenancy $(ARGS)

fuzz: $(READY) ## the API against its own document: many requests of every kind, with keys of every permission (minutes)
	@KEYSTAGE_FUZZ_PHASES=$(FUZZ_PHASES) KEYSTAGE_FUZZ_EXAMPLES=100 KEYSTAGE_FUZZ_SEED=$$RANDOM $(BIN)/pytest -q tests/integration/test_fuzz.py

chaos: $(READY) ## the long fault run: 300 jobs, 30 kills, 8 absences of servers, 2 Redis flushes (SEED=n)
	@$(BIN)/python -m tests.e2e.chaos --seed $(SEED) --jobs 300 --kills 30 --absences 8 --flushes 2

absence: $(READY) ## each backend away for SECONDS=60 in the middle of a batch and of searches, into docs/absence.md
	@$(BIN)/python -m tests.e2e.absence --seconds $(SECONDS) $(ARGS)

clean: ## remove the environment and all caches
	@rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
