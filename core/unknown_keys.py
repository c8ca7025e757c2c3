"""Which keys of a JSON value its model does not read, at every depth, and what was probably meant. Pure.

One walk over the model's own fields beside what was sent. What is a customer's own data (an object of any keys, a field
of any type) is not looked into.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel

Location = tuple[str | int, ...]

_ALIKE: Final = 0.75
"""How much of two names must agree for one to be a slip of the other."""
_SHOWN: Final = 20
_LONGEST_SHOWN: Final = 200
_LOOKED_AT: Final = 50
"""Keys of one object of a customer's own data that are compared with those that have an effect."""
_LONGEST_NAME: Final = 100
"""Characters of a name that can be a slip: no known one has half as many."""
_REMEMBERED: Final = 4096
"""Names whose nearest one is remembered, as the objects of a batch have the same ones: 2 MB at most."""


@dataclass(frozen=True)
class UnknownKey:
    """A key that has no effect."""

    location: Location
    known: tuple[str, ...] = ()
    """the keys that could have stood there"""
    is_data: bool = False
    """whether it is kept as the customer's own; it is named because it is nearly one that has an effect"""
    overruled_by: str | None = None
    """the other name of the same field, which was sent too and counts"""

    @property
    def path(self) -> str:
        """Its place with dots, shortened to what a message can hold."""
        return ".".join(map(str, self.location))[:_LONGEST_SHOWN]

    @property
    def meant(self) -> str | None:
        """The key that it is a slip of."""
        return nearest(str(self.location[-1]), self.known)


def unknown_keys(model: type[BaseModel], given: object, at: Location = ()) -> list[UnknownKey]:
    """The keys of `given`, which stands at `at`, that `model` does not read. A null asks for nothing and is no slip."""
    return list(_of_model(model, given, at)) if isinstance(given, Mapping) else []


def warnings_of(found: list[UnknownKey], noun: str = "key") -> list[str]:
    """The same in sentences: the first twenty, and how many more there are."""
    said = [_sentence(one, noun) for one in found[:_SHOWN]]
    return [*said, f"{len(found) - _SHOWN} more were ignored."] if len(found) > _SHOWN else said


def nearest(name: str, known: tuple[str, ...]) -> str | None:
    """The one of the known names that this is a slip of."""
    # what is far longer is none, and is not remembered: a name may be as long as a body
    return _nearest(name, known) if len(name) <= _LONGEST_NAME else None


@lru_cache(_REMEMBERED)
def _nearest(name: str, known: tuple[str, ...]) -> str | None:
    written = name.lower().replace("-", "_")
    # letter by letter only where it can be: a body may have half a million keys
    near = [one for one in known if abs(len(one) - len(written)) <= 3 and len(set(one) ^ set(written)) <= 4]
    return next(iter(difflib.get_close_matches(written, near, n=1, cutoff=_ALIKE)), None)


def _sentence(one: UnknownKey, noun: str) -> str:
    if one.overruled_by:
        return f"The {noun} {one.path!r} was ignored: {one.overruled_by!r} says the same, and counts."
    meant = one.meant
    if one.is_data:
        return f"The {noun} {one.path!r} is kept as data and has no effect; did you mean {meant!r}?"
    return f"Unknown {noun} {one.path!r} was ignored" + (f"; did you mean {meant!r}?" if meant else ".")


def _of_model(model: type[BaseModel], given: Mapping[str, Any], at: Location) -> Iterator[UnknownKey]:
    names = {field: keys_of(model, field) for field in model.model_fields}
    fields = {key: field for field, keys in names.items() for key in keys}
    keeps_all, looked_at = model.model_config.get("extra") == "allow", 0
    for key, value in given.items():
        field = fields.get(key)
        if value is None:
            continue
        if field is not None:
            first = next(name for name in names[field] if given.get(name) is not None)
            if first != key and given[first] != value:
                yield UnknownKey((*at, key), overruled_by=first)
            else:
                yield from _of_type(model.model_fields[field].annotation, value, (*at, key))
            continue
        looked_at += 1
        if keeps_all and looked_at > _LOOKED_AT:
            continue
        found = UnknownKey((*at, key), tuple(fields), is_data=keeps_all)
        if not keeps_all or (found.meant is not None and given.get(found.meant) is None):
            yield found


def keys_of(model: type[BaseModel], field: str) -> tuple[str, ...]:
    """The keys that a field is read from, the first of them first."""
    alias = model.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(choice for choice in alias.choices if isinstance(choice, str))
    return (alias,) if isinstance(alias, str) else (field,)


def _of_type(annotation: Any, value: object, at: Location) -> Iterator[UnknownKey]:
    arms = list(_arms(annotation))
    if isinstance(value, list):
        inner = [get_args(arm)[0] for arm in arms if get_origin(arm) in (list, tuple) and get_args(arm)]
        for index, part in enumerate(value if inner else ()):
            yield from _of_type(Union[tuple(inner)], part, (*at, index))  # noqa: UP007 - made of a list
    elif isinstance(value, Mapping):
        models = [arm for arm in arms if isinstance(arm, type) and issubclass(arm, BaseModel)]
        # of several models, the one that it fits best
        yield from min((list(_of_model(model, value, at)) for model in models), key=len, default=[])
        inner = [get_args(arm)[1] for arm in arms if get_origin(arm) is dict]
        for name, part in value.items() if inner else ():
            yield from _of_type(inner[0], part, (*at, str(name)))


def _arms(annotation: Any) -> Iterator[Any]:
    """The types that an annotation allows, each by itself."""
    if get_origin(annotation) is Annotated:
        yield from _arms(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for arm in get_args(annotation):
            yield from _arms(arm)
    else:
        yield annotation
