"""The filters and tests that templates have: a closed list over plain JSON values, none of which runs anything.

Each is small and cannot make more than it is given, or asks the budget first. Jinja's own are not used: some of them
take a width, a precision or a pattern from the template.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Undefined

from core.errors import StageError
from core.templating.budget import MOST_BITS, current_budget

_MOST_DECIMALS = 12


def as_text(value: Any) -> str:
    """A value as a template prints it: texts as they are, everything else as JSON writes it."""
    if isinstance(value, Undefined):
        # StrictUndefined raises with its own words when it is used
        return str(value)
    if isinstance(value, str):
        return value
    return tojson(value)


def tojson(value: Any) -> str:
    """The value as JSON."""
    try:
        return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        raise StageError("A template's value cannot be written as JSON.") from None


def default(value: Any, fallback: Any = "", boolean: bool = False) -> Any:
    """The value, or the fallback when it is not defined (or, with `boolean`, is empty)."""
    return fallback if isinstance(value, Undefined) or (boolean and not value) else value


def each(value: Any) -> Iterator[Any]:
    """What a loop goes over, a step for each turn."""
    budget = current_budget()
    for item in _items_of(value):
        budget.step()
        yield item


def _items_of(value: Any) -> Any:
    if isinstance(value, Undefined | Mapping | str | range | Sequence):
        return value
    raise StageError("A template can loop over lists, texts and objects only.")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, range) else value


def _join(value: Any, separator: str = "", attribute: str | None = None) -> str:
    parts = [as_text(_at(item, attribute)) for item in _sequence(value)]
    return as_text(separator).join(_affordable(parts, len(as_text(separator))))


def concatenated(*values: Any) -> str:
    """The `~` operator."""
    return "".join(_affordable([as_text(value) for value in values], 0))


def sliced(value: Any, start: Any, stop: Any, step: Any) -> Any:
    """`value[start:stop:step]` of a text or a list."""
    part = slice(start, stop, step)
    if isinstance(value, str | list | tuple | range):
        size = len(range(*part.indices(len(value))))
        if isinstance(value, str):
            current_budget().use_characters(size)
        current_budget().step(1 if isinstance(value, str) else size)
    return value[part]


def _affordable(parts: list[str], between: int) -> list[str]:
    current_budget().use_characters(sum(map(len, parts)) + between * len(parts))
    return parts


def _replace(value: Any, old: str, new: str) -> str:
    text, old, new = as_text(value), as_text(old), as_text(new)
    times = text.count(old) if old else 0
    current_budget().use_characters(len(text) + times * len(new))
    return text.replace(old, new) if old else text


def _truncate(value: Any, length: int = 255, end: str = "…") -> str:
    text = as_text(value)
    return text if len(text) <= length else text[: max(0, int(length))] + as_text(end)


def _round(value: Any, decimals: int = 0) -> float:
    return round(_float(value), max(0, min(_MOST_DECIMALS, int(decimals))))


def _int(value: Any, fallback: int = 0) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return fallback
    return number if number.bit_length() <= MOST_BITS else fallback


def _float(value: Any, fallback: float = 0.0) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return fallback
    return number if math.isfinite(number) else fallback


def _length(value: Any) -> int:
    return len(_items_of(value))


def _sequence(value: Any) -> list[Any]:
    return list(_items_of(value))


def _first(value: Any) -> Any:
    items = _sequence(value)
    return items[0] if items else None


def _last(value: Any) -> Any:
    items = _sequence(value)
    return items[-1] if items else None


def _sort(value: Any, attribute: str | None = None, reverse: bool = False) -> list[Any]:
    def place(item: Any) -> tuple[int, Any]:
        key = _at(item, attribute)
        if isinstance(key, int | float):
            return (0, key)
        return (1, key) if isinstance(key, str) else (2, as_text(key))

    return sorted(_sequence(value), key=place, reverse=bool(reverse))


def _unique(value: Any) -> list[Any]:
    return list({as_text(item): item for item in _sequence(value)}.values())


def _map(value: Any, *, attribute: str, default: Any = None) -> list[Any]:
    return [_at(item, attribute, default) for item in _sequence(value)]


def _selectattr(value: Any, attribute: str, test: str = "truthy", other: Any = None) -> list[Any]:
    return [item for item in _sequence(value) if _passes(_at(item, attribute), test, other)]


def _rejectattr(value: Any, attribute: str, test: str = "truthy", other: Any = None) -> list[Any]:
    return [item for item in _sequence(value) if not _passes(_at(item, attribute), test, other)]


def _passes(value: Any, test: str, other: Any) -> bool:
    if test == "truthy":
        return bool(value)
    if test not in TESTS:
        raise StageError(f"A template's test {str(test)[:40]!r} does not exist.")
    found = TESTS[test]
    return bool(found(value) if other is None else found(value, other))


def _at(item: Any, attribute: str | None, fallback: Any = None) -> Any:
    """What stands at a dotted path of an item."""
    for name in [] if attribute is None else str(attribute).split("."):
        if not isinstance(item, Mapping) or name not in item:
            return fallback
        item = item[name]
    return item


def _numbers(value: Any) -> list[Any]:
    return [item for item in _sequence(value) if isinstance(item, int | float)]


def _pairs(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, Mapping) else []


def _get(value: Any, name: Any, fallback: Any = None) -> Any:
    return value.get(name, fallback) if isinstance(value, Mapping) else fallback


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "abs": lambda value: abs(_float(value)),
    "capitalize": lambda value: as_text(value).capitalize(),
    "count": _length,
    "d": default,
    "default": default,
    "dictsort": lambda value: sorted(_pairs(value), key=lambda pair: str(pair[0])),
    "first": _first,
    "float": _float,
    "get": _get,
    "int": _int,
    "items": _pairs,
    "join": _join,
    "keys": lambda value: [name for name, _ in _pairs(value)],
    "last": _last,
    "length": _length,
    "list": _sequence,
    "lower": lambda value: as_text(value).lower(),
    "map": _map,
    "max": lambda value: max(_numbers(value), default=None),
    "min": lambda value: min(_numbers(value), default=None),
    "rejectattr": _rejectattr,
    "replace": _replace,
    "reverse": lambda value: value[::-1] if isinstance(value, str) else _sequence(value)[::-1],
    "round": _round,
    "selectattr": _selectattr,
    "sort": _sort,
    "split": lambda value, separator=None: as_text(value).split(as_text(separator) if separator else None),
    "string": as_text,
    "sum": lambda value: sum(_numbers(value)),
    "title": lambda value: as_text(value).title(),
    "tojson": tojson,
    "trim": lambda value: as_text(value).strip(),
    "truncate": _truncate,
    "unique": _unique,
    "urlencode": lambda value: quote(as_text(value), safe=""),
    "upper": lambda value: as_text(value).upper(),
    "values": lambda value: [item for _, item in _pairs(value)],
}
"""Filter name → code."""

TESTS: Final[Mapping[str, Callable[..., bool]]] = {
    "boolean": lambda value: isinstance(value, bool),
    "defined": lambda value: not isinstance(value, Undefined),
    "divisibleby": lambda value, other: bool(_int(other)) and _int(value) % _int(other) == 0,
    "eq": lambda value, other: bool(value == other),
    "equalto": lambda value, other: bool(value == other),
    "even": lambda value: _int(value) % 2 == 0,
    "false": lambda value: value is False,
    "ge": lambda value, other: _float(value) >= _float(other),
    "gt": lambda value, other: _float(value) > _float(other),
    "in": lambda value, other: isinstance(other, str | list | tuple | Mapping) and value in other,
    "le": lambda value, other: _float(value) <= _float(other),
    "lt": lambda value, other: _float(value) < _float(other),
    "mapping": lambda value: isinstance(value, Mapping),
    "ne": lambda value, other: bool(value != other),
    "none": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "odd": lambda value: _int(value) % 2 == 1,
    "sequence": lambda value: isinstance(value, list | tuple | str),
    "string": lambda value: isinstance(value, str),
    "true": lambda value: value is True,
    "undefined": lambda value: isinstance(value, Undefined),
}
"""Test name → code."""
