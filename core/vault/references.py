"""Where a secret may be named, and how: a whole value in a closed list of fields. Pure; resolves nothing.

Anything else that looks like a reference is refused when it is saved, so that it never becomes "just a string".
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import FieldProblem

_NAME = r"[a-z][a-z0-9_]{0,99}"
_WHOLE = re.compile(rf"\$?\{{\{{\s*(?i:secrets?)\.({_NAME})\s*\}}\}}|\$\{{vault:({_NAME})\}}", re.ASCII)
_ONE_EXPRESSION = re.compile(r"\$?\{\{[^{}]*\}\}|\$\{vault:[^{}]*\}")
_LOOKS_LIKE_ONE = re.compile(r"\{[{%][^{}]{0,200}?(?<![\w.'\"])secrets?\s*[.\[|)}]|\$\{vault:", re.IGNORECASE)
"""The name `secrets` in a template, which is none of somebody's object nor in quotes. Bounded, so it stays linear."""

ALLOWED_PLACES = frozenset({("api_key",), ("auth", "secret_ref"), ("auth", "value"), ("headers", "*")})
"""Paths inside a stage's parameters that may hold a reference; `*` is any one name."""


@dataclass(frozen=True)
class Reference:
    """A secret that a field names."""

    name: str
    place: tuple[str | int, ...]
    """the field's path inside the stage's parameters"""


def reference_of(value: object) -> str | None:
    """The secret's name when the whole value is a reference, in any of the published spellings."""
    match = _WHOLE.fullmatch(value.strip()) if isinstance(value, str) else None
    return (match.group(1) or match.group(2)) if match else None


def references_in(parameters: Mapping[str, Any]) -> list[Reference]:
    """The references of one stage's parameters, in places that may hold one. `auth.secret_ref` may be a bare name."""
    found = []
    for place, value in _texts(parameters, ()):
        name = reference_of(value)
        if name is None and place == ("auth", "secret_ref") and re.fullmatch(_NAME, value):
            name = value
        if name and _allowed(place):
            found.append(Reference(name, place))
    return found


def misplaced_references(parameters: Mapping[str, Any]) -> list[FieldProblem]:
    """Fields that name a secret where none may stand, or in another form than a whole value."""
    return [
        FieldProblem(place, _what_is_wrong(place, value), "secret_place")
        for place, value in _texts(parameters, ())
        if (reference_of(value) or _LOOKS_LIKE_ONE.search(value)) and not (reference_of(value) and _allowed(place))
    ]


def _what_is_wrong(place: tuple[str | int, ...], value: str) -> str:
    if _allowed(place) and _ONE_EXPRESSION.fullmatch(value.strip()):
        return (
            "no secret has this name: write {{secrets.name}}, the name a lower-case letter, then up to 99 lower-case "
            "letters, digits and underscores"
        )
    if _allowed(place) and place[0] == "headers":
        return (
            'a secret is the whole value of a header, or named in auth, as {"type": "bearer", "secret_ref": "name"}, '
            "which puts Bearer before it"
        )
    return "a secret may be named only as the whole value of api_key, auth or a header"


def references_anywhere(value: object, at: tuple[str | int, ...]) -> list[FieldProblem]:
    """Fields that name a secret in a structure where none may stand at all; `at` is where the structure stands."""
    return [
        FieldProblem(place, "a secret cannot be named here", "secret_place")
        for place, text in _texts(value, at)
        if reference_of(text) or _LOOKS_LIKE_ONE.search(text)
    ]


def _allowed(place: tuple[str | int, ...]) -> bool:
    return any(
        len(place) == len(allowed)
        and all(
            want == part or (want == "*" and isinstance(part, str)) for want, part in zip(allowed, place, strict=True)
        )
        for allowed in ALLOWED_PLACES
    )


def _texts(value: object, place: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every text in a structure, keys included, with its path."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if _LOOKS_LIKE_ONE.search(str(name)):
                yield (*place, str(name), "key"), str(name)
            yield from _texts(item, (*place, str(name)))
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for index, item in enumerate(value):
            yield from _texts(item, (*place, index))
