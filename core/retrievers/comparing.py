"""How two JSON values compare, for filters and sorts alike: what is the same, and what comes before what. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from core.retrievers.instants import instant_of


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal: as JSON has them, and dates by the moment that they name."""
    if isinstance(one, str) and isinstance(other, str):
        return one == other or ((instant := instant_of(one)) is not None and instant == instant_of(other))
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(part, other[name]) for name, part in one.items())
    # Python holds True and 1 for equal, JSON does not
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def order(found: Any, asked: Any) -> int | None:
    """Below 0 when what was found comes before what is asked for, 0 for the same, above 0 behind it.

    None when they cannot be compared: a number goes with numbers, a date with dates, another text with texts.
    """
    if is_number(found) and is_number(asked):
        return _sign(found, asked)
    if not isinstance(found, str) or not isinstance(asked, str):
        return None
    moment = instant_of(asked)
    if moment is None:
        return _sign(found, asked)
    found_moment = instant_of(found)
    return None if found_moment is None else _sign(found_moment, moment)


def sort_key(value: Any) -> tuple[int, Any]:
    """A key that puts any two values in order: numbers, dates by their moments, other texts, then all the rest."""
    if is_number(value):
        return (0, value)
    if not isinstance(value, str):
        return (3, json.dumps(value, sort_keys=True, ensure_ascii=False))
    moment = instant_of(value)
    return (2, value) if moment is None else (1, moment)


def is_number(value: Any) -> bool:
    """Whether a value is a number, which true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _sign(one: Any, other: Any) -> int:
    return int(one > other) - int(one < other)
