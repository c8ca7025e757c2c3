"""Finds credentials that somebody wrote into a stage instead of storing them in the vault. Pure; repeats none."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from config.redaction import redacted
from core.retrievers.templates import is_templated
from core.vault.references import reference_of

KEY_IN_CLEAR: Final = "store the key in the vault and name it here as {{secrets.name}}"
_KEY = "api_key"
_TEMPLATE = re.compile(r"\{\{[^{}]*\}\}|\{%[^{}]*%\}")
_LOOKED_AT = 2_000
"""Characters of one text: the shapes take time with the square of its length."""
_AUTHORITY = re.compile(r"[a-z]+://[^/?#]*", re.IGNORECASE)


def keys_in_clear(parameters: Mapping[str, Any]) -> list[tuple[str | int, ...]]:
    """The places of keys in a stage's parameters: an `api_key` of the stage itself that is no reference, and deeper
    inside one that is a plain text."""
    own = parameters.get(_KEY)
    places: list[tuple[str | int, ...]] = [(_KEY,)] if own is not None and reference_of(own) is None else []
    return places + [place for place in _plain_keys(parameters, ()) if len(place) > 1]


def is_credential(text: str, name: str = "") -> bool:
    """Whether a text has the shape of a key, a token or a password, or is written out under a `name` for one.

    What a template fills in is not written here, and no matter.
    """
    around = _written(text)
    named = f"{name}={around}" if around == text[:_LOOKED_AT] else around
    return redacted(around) != around or redacted(named) != named


def has_credential(url: str) -> bool:
    """Whether a URL has a user's name in it, or the shape of a credential behind its host."""
    written = _written(url)
    authority = _AUTHORITY.match(written)
    return "@" in authority.group() or is_credential(written[authority.end() :]) if authority else False


def _written(text: str) -> str:
    return _TEMPLATE.sub(",", text)[:_LOOKED_AT]


def _plain_keys(value: object, place: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            if name == _KEY and isinstance(part, str) and part and not is_templated(part):
                yield (*place, name)
            else:
                yield from _plain_keys(part, (*place, str(name)))
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for index, part in enumerate(value):
            yield from _plain_keys(part, (*place, index))
