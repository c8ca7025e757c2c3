"""What of a filter the vector store can do: it saves work, and never loses a document that matches. Pure.

`matches` says exactly what a filter means. Here a condition may let more through, so none that does stands below a NOT.
"""

import re
from typing import Any

from core.retrievers.comparing import is_number
from core.retrievers.filters import Condition, Expression, Joining, Operator
from core.retrievers.instants import instant_of, utc_text
from core.storage.vectors.filters import EVERYTHING, All, AnyOf, Between, BetweenDates, Equals, Filter, Not, Some

_LONGEST_EXACT_INTEGER = 2**53
"""Beyond it the engine's floats are coarser than Python's integers."""
_PLAIN_PATH = re.compile(r"\w+(\.\w+)*", re.ASCII)
_UPWARDS, _DOWNWARDS = (Operator.GT, Operator.GTE), (Operator.LT, Operator.LTE)


def narrowed(expression: Expression) -> Filter:
    """A filter of the vector store that every matching document passes; others may pass too."""
    if isinstance(expression, Condition):
        return _translated(expression) or _around_dates(expression) or EVERYTHING
    match expression.joining:
        case Joining.AND:
            return All(tuple(narrowed(part) for part in expression.parts))
        case Joining.OR:
            parts = tuple(narrowed(part) for part in expression.parts)
            return EVERYTHING if EVERYTHING in parts else Some(parts)
        case Joining.NOT:
            exact = tuple(part for part in map(_translated, expression.parts) if part is not None)
            return Not(Some(exact)) if exact else EVERYTHING


def _translated(expression: Expression) -> Filter | None:
    """The same condition for the vector store, or None when it has no exact equal there."""
    if not isinstance(expression, Condition):
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
    field, value = _path(expression), expression.value
    if field is None:
        return None
    match expression.operator:
        case Operator.EQ:
            return _is_one_of(field, [value])
        case Operator.IN:
            return _is_one_of(field, value)
        case Operator.NE | Operator.NIN:
            same = _is_one_of(field, [value] if expression.operator is Operator.NE else value)
            return Not(same) if same else None
    return _is_between(field, expression.operator, value)


def _path(condition: Condition) -> str | None:
    return condition.field.removeprefix("metadata.") if _PLAIN_PATH.fullmatch(condition.field) else None


def _is_one_of(field: str, values: list[Any]) -> Filter | None:
    if not values:
        return None
    if all(isinstance(value, str) and instant_of(value) is None for value in values):
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
    return is_number(value) and abs(value) < _LONGEST_EXACT_INTEGER


def _around_dates(condition: Condition) -> Filter | None:
    """The seconds around a date: the engine reads more texts as dates than we do, no more than six digits, and a leap
    second as the one before it."""
    field, moment = _path(condition), instant_of(condition.value)
    if field is None or moment is None:
        return None
    before, after = utc_text(moment[0] - 1), utc_text(moment[0] + 1)
    if before is None or after is None:
        return None
    if condition.operator is Operator.EQ:
        return BetweenDates(field, before, after)
    if condition.operator in _UPWARDS:
        return BetweenDates(field, at_least=before)
    return BetweenDates(field, at_most=after) if condition.operator in _DOWNWARDS else None
