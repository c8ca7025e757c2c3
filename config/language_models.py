"""The language models as data, and how an operator's own entries are laid over them. It asks no model."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

_PUBLISHED: Final = Path(__file__).with_suffix(".toml")
_PATTERN = "*"

Overrides: TypeAlias = Mapping[str, Mapping[str, Any]]
"""An operator's entries: name → the fields that are other than published; null takes one away."""


class LanguageModel(BaseModel):
    """One model: who runs it, what a request to it may carry, what it is priced as, and what follows it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: Literal["openai", "anthropic", "google"]
    """Who runs it. A server of one's own that speaks OpenAI's protocol is `openai`."""
    aliases: tuple[str, ...] = ()
    """Other names of it. Each goes out as it is, until there is a successor to ask."""
    default: bool = False
    """Whether it is asked by stages that name none of this provider's."""
    kind: Literal["small", "standard", "large"] | None = Field(None, alias="class")
    """What it is priced as; by the words in its name when it is not said."""
    successor: str | None = None
    """The model that is asked in its place."""
    since: date | None = Field(None, alias="from")
    """The first day (UTC) on which the successor is asked; always, when there is a successor and no day."""
    window: int | None = Field(None, gt=0)
    """Tokens that it can read and write together."""
    output: int | None = Field(None, gt=0)
    """Tokens that it can write: more are never asked for."""
    temperature: bool = True
    """Whether it takes one."""
    bound: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What OpenAI's protocol calls the most tokens that it may write."""
    forced_tool: bool = True
    """Whether Anthropic's protocol may make it use a tool, which is how it is asked for JSON."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """What the body of each request carries besides: for a model that thinks, to think as little as it can."""


_FIELDS: Final = ", ".join(field.alias or name for name, field in LanguageModel.model_fields.items())


@dataclass(frozen=True)
class LanguageModels:
    """All models, by name."""

    named: Mapping[str, LanguageModel]
    """Entries of single models, by the names that they go out with."""
    aliases: Mapping[str, str]
    """Other name → name."""
    patterns: Mapping[str, LanguageModel]
    """What holds for names without an entry, the longest pattern first."""
    unknown: Mapping[str, LanguageModel]
    """What holds for names that no pattern fits, by provider."""
    words: Mapping[str, frozenset[str]]
    """Class → words of a name that make a model one of it."""


def read_overrides(given: str) -> dict[str, Any]:
    """The entries of a setting: JSON, or the path of a file of JSON or TOML. Raises ValueError."""
    text = given.strip()
    if not text:
        return {}
    if not text.startswith("{"):
        path = Path(text)
        try:
            text = path.read_text()
            if path.suffix == ".toml":
                return _tables(tomllib.loads(text))
        except OSError as error:
            raise ValueError(f"neither JSON nor a file that can be read: {error.strerror}") from None
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path} is no TOML: {error}") from None
    try:
        return _tables(json.loads(text))
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error}") from None


def _tables(read: object) -> dict[str, Any]:
    if not isinstance(read, dict):
        raise ValueError("entries by the names of models are needed")
    # a copy of the published file has its entries one level down
    models = read.get("models", read)
    return models if isinstance(models, dict) else read


def language_models(overrides: Overrides) -> LanguageModels:
    """The published models with an operator's entries laid over them. Raises ValueError, naming the entry."""
    published = _published()
    given = {name.lower(): dict(_fields(name, fields)) for name, fields in overrides.items()}
    if len(given) < len(overrides):
        raise ValueError("two entries have the same name: names do not differ by their letters' case")
    raw = {name: dict(fields) for name, fields in published["models"].items()}
    _one_default(raw, given)
    for name, fields in given.items():
        raw[name] = {**raw.get(name, {}), **fields}
    patterns = dict(sorted((item for item in raw.items() if _PATTERN in item[0]), key=lambda item: len(item[0])))
    built = {name: _entry(name, fields, patterns) for name, fields in raw.items()}
    named = {name: entry for name, entry in built.items() if name not in patterns}
    models = LanguageModels(
        named,
        _aliases(named),
        {name: built[name] for name in reversed(patterns)},
        {name: LanguageModel(**{"provider": name, **fields}) for name, fields in published["unknown"].items()},
        {kind: frozenset(words) for kind, words in published["words"].items()},
    )
    _successors_lead_somewhere(models)
    _each_provider_has_one_default(models)
    return models


@lru_cache(maxsize=1)
def _published() -> dict[str, Any]:
    return tomllib.loads(_PUBLISHED.read_text())


def _fields(name: str, fields: object) -> Mapping[str, Any]:
    if not isinstance(fields, Mapping):
        raise ValueError(f'{name}: an entry is an object, such as {{"provider": "openai"}}')
    return fields


def _one_default(raw: Mapping[str, dict[str, Any]], given: Mapping[str, Mapping[str, Any]]) -> None:
    """An operator's default takes the place of the published one of its provider."""
    for name, fields in given.items():
        if fields.get("default"):
            provider = fields.get("provider") or _inherited(name, raw).get("provider")
            for other, published in raw.items():
                if published.get("default") and _inherited(other, raw).get("provider") == provider:
                    published["default"] = False


def _inherited(name: str, raw: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What an entry says and what the patterns that it fits say for it."""
    fitting = sorted((other for other in raw if _PATTERN in other and fnmatchcase(name, other)), key=len)
    merged: dict[str, Any] = {}
    for fields in (*(raw[other] for other in fitting), raw.get(name, {})):
        merged.update(fields)
    return merged


def _entry(name: str, fields: Mapping[str, Any], patterns: Mapping[str, Mapping[str, Any]]) -> LanguageModel:
    merged = _inherited(name, {**patterns, name: fields})
    if "successor" in fields and fields["successor"] is None:
        # who takes a successor away takes its day away too
        merged.pop("from", None)
    try:
        entry = LanguageModel.model_validate({field: value for field, value in merged.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in (name, *first["loc"]))
        wrong = f"no such field: use {_FIELDS}" if first["type"] == "extra_forbidden" else first["msg"]
        raise ValueError(f"{where}: {wrong}") from None
    if entry.since is not None and entry.successor is None:
        raise ValueError(f"{name}.from: a day needs a successor that is asked from then on")
    if _PATTERN in name and (entry.aliases or entry.default):
        raise ValueError(f"{name}: a name with a * has no aliases and is nobody's default")
    return entry


def _aliases(named: Mapping[str, LanguageModel]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, entry in named.items():
        for alias in entry.aliases:
            if found.setdefault(alias.lower(), name) != name or alias.lower() in named:
                raise ValueError(f"{name}.aliases: {alias!r} is a name of another entry too")
    return found


def _each_provider_has_one_default(models: LanguageModels) -> None:
    for provider in models.unknown:
        found = [name for name, entry in models.named.items() if entry.default and entry.provider == provider]
        if not found:
            raise ValueError(f"no model of {provider} is the default, which stages ask that name none")
        if len(found) > 1:
            raise ValueError(f"{', '.join(found)}: only one model of {provider} can be the default")


def _successors_lead_somewhere(models: LanguageModels) -> None:
    for name, entry in (*models.named.items(), *models.patterns.items()):
        passed = {name}
        follows, after = entry.successor, entry
        while follows is not None:
            known = models.aliases.get(follows.lower(), follows.lower())
            if known not in models.named:
                raise ValueError(f"{name}.successor: {follows!r} has no entry")
            if known in passed:
                raise ValueError(f"{name}.successor: {follows!r} leads back to where it began")
            if models.named[known].provider != after.provider:
                raise ValueError(f"{name}.successor: {follows!r} is of another provider, which has other keys")
            passed.add(known)
            after = models.named[known]
            follows = after.successor
