"""The language models by name: whose one is, which is asked on a day, what it takes, what it is priced as. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Final

from config.language_models import LanguageModel, LanguageModels, language_models
from core.credits.prices import ModelClass

_WORD = re.compile(r"[a-z0-9]+")
_RESOURCE = "models/"
"""Google's names may begin with the kind of thing that they name."""


class LlmProvider(StrEnum):
    """Who runs a model."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GOOGLE = "google"


@dataclass(frozen=True)
class AskedModel:
    """The model that is asked for a name, on some day."""

    requested: str
    """as the stage names it"""
    name: str
    """as it goes out"""
    takes: LanguageModel
    """what a request to it may carry"""
    replaced: bool = False
    """whether it follows the one that was requested"""


class Catalogue:
    """All models that are known, an operator's own entries among them. Immutable."""

    def __init__(self, models: LanguageModels) -> None:
        self._models = models

    def default(self, provider: str) -> str:
        """The model of a stage that names none."""
        defaults = (name for name, entry in self._models.named.items() if entry.default and entry.provider == provider)
        return next(defaults)

    def family(self, name: str) -> LlmProvider | None:
        """Whose model this is, where its name shows it."""
        entry = self._entry(name)
        return LlmProvider(entry.provider) if entry else None

    def asked(self, name: str, provider: str, day: date) -> AskedModel:
        """What is asked on a day when a stage names this model of a provider.

        A name that is another provider's stands for something behind the base URL, and goes out as it is.
        """
        known, entry = self._known(name), self._entry(name)
        if entry is None or entry.provider != provider:
            return AskedModel(name, name, self._models.unknown[provider])
        asked, replaced = known or name, False
        while entry.successor is not None and (entry.since is None or entry.since <= day):
            # settings with a successor that has no entry are refused
            asked, replaced = str(self._known(entry.successor)), True
            entry = self._models.named[self._models.aliases.get(asked, asked)]
        return AskedModel(name, asked, entry, replaced)

    def leaves(self, name: str, provider: str) -> tuple[date, str] | None:
        """The day on which the provider ends this model and what is asked from then on. None while no day is known."""
        entry = self._entry(name)
        if entry is None or entry.provider != provider or entry.successor is None or entry.since is None:
            return None
        return entry.since, self.asked(name, provider, entry.since).name

    def price_class(self, name: str) -> ModelClass:
        """What a token of a model costs goes by this: its entry's class, or else the words in its name."""
        entry = self._entry(name)
        if entry is not None and entry.kind is not None:
            return ModelClass(entry.kind)
        # whole words: there is a "mini" in every gemini
        found = set(_WORD.findall(name.lower()))
        kinds = (ModelClass(kind) for kind, words in self._models.words.items() if found & words)
        return next(kinds, ModelClass.STANDARD)

    def entries(self) -> Mapping[str, LanguageModel]:
        """Every entry by its name, those of several names at once among them."""
        return {**self._models.named, **self._models.patterns}

    def _known(self, name: str) -> str | None:
        """The name as the provider spells it, where there is an entry or an alias for it."""
        bare = name.lower().removeprefix(_RESOURCE)
        return bare if bare in self._models.named or bare in self._models.aliases else None

    def _entry(self, name: str) -> LanguageModel | None:
        bare = name.lower().removeprefix(_RESOURCE)
        named = self._models.named.get(self._models.aliases.get(bare, bare))
        if named is not None:
            return named
        return next((entry for pattern, entry in self._models.patterns.items() if fnmatchcase(bare, pattern)), None)


NO_OVERRIDES: Final = "{}"


def overrides_text(overrides: Mapping[str, Mapping[str, Any]]) -> str:
    """An operator's entries as text, which travels with a call and finds a catalogue again."""
    return json.dumps(overrides, sort_keys=True, default=str)


@lru_cache(maxsize=16)
def catalogue(overrides: str = NO_OVERRIDES) -> Catalogue:
    """The published models, with an operator's entries over them. Building one takes some ms, so a few are kept.

    Raises ValueError for entries that no settings would have taken.
    """
    return Catalogue(language_models(json.loads(overrides)))
