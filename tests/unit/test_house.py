"""The house itself: our packages are the ones imported, no heavy model library has crept in, and guards are found."""

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation.guards import GUARDS
from tests.mutation.noticing import noticed_by, stale_entries, why_unnoticeable
from tests.mutation.predicates import find

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["api", "cli", "config", "core", "pipelines", "workers"])
def test_a_room_is_imported_from_this_checkout(name: str) -> None:
    # PyPI has packages called `config` and `api`; PYTHONPATH must put ours first
    module = importlib.import_module(name)
    assert module.__file__ is not None
    assert Path(module.__file__).is_relative_to(ROOT)


@pytest.mark.parametrize("name", ["torch", "sentence_transformers"])
def test_a_library_that_brings_gigabytes_is_not_installed(name: str) -> None:
    assert importlib.util.find_spec(name) is None


def test_no_lock_names_an_index_or_a_folder_of_a_machine() -> None:
    for lock in ROOT.glob("requirements*.lock"):
        text = lock.read_text()
        assert "file:" not in text
        assert "index-url" not in text


def test_every_guard_stands_where_the_mutation_run_takes_it_away() -> None:
    assert [guard.name for guard in GUARDS if guard.code not in (ROOT / guard.path).read_text()] == []


def test_every_tenant_predicate_has_tests_and_no_entry_means_one_that_is_gone() -> None:
    mutants = find(ROOT)
    assert stale_entries([mutant.name for mutant in mutants]) == []
    assert all(noticed_by(mutant.path) for mutant in mutants if not why_unnoticeable(mutant.name))


@pytest.mark.parametrize("module", ["api.app", "workers.worker", "pipelines.actors"])
def test_no_process_imports_a_providers_client_before_a_model_is_asked(module: str) -> None:
    listing = f"import sys, {module}; print(*sys.modules, sep=',')"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    assert not {"openai", "anthropic", "google.genai"} & set(done.stdout.strip().split(","))
