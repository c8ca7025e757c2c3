"""Fills `{{INPUT.name}}` in stage parameters from an execution's inputs. Pure; one pass, and never a secret."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from core.errors import StageError

MOST_CHARACTERS = 256 * 1024
"""What placeholders inside texts may come to in one stage."""
_PLACEHOLDER = re.compile(r"\{\{([^{}]*)\}\}")
"""Spaces are taken off afterwards: a pattern for them would try each way to share out a long row of spaces."""
_INPUT = re.compile(r"(?:input|inputs)\.([A-Za-z_]\w*(?:\.\w+)*)", re.IGNORECASE)


def is_templated(value: object) -> bool:
    """Whether the value is text with a placeholder in it."""
    return isinstance(value, str) and _PLACEHOLDER.search(value) is not None


def is_placeholder(value: object) -> bool:
    """Whether the value is one placeholder and nothing else: what is filled in then keeps its own type."""
    return isinstance(value, str) and _PLACEHOLDER.fullmatch(value.strip()) is not None


def unknown_placeholders(value: object) -> list[str]:
    """The placeholders in a parameter, however deep, that this version cannot fill in."""
    return [expression for expression in _expressions(value) if not _INPUT.fullmatch(expression)]


def render(value: Any, inputs: Mapping[str, Any]) -> Any:
    """The parameter with its placeholders filled in; one that is the whole text keeps the input's own type.

    Raises StageError for an input that was not given, for what is no input, and for more text than a stage may have.
    """
    return _Filling(inputs).fill(value)


class _Filling:
    """One parameter while it is filled in. Placeholders multiply an input, so what they make is counted."""

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        self._inputs = inputs
        self._characters = 0

    def fill(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: self.fill(part) for name, part in value.items()}
        if isinstance(value, list):
            return [self.fill(part) for part in value]
        if not isinstance(value, str):
            return value
        whole = _PLACEHOLDER.fullmatch(value.strip())
        return _look_up(whole.group(1).strip(), self._inputs) if whole else _PLACEHOLDER.sub(self._text_for, value)

    def _text_for(self, placeholder: re.Match[str]) -> str:
        text = _as_text(_look_up(placeholder.group(1).strip(), self._inputs))
        self._characters += len(text)
        if self._characters > MOST_CHARACTERS:
            raise StageError(f"The inputs fill a stage's parameters with more than {MOST_CHARACTERS} characters")
        return text


def _expressions(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for part in value.values():
            yield from _expressions(part)
    elif isinstance(value, list):
        for part in value:
            yield from _expressions(part)
    elif isinstance(value, str):
        yield from map(str.strip, _PLACEHOLDER.findall(value))


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
