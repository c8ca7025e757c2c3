"""Conditions on payloads as values, and their one translation into Qdrant's own. Pure: it looks at no point."""

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias


@dataclass(frozen=True)
class Equals:
    """The field, or one element of it, is this text."""

    field: str
    value: str


@dataclass(frozen=True)
class AnyOf:
    """The field, or one element of it, is one of these texts."""

    field: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Between:
    """The field, or one element of it, is a number inside these bounds; a bound left None is open."""

    field: str
    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None


@dataclass(frozen=True)
class BetweenDates:
    """The field, or one element of it, is a text that the engine reads as a date inside these bounds of RFC 3339."""

    field: str
    at_least: str | None = None
    at_most: str | None = None


@dataclass(frozen=True)
class All:
    """Every one holds; none at all holds for every point."""

    filters: tuple["Filter", ...] = ()


@dataclass(frozen=True)
class Some:
    """At least one holds."""

    filters: tuple["Filter", ...]


@dataclass(frozen=True)
class Not:
    """It does not hold, also when the field is missing."""

    filter: "Filter"


Filter: TypeAlias = Equals | AnyOf | Between | BetweenDates | All | Some | Not

EVERYTHING = All()


class FilterTypes(Protocol):
    """The classes of one Qdrant binding; both bindings name them alike, except for ranges."""

    Filter: Any
    FieldCondition: Any
    MatchValue: Any
    MatchAny: Any
    Range: Any
    DatetimeRange: Any


def compile_filter(filter: Filter, types: FilterTypes) -> Any:
    """`filter` as the Filter object of one Qdrant binding."""
    match filter:
        case All(filters):
            return types.Filter(must=[compile_filter(part, types) for part in filters])
        case Some(filters):
            return types.Filter(should=[compile_filter(part, types) for part in filters])
        case Not(inner):
            return types.Filter(must_not=[compile_filter(inner, types)])
        case Equals(field, value):
            condition = types.FieldCondition(key=field, match=types.MatchValue(value=value))
        case AnyOf(field, values):
            condition = types.FieldCondition(key=field, match=types.MatchAny(any=list(values)))
        case Between(field, above, at_least, below, at_most):
            bounds = types.Range(gt=above, gte=at_least, lt=below, lte=at_most)
            condition = types.FieldCondition(key=field, range=bounds)
        case BetweenDates(field, at_least, at_most):
            condition = types.FieldCondition(key=field, range=types.DatetimeRange(gte=at_least, lte=at_most))
    return types.Filter(must=[condition])
