"""The language models as data: who follows whom from which day, what each takes, what each is priced as."""

import re
from datetime import date
from pathlib import Path
from typing import Any, get_args

import pytest

from config.language_models import LanguageModel, language_models
from core.credits.prices import ModelClass
from core.language_models.catalogue import Catalogue, LlmProvider, catalogue, overrides_text

ROOT = Path(__file__).parents[3]
BEFORE, ON, AFTER = date(2027, 1, 13), date(2027, 1, 14), date(2028, 1, 1)
TODAY = date(2026, 12, 1)


def with_entries(**entries: dict[str, Any]) -> Catalogue:
    """The models with an operator's entries; `_` stands for a dash in their names."""
    return catalogue(overrides_text({name.replace("_", "-"): fields for name, fields in entries.items()}))


@pytest.mark.parametrize(
    ("name", "provider", "today", "later"),
    [
        # the names of the security page
        ("gpt-4o", "openai", "gpt-4o", "gpt-6-luna"),
        ("gpt-4o-mini", "openai", "gpt-4o-mini", "gpt-6-luna"),
        ("claude-3-haiku", "anthropic", "claude-haiku-4-5", "claude-haiku-4-5"),
        ("claude-3-sonnet", "anthropic", "claude-sonnet-4-6", "claude-sonnet-4-6"),
        ("claude-3-opus", "anthropic", "claude-opus-4-8", "claude-opus-4-8"),
        ("gemini-2.0-flash", "google", "gemini-3.5-flash-lite", "gemini-3.5-flash-lite"),
        ("gemini-1.5-pro", "google", "gemini-3.8-flash", "gemini-3.8-flash"),
        # with their dates, in other letters, under Google's longer name
        ("gpt-4o-2024-08-06", "openai", "gpt-4o-2024-08-06", "gpt-6-luna"),
        ("claude-3-haiku-20240307", "anthropic", "claude-haiku-4-5", "claude-haiku-4-5"),
        ("GPT-4o", "openai", "gpt-4o", "gpt-6-luna"),
        ("models/gemini-2.0-flash", "google", "gemini-3.5-flash-lite", "gemini-3.5-flash-lite"),
        # a successor of a successor
        ("gemini-3-flash-preview", "google", "gemini-3.6-flash", "gemini-3.6-flash"),
        ("gemini-2.0-flash-lite", "google", "gemini-3.1-flash-lite", "gemini-3.5-flash-lite"),
        # nobody's, and another's behind a base URL
        ("llama-3", "openai", "llama-3", "llama-3"),
        ("gemini-1.5-pro", "openai", "gemini-1.5-pro", "gemini-1.5-pro"),
        ("gemma-3", "google", "gemma-3", "gemma-3"),
    ],
)
def test_a_name_keeps_working_by_its_successors(name: str, provider: str, today: str, later: str) -> None:
    known = catalogue()
    assert (known.asked(name, provider, TODAY).name, known.asked(name, provider, AFTER).name) == (today, later)
    assert known.asked(name, provider, TODAY).requested == name
    assert known.asked(name, provider, TODAY).replaced is (today.lower() not in name.lower())


def test_a_successor_is_asked_from_its_day_on() -> None:
    known = catalogue()
    assert [known.asked("gpt-4o", "openai", day).name for day in (BEFORE, ON, AFTER)] == [
        "gpt-4o",
        "gpt-6-luna",
        "gpt-6-luna",
    ]
    assert known.leaves("gpt-4o", "openai") == (ON, "gpt-6-luna")
    assert known.leaves("gpt-6-luna", "openai") is None


@pytest.mark.parametrize(
    ("name", "provider", "bound", "temperature", "forced_tool"),
    [
        ("gpt-4o-mini", "openai", "max_tokens", True, True),
        ("gpt-6-luna", "openai", "max_completion_tokens", False, True),
        ("gpt-6.2-astra", "openai", "max_completion_tokens", False, True),
        # names that no entry has
        ("gpt-6.9-nova", "openai", "max_completion_tokens", False, True),
        ("gpt-9", "openai", "max_completion_tokens", False, True),
        ("o7-large", "openai", "max_completion_tokens", False, True),
        ("gpt-4.2-turbo", "openai", "max_tokens", True, True),
        ("gpt-oss-120b", "openai", "max_tokens", True, True),
        ("mistral-large-latest", "openai", "max_tokens", True, True),
        ("claude-opus-4-6", "anthropic", "max_tokens", True, True),
        ("claude-opus-4-7", "anthropic", "max_tokens", False, True),
        ("claude-opus-5-5", "anthropic", "max_tokens", False, False),
        ("claude-opus-9", "anthropic", "max_tokens", False, False),
        ("kimi-k4", "anthropic", "max_tokens", False, False),
        ("gemini-2.5-flash-lite", "google", "max_tokens", True, True),
        ("gemini-3.5-flash-lite", "google", "max_tokens", False, True),
        ("gemini-5-neon", "google", "max_tokens", False, True),
    ],
)
def test_each_model_says_what_it_takes(
    name: str, provider: str, bound: str, temperature: bool, forced_tool: bool
) -> None:
    takes = catalogue().asked(name, provider, TODAY).takes
    assert (takes.bound, takes.temperature, takes.forced_tool) == (bound, temperature, forced_tool)


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("gpt-4o-mini", ModelClass.SMALL),
        ("gpt-6-luna", ModelClass.SMALL),
        ("claude-3-haiku", ModelClass.SMALL),
        ("gemini-3.5-flash-lite", ModelClass.SMALL),
        ("gemini-2.0-flash", ModelClass.SMALL),
        ("gpt-4o", ModelClass.STANDARD),
        ("gpt-6.1-sol", ModelClass.STANDARD),
        ("claude-3-sonnet", ModelClass.STANDARD),
        ("anything", ModelClass.STANDARD),
        ("gemini-1.5-pro", ModelClass.STANDARD),
        ("models/gemini-ultra", ModelClass.LARGE),
        ("o1-mini", ModelClass.SMALL),
        ("mistral-large-latest", ModelClass.LARGE),
        ("claude-3-opus", ModelClass.LARGE),
        ("gpt-6.2-astra", ModelClass.LARGE),
    ],
)
def test_a_models_class_is_its_entrys_or_in_its_name(model: str, kind: ModelClass) -> None:
    assert catalogue().price_class(model) is kind


def test_every_provider_has_one_default_that_is_served_today() -> None:
    assert get_args(LanguageModel.model_fields["provider"].annotation) == tuple(LlmProvider)
    for provider in LlmProvider:
        defaults = [name for name, entry in catalogue().entries().items() if entry.default]
        assert len(defaults) == len(LlmProvider)
        assert catalogue().asked(catalogue().default(provider), provider, TODAY).replaced is False


def test_no_models_name_stands_in_code() -> None:
    names = [name for name, entry in language_models({}).named.items()]
    names += [alias for entry in language_models({}).named.values() for alias in entry.aliases]
    standing = re.compile("|".join(rf"(?<![\w-]){re.escape(name)}(?![\w.-])" for name in names if len(name) > 2))
    rooms = ("api", "cli", "config", "core", "pipelines", "workers")
    files = [file for room in rooms for file in (ROOT / room).rglob("*.py")]
    assert len(files) > 200
    assert {str(file): found for file in files if (found := standing.findall(file.read_text()))} == {}


def test_an_operator_changes_single_figures_and_adds_models() -> None:
    sooner = with_entries(gpt_4o={"successor": "gpt-6.1-terra", "from": "2026-12-01"})
    asked = sooner.asked("gpt-4o", "openai", TODAY)
    assert (asked.name, asked.replaced) == ("gpt-6.1-terra", True)
    assert sooner.price_class("gpt-4o") is ModelClass.STANDARD
    # a proxy that goes on serving it
    kept = with_entries(gpt_4o={"successor": None})
    assert kept.asked("gpt-4o", "openai", AFTER).name == "gpt-4o"
    added = with_entries(gpt_7={"class": "large", "output": 10, "extra": {"reasoning_effort": "low"}})
    takes = added.asked("gpt-7", "openai", TODAY).takes
    # what holds for all of the family holds for it
    assert (takes.bound, takes.output, added.price_class("gpt-7")) == ("max_completion_tokens", 10, ModelClass.LARGE)
    own = with_entries(my_llama={"provider": "openai", "default": True})
    assert (own.default("openai"), own.family("My-Llama")) == ("my-llama", LlmProvider.OPENAI)
    assert own.default("google") == catalogue().default("google")
    assert catalogue().default("openai") != "my-llama"
