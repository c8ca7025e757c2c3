"""Filters on documents as the published API writes them: read, evaluated, and narrowed to what the vector store can do.

Pure. `matches` says exactly what a filter means; `narrowed` only saves work, and never loses a document that matches.
"""

import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias

from core.retrievers.templates import is_templated
from core.storage.vectors.filters import EVERYTHING, All, AnyOf, Between, Equals, Filter, Not, Some
from core.words import document_words, folded, query_words

_LONGEST_EXACT_INTEGER = 2**53
"""Beyond it the engine's floats are coarser than Python's integers."""
_PLAIN_PATH = re.compile(r"\w+(\.\w+)*", re.ASCII)
MAX_DEPTH = 8
"""Groups inside groups."""
MAX_CONDITIONS = 64
"""Comparisons in one filter."""
MAX_CHOICES = 1000
"""Values that `in` and `nin` may list."""


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
    """every word of the value is in the field, in any order, words as in `core/words.py`"""


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


def parse_filter(raw: object, templates: bool = False) -> Expression:
    """Read a filter. A list means AND; with `templates`, a value may still be `{{INPUT.name}}`.

    Raises ValueError, which says where in the filter and what would be right.
    """
    expression = _parse(raw, templates, "", 0)
    if (count := _conditions(expression)) > MAX_CONDITIONS:
        raise ValueError(f"filter: {count} conditions are more than {MAX_CONDITIONS}")
    return expression


def _conditions(expression: Expression) -> int:
    return 1 if isinstance(expression, Condition) else sum(map(_conditions, expression.parts))


def _parse(raw: object, templates: bool, where: str, depth: int) -> Expression:
    if depth > MAX_DEPTH:
        raise ValueError(f"{where or 'filter'}: nested more than {MAX_DEPTH} deep")
    if isinstance(raw, list):
        raw = {Joining.AND: raw}
    if not isinstance(raw, Mapping):
        raise ValueError(f"{where or 'filter'}: expected field, operator and value, or one of AND, OR, NOT")
    groups = [(Joining(name.upper()), parts) for name, parts in raw.items() if _is_joining(name, parts)]
    if not groups:
        return _parse_condition(raw, templates, where)
    if len(groups) < len(raw):
        raise ValueError(f"{where or 'filter'}: AND, OR and NOT cannot stand beside field, operator and value")
    parsed = [_parse_group(joining, parts, templates, where, depth) for joining, parts in groups]
    return parsed[0] if len(parsed) == 1 else Group(Joining.AND, tuple(parsed))


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


def narrowed(expression: Expression) -> Filter:
    """A filter of the vector store that every matching document passes; others may pass too."""
    if isinstance(expression, Group) and expression.joining is Joining.AND:
        return All(tuple(narrowed(part) for part in expression.parts))
    return _translated(expression) or EVERYTHING


def value_at(document: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, or None. `metadata.x` and `x` are the same field, as both are in use."""
    found: Any = document
    for name in path.removeprefix("metadata.").split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(name)
    return found


def _is_joining(name: object, parts: object) -> bool:
    # a condition's own keys are lower-case words; `not` as a field name would be a string value, not a filter
    return isinstance(name, str) and name.upper() in Joining.__members__ and isinstance(parts, list | Mapping)


def _parse_group(joining: Joining, parts: Any, templates: bool, where: str, depth: int) -> Group:
    items = parts if isinstance(parts, list) else [parts]
    if not items:
        raise ValueError(f"{where}{joining}: needs at least one condition")
    return Group(
        joining,
        tuple(_parse(item, templates, f"{where}{joining}[{index}].", depth + 1) for index, item in enumerate(items)),
    )


def _parse_condition(raw: Mapping[str, Any], templates: bool, where: str) -> Condition:
    field = raw.get("field")
    if not isinstance(field, str) or not field:
        raise ValueError(f"{where}field: a field name is needed")
    name = raw.get("operator", Operator.EQ)
    name = "nin" if name == "not_in" else name
    if name not in [operator.value for operator in Operator]:
        raise ValueError(f"{where}operator: {reprlib.repr(name)} is not one of {', '.join(Operator)}")
    operator = Operator(name)
    value = raw.get("value")
    if templates and is_templated(value):
        return Condition(field, operator, value)
    if operator in (Operator.IN, Operator.NIN):
        _check_choices(operator, value, where)
    if operator in _TEXT_OPERATORS and not isinstance(value, str):
        raise ValueError(f"{where}value: {operator} needs text")
    if operator is Operator.TEXT and not query_words(str(value)):
        raise ValueError(f"{where}value: {operator} needs at least one word")
    if operator in (Operator.EXISTS, Operator.IS_NULL) and not isinstance(value, bool | None):
        raise ValueError(f"{where}value: {operator} needs true or false")
    return Condition(field, operator, value)


def _check_choices(operator: Operator, value: object, where: str) -> None:
    if not isinstance(value, list):
        raise ValueError(f"{where}value: {operator} needs a list")
    if len(value) > MAX_CHOICES:
        raise ValueError(f"{where}value: {operator} takes at most {MAX_CHOICES} values")


_TEXT_OPERATORS: Final = (Operator.STARTS_WITH, Operator.ENDS_WITH, Operator.TEXT)

_COMPARISONS: Final[Mapping[Operator, Callable[[Any, Any], bool]]] = {
    Operator.EQ: lambda found, value: _same(found, value),
    Operator.GT: lambda found, value: _comparable(found, value) and found > value,
    Operator.GTE: lambda found, value: _comparable(found, value) and found >= value,
    Operator.LT: lambda found, value: _comparable(found, value) and found < value,
    Operator.LTE: lambda found, value: _comparable(found, value) and found <= value,
    Operator.IN: lambda found, value: any(_same(found, one) for one in value),
    Operator.CONTAINS: lambda found, value: (
        value in found if isinstance(found, str) and isinstance(value, str) else _same(found, value)
    ),
    Operator.STARTS_WITH: lambda found, value: isinstance(found, str) and found.startswith(value),
    Operator.ENDS_WITH: lambda found, value: isinstance(found, str) and found.endswith(value),
    Operator.TEXT: lambda found, value: isinstance(found, str) and _has_words(found, value),
}


def _holds(condition: Condition, document: Mapping[str, Any], ignore_case: bool) -> bool:
    found, value = value_at(document, condition.field), condition.value
    match condition.operator:
        case Operator.EXISTS:
            return (found is not None) is (value is not False)
        case Operator.IS_NULL:
            return (found is None) is (value is not False)
        case Operator.NE | Operator.NIN:
            opposite = Operator.EQ if condition.operator is Operator.NE else Operator.IN
            return not _holds(Condition(condition.field, opposite, value), document, ignore_case)
    if ignore_case:
        found, value = _folded(found), _folded(value)
    compare = _COMPARISONS[condition.operator]
    if condition.operator is Operator.EQ and _same(found, value):
        return True
    return any(compare(one, value) for one in (found if isinstance(found, list) else [found]))


def _has_words(found: str, value: str) -> bool:
    return set(query_words(value)) <= set(document_words(found))


def _same(found: Any, value: Any) -> bool:
    # Python holds True and 1 for equal, JSON does not
    return isinstance(found, bool) is isinstance(value, bool) and bool(found == value)


def _comparable(found: Any, value: Any) -> bool:
    return (_is_number(found) and _is_number(value)) or (isinstance(found, str) and isinstance(value, str))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _folded(value: Any) -> Any:
    if isinstance(value, list):
        return [_folded(one) for one in value]
    return folded(value) if isinstance(value, str) else value


def _translated(expression: Expression) -> Filter | None:
    """The same condition for the vector store, or None when it has no exact equal there."""
    if isinstance(expression, Group):
        parts = [_translated(part) for part in expression.parts]
        exact = tuple(part for part in parts if part is not None)
        if len(exact) < len(parts):
            return None
        match expression.joining:
            case Joining.AND:
                return All(exact)
            case Joining.OR:
                return Some(exact)
            case Joining.NOT:
                return Not(Some(exact))
    if not _PLAIN_PATH.fullmatch(expression.field):
        return None
    field, value = expression.field.removeprefix("metadata."), expression.value
    match expression.operator:
        case Operator.EQ:
            return _is_one_of(field, [value])
        case Operator.IN:
            return _is_one_of(field, value)
        case Operator.NE | Operator.NIN:
            same = _is_one_of(field, [value] if expression.operator is Operator.NE else value)
            return Not(same) if same else None
    return _is_between(field, expression.operator, value)


def _is_one_of(field: str, values: list[Any]) -> Filter | None:
    if not values:
        return None
    if all(isinstance(value, str) for value in values):
        return Equals(field, values[0]) if len(values) == 1 else AnyOf(field, tuple(values))
    if all(_is_exact_number(value) for value in values):
        return Some(tuple(Between(field, at_least=float(value), at_most=float(value)) for value in values))
    return None


def _is_between(field: str, operator: Operator, value: Any) -> Filter | None:
    if not _is_exact_number(value):
        return None
    match operator:
        case Operator.GT:
            return Between(field, above=float(value))
        case Operator.GTE:
            return Between(field, at_least=float(value))
        case Operator.LT:
            return Between(field, below=float(value))
        case Operator.LTE:
            return Between(field, at_most=float(value))
    return None


def _is_exact_number(value: Any) -> bool:
    return _is_number(value) and abs(value) < _LONGEST_EXACT_INTEGER
