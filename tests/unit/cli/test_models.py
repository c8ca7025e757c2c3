"""`keystage models`: what it lists, on which day, with whose entries."""

import json
from typing import Any

import pytest
from click.testing import CliRunner

from cli.operators.models import models


def listed(*arguments: str) -> dict[str, dict[str, Any]]:
    """The rows by name."""
    done = CliRunner().invoke(models, [*arguments, "--json"])
    assert done.exit_code == 0
    return {row["name"]: row for row in json.loads(done.stdout)}


def test_each_model_is_listed_with_who_is_asked_and_what_it_takes() -> None:
    row = listed("--on", "2026-12-01")["gpt-4o"]
    assert row == {
        "name": "gpt-4o",
        "provider": "openai",
        "aliases": ["gpt-4o-2024-08-06", "gpt-4o-2024-11-20"],
        "default": False,
        "asked_as": "gpt-4o",
        "successor": "gpt-6-luna",
        "from": "2027-01-14",
        "class": "standard",
        "window": 128_000,
        "output": 16_384,
        "parameters": {"bound": "max_tokens", "temperature": True, "forced_tool": True, "extra": {}},
    }
    assert listed("--on", "2027-01-14")["gpt-4o"]["asked_as"] == "gpt-6-luna"


def test_an_operators_entries_are_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTAGE_MODELS", '{"my-llama": {"provider": "openai", "class": "large"}}')
    assert (listed()["my-llama"]["asked_as"], listed()["my-llama"]["class"]) == ("my-llama", "large")
    table = CliRunner().invoke(models)
    assert "my-llama" in table.stdout


def test_what_cannot_be_used_is_said_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTAGE_MODELS", '{"my-llama": {}}')
    done = CliRunner().invoke(models)
    assert (done.exit_code, "my-llama.provider" in done.output) == (1, True)
