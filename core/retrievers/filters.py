"""Filters on documents as the published API writes them: read, and evaluated. Pure; `docs/filters.md` says the same.

`matches` says exactly what a filter means; what of it the vector store can do stands in `narrowing.py`.
"""

import difflib
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias

from core.retrievers.comparing import is_number, order, same
from core.retrievers.instants import has_date_form, instant_of, names_a_moment_otherwise
from core.retrievers.templates import is_templated
from core.words import document_words, folded, query_words

MAX_DEPTH = 8
"""Groups inside groups."""
MAX_CONDITIONS = 64
"""Comparisons in one filter."""
MAX_CHOICES = 1000
"""Values that `in` and `nin` may list."""

CONDITION_KEYS: Final = ("field", "operator", "value")
_WORDS_OF_FILTERS: Final = {name.lower(): name for name in (*CONDITION_KEYS, "AND", "OR", "NOT")}


class Operator(StrEnum):
    """How a field is compared. On a list, one element that fits is enough."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    IN = "in"
    NIN = "nin"
    CONTAINS = "contains"
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"
    EXISTS = "exists"
    IS_NULL = "is_null"
    TEXT = "text"
    """every word of the value is in the field, in any order"""


class Joining(StrEnum):
    """How several expressions make one."""

    AND = "AND"
    OR = "OR"
    NOT = "NOT"
    """none of them holds"""


@dataclass(frozen=True)
class Condition:
    """One comparison."""

    field: str
    operator: Operator
    value: Any


@dataclass(frozen=True)
class Group:
    """Several expressions under one joining."""

    joining: Joining
    parts: tuple["Expression", ...]


Expression: TypeAlias = Condition | Group
Place: TypeAlias = tuple[str | int, ...]


class FilterRefusedError(ValueError):
    """What is wrong with a filter, and where in it."""

    def __init__(self, place: Place, message: str) -> None:
        dotted = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")
        super().__init__(f"{dotted or 'filter'}: {message}")
        self.place = place
        """names and numbers on the way to it"""
        self.message = message


def parse_filter(raw: object, templates: bool = False) -> Expression:
    """Read a filter. A list means AND; with `templates`, a value may still be `{{INPUT.name}}`.

    Raises FilterRefusedError, which says where in the filter and what would be right.
    """
    expression = _Reading(templates).expression(raw, (), 0)
    if (count := _conditions(expression)) > MAX_CONDITIONS:
        raise FilterRefusedError((), f"{count} conditions are more than {MAX_CONDITIONS}")
    return expression


def _conditions(expression: Expression) -> int:
    return 1 if isinstance(expression, Condition) else sum(map(_conditions, expression.parts))


class _Reading:
    """A filter while it is read. Nothing in it is passed over: a condition that was meant would be lost."""

    def __init__(self, templates: bool) -> None:
        self._templates = templates

    def expression(self, raw: object, place: Place, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            raise FilterRefusedError(place, f"nested more than {MAX_DEPTH} deep")
        if isinstance(raw, list):
            return self._group(Joining.AND, raw, place, depth)
        if not isinstance(raw, Mapping):
            raise FilterRefusedError(place, "expected field, operator and value, or one of AND, OR, NOT")
        groups = [name for name, parts in raw.items() if _is_joining(name, parts)]
        if not groups:
            return self._condition(raw, place)
        if len(groups) < len(raw):
            raise FilterRefusedError(place, "AND, OR and NOT cannot stand beside field, operator and value")
        parsed = [self._group(Joining(name.upper()), raw[name], (*place, name), depth) for name in groups]
        return parsed[0] if len(parsed) == 1 else Group(Joining.AND, tuple(parsed))

    def _group(self, joining: Joining, parts: Any, place: Place, depth: int) -> Group:
        if not parts:
            raise FilterRefusedError(place, "needs at least one condition")
        if not isinstance(parts, list):
            return Group(joining, (self.expression(parts, place, depth + 1),))
        inside = (self.expression(part, (*place, index), depth + 1) for index, part in enumerate(parts))
        return Group(joining, tuple(inside))

    def _condition(self, raw: Mapping[str, Any], place: Place) -> Condition:
        for name in raw:
            if name not in CONDITION_KEYS:
                raise FilterRefusedError((*place, name), _why_no_key(name))
        field = raw.get("field")
        if not isinstance(field, str) or not all(field.removeprefix("metadata.").split(".")):
            raise FilterRefusedError((*place, "field"), "a field name is needed, with dots between levels")
        name = raw.get("operator", Operator.EQ)
        name = "nin" if name == "not_in" else name
        if name not in [operator.value for operator in Operator]:
            message = f"{reprlib.repr(name)} is not one of {', '.join(Operator)}"
            raise FilterRefusedError((*place, "operator"), message)
        operator, value = Operator(name), raw.get("value")
        if "value" not in raw and operator in (Operator.EQ, Operator.NE):
            # whoever writes JSON leaves out what is undefined: nobody asked for documents without the field
            raise FilterRefusedError((*place, "value"), f"{operator} needs a value: write null to ask for null")
        if not (self._templates and is_templated(value)) and (problem := _wrong_value(operator, value)):
            raise FilterRefusedError((*place, "value"), problem)
        return Condition(field, operator, value)


def _why_no_key(name: str) -> str:
    if name.upper() in Joining.__members__:
        return f"{name.upper()} takes a condition or a list of them"
    alike = difflib.get_close_matches(name.lower(), _WORDS_OF_FILTERS, n=1)
    meant = f"did you mean {_WORDS_OF_FILTERS[alike[0]]}?" if alike else "a condition has field, operator, value"
    return f"no such key: {meant}"


def _is_joining(name: object, parts: object) -> bool:
    # a condition's own keys are lower-case words; `not` as a field name would be a string value, not a filter
    return isinstance(name, str) and name.upper() in Joining.__members__ and isinstance(parts, list | Mapping)


def _wrong_value(operator: Operator, value: Any) -> str | None:
    """Why an operator cannot be asked with this value: it would never match, whatever is stored."""
    match operator:
        case Operator.IN | Operator.NIN:
            if not isinstance(value, list):
                return f"{operator} needs a list"
            return f"{operator} takes at most {MAX_CHOICES} values" if len(value) > MAX_CHOICES else None
        case Operator.GT | Operator.GTE | Operator.LT | Operator.LTE:
            if not is_number(value) and not isinstance(value, str):
                return f"{operator} needs a number, a date or another text"
            return _wrong_date(value) if isinstance(value, str) else None
        case Operator.TEXT if isinstance(value, str) and not query_words(value):
            return "text needs at least one word"
        case Operator.STARTS_WITH | Operator.ENDS_WITH | Operator.TEXT:
            return None if isinstance(value, str) else f"{operator} needs text"
        case Operator.CONTAINS:
            return None if isinstance(value, str | int | float) else "contains needs a text, a number, true or false"
        case Operator.EXISTS | Operator.IS_NULL:
            return None if isinstance(value, bool | None) else f"{operator} needs true or false"
    return None


def _wrong_date(value: str) -> str | None:
    if names_a_moment_otherwise(value):
        return "write a time with seconds and its offset with a colon, such as 2026-03-01T10:00:00+02:00"
    return "there is no such date" if has_date_form(value) and instant_of(value) is None else None


def matches(expression: Expression, document: Mapping[str, Any], ignore_case: bool = False) -> bool:
    """Whether the document passes."""
    if isinstance(expression, Condition):
        return _holds(expression, document, ignore_case)
    held = (matches(part, document, ignore_case) for part in expression.parts)
    match expression.joining:
        case Joining.AND:
            return all(held)
        case Joining.OR:
            return any(held)
        case Joining.NOT:
            return not any(held)


def value_at(document: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, or None. `metadata.x` and `x` are the same field, as both are in use."""
    found: Any = document
    for name in path.removeprefix("metadata.").split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(name)
    return found


def _compares(operator: Operator, found: Any, value: Any) -> bool:
    """One stored value, or one element of a stored list, against what is asked for."""
    match operator:
        case Operator.GT | Operator.GTE | Operator.LT | Operator.LTE:
            place = order(found, value)
            return place is not None and place in _PLACES[operator]
        case Operator.CONTAINS:
            return value in found if isinstance(found, str) and isinstance(value, str) else same(found, value)
        case Operator.IN:
            return any(same(found, one) for one in value)
        case Operator.STARTS_WITH:
            return isinstance(found, str) and found.startswith(value)
        case Operator.ENDS_WITH:
            return isinstance(found, str) and found.endswith(value)
        case Operator.TEXT:
            return isinstance(found, str) and set(query_words(value)) <= set(document_words(found))
    return same(found, value)


_PLACES: Final[Mapping[Operator, tuple[int, ...]]] = {
    Operator.GT: (1,),
    Operator.GTE: (0, 1),
    Operator.LT: (-1,),
    Operator.LTE: (-1, 0),
}
"""What `order` says where the comparison holds."""
_OPPOSITES: Final = {Operator.NE: Operator.EQ, Operator.NIN: Operator.IN}


def _holds(condition: Condition, document: Mapping[str, Any], ignore_case: bool) -> bool:
    found, operator, value = value_at(document, condition.field), condition.operator, condition.value
    if operator in (Operator.EXISTS, Operator.IS_NULL):
        return (found is None) is ((operator is Operator.IS_NULL) is (value is not False))
    if operator in _OPPOSITES:
        return not _holds(Condition(condition.field, _OPPOSITES[operator], value), document, ignore_case)
    if ignore_case:
        found, value = _folded(found), _folded(value)
    if not isinstance(found, list):
        return _compares(operator, found, value)
    # a list can be what is asked for as a whole, and any one element can
    as_a_whole = operator in (Operator.EQ, Operator.IN) and _compares(operator, found, value)
    return as_a_whole or any(_compares(operator, one, value) for one in found)


def _folded(value: Any) -> Any:
    if isinstance(value, list):
        return [_folded(one) for one in value]
    return folded(value) if isinstance(value, str) else value
