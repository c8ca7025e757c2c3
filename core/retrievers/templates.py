"""Fills `{{INPUT.name}}` in stage parameters from an execution's inputs. Pure; one pass, and never a secret."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from core.errors import StageError

_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_INPUT = re.compile(r"(?:input|inputs)\.([A-Za-z_]\w*(?:\.\w+)*)", re.IGNORECASE)


def is_templated(value: object) -> bool:
    """Whether the value is text with a placeholder in it."""
    return isinstance(value, str) and _PLACEHOLDER.search(value) is not None


def unknown_placeholders(value: object) -> list[str]:
    """The placeholders in a parameter, however deep, that this version cannot fill in."""
    return [expression for expression in _expressions(value) if not _INPUT.fullmatch(expression)]


def render(value: Any, inputs: Mapping[str, Any]) -> Any:
    """The parameter with its placeholders filled in; one that is the whole text keeps the input's own type.

    Raises StageError for an input that was not given and for what is no input.
    """
    if isinstance(value, Mapping):
        return {name: render(part, inputs) for name, part in value.items()}
    if isinstance(value, list):
        return [render(part, inputs) for part in value]
    if not isinstance(value, str):
        return value
    whole = _PLACEHOLDER.fullmatch(value.strip())
    if whole:
        return _look_up(whole.group(1), inputs)
    return _PLACEHOLDER.sub(lambda found: _as_text(_look_up(found.group(1), inputs)), value)


def _expressions(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for part in value.values():
            yield from _expressions(part)
    elif isinstance(value, list):
        for part in value:
            yield from _expressions(part)
    elif isinstance(value, str):
        yield from _PLACEHOLDER.findall(value)


def _look_up(expression: str, inputs: Mapping[str, Any]) -> Any:
    named = _INPUT.fullmatch(expression)
    if not named:
        raise StageError(f"{{{{{expression}}}}} cannot be filled in here: use {{{{INPUT.name}}}}")
    found: Any = inputs
    for name in named.group(1).split("."):
        if not isinstance(found, Mapping) or name not in found:
            raise StageError(f"The input {named.group(1)!r} was not given")
        found = found[name]
    return found


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
