"""Takes JSON of strangers apart, in which anything may stand anywhere: what is not as expected is nothing. Pure."""

from collections.abc import Mapping
from typing import Any


def member(value: object, name: str) -> Any:
    """A member of an object; None when it has none, or is none."""
    return value.get(name) if isinstance(value, Mapping) else None


def objects(value: object) -> list[Mapping[str, Any]]:
    """The objects of a list, or of one object by itself; whatever else stands there is left out."""
    listed = value if isinstance(value, list) else [value]
    return [item for item in listed if isinstance(item, Mapping)]


def text_of(value: object) -> str:
    """A text, or an empty one."""
    return value if isinstance(value, str) else ""
