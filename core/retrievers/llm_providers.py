"""Which model a stage asks, and what is to be said about it when its provider ends it. Pure."""

from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from core.language_models.catalogue import Catalogue, LlmProvider
from core.retrievers.templates import is_templated

_MODEL_PARAMETERS = ("expansion_model", "model", "model_name")
WHO_IS_ASKED: Final = ("provider", *_MODEL_PARAMETERS)
"""The parameters of a stage that say which provider it asks."""


def named_model(parameters: Mapping[str, Any]) -> str:
    """The model that a stage's parameters name, in any of the published spellings; empty for none."""
    return str(next((parameters[name] for name in _MODEL_PARAMETERS if parameters.get(name)), ""))


def provider_of(parameters: Mapping[str, Any], models: Catalogue) -> str:
    """The provider that a stage's parameters name, or else the one whose model they name."""
    return str(parameters.get("provider") or models.family(named_model(parameters)) or LlmProvider.OPENAI)


def model_note(parameters: Mapping[str, Any], models: Catalogue, day: date) -> str | None:
    """That the model which a stored stage names is not asked any more, or from when on. None when that is not known.

    What an input may name is not known yet.
    """
    name, provider = named_model(parameters), provider_of(parameters, models)
    if not name or is_templated(name) or provider not in list(LlmProvider):
        return None
    asked = models.asked(name, provider, day)
    if asked.replaced:
        return f"{provider} serves {name} no more: {asked.name} is asked in its place."
    ends = models.leaves(name, provider)
    return f"{provider} serves {name} until {ends[0]}: {ends[1]} is asked from then on." if ends else None
