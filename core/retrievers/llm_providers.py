"""The providers of language models by name, which of them a stage asks, and the model that is taken when none is named.

Pure.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

_MODEL_PARAMETERS = ("expansion_model", "model", "model_name")
WHO_IS_ASKED: Final = ("provider", *_MODEL_PARAMETERS)
"""The parameters of a stage that say which provider it asks."""


class LlmProvider(StrEnum):
    """Who runs a model."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GOOGLE = "google"


DEFAULT_MODELS: Final = {
    LlmProvider.OPENAI: "gpt-4o-mini",
    LlmProvider.ANTHROPIC: "claude-haiku-4-5",
    LlmProvider.GOOGLE: "gemini-3.5-flash-lite",
}
"""The model of a stage that names none."""

_FAMILIES: Final = (
    (LlmProvider.ANTHROPIC, re.compile(r"claude", re.IGNORECASE)),
    (LlmProvider.GOOGLE, re.compile(r"(models/)?gemini", re.IGNORECASE)),
    (LlmProvider.OPENAI, re.compile(r"gpt-|chatgpt-|o\d", re.IGNORECASE)),
)
"""How the names of a provider's own models begin."""


def family_of(model: str) -> LlmProvider | None:
    """Whose model this is, where its name shows it."""
    return next((provider for provider, name in _FAMILIES if name.match(model)), None)


def named_model(parameters: Mapping[str, Any]) -> str:
    """The model that a stage's parameters name, in any of the published spellings; empty for none."""
    return str(next((parameters[name] for name in _MODEL_PARAMETERS if parameters.get(name)), ""))


def provider_of(parameters: Mapping[str, Any]) -> str:
    """The provider that a stage's parameters name, or else the one whose model they name."""
    return str(parameters.get("provider") or family_of(named_model(parameters)) or LlmProvider.OPENAI)
