"""In every body and every parameter, a number is a number: nothing is read from a text, true or half of one."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

import api.registry  # noqa: F401 - it knows every route, and so every body
from api.schemas.fields import Body, Query
from core.collections.extractor_parameters import EXTRACTORS
from core.retrievers.parameter_types import Parameters
from core.unknown_keys import keys_of


def _below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for one in model.__subclasses__():
        yield one
        yield from _below(one)


MODELS: list[type[BaseModel]] = [*_below(Body), *_below(Parameters), *EXTRACTORS.values()]


def _fields(kind: type, models: list[type[BaseModel]] = MODELS) -> list[Any]:
    """Each field that can be of this type: its model, and the key that it is read from."""
    return [
        pytest.param(model, keys_of(model, name)[0], id=f"{model.__name__}.{name}")
        for model in models
        for name, field in model.model_fields.items()
        if kind in (field.annotation, *get_args(field.annotation))
    ]


def _takes(model: type[BaseModel], key: str, value: object) -> bool:
    try:
        model.model_validate({key: value})
    except ValidationError as error:
        return all(found["loc"][:1] != (key,) for found in error.errors())
    return True


def test_every_model_is_strict() -> None:
    assert len(MODELS) > 40
    assert [model.__name__ for model in MODELS if not model.model_config.get("strict")] == []


@pytest.mark.parametrize(("model", "key"), _fields(int))
def test_a_whole_number_is_read_from_nothing_else_and_may_have_a_point(model: type[BaseModel], key: str) -> None:
    assert any(_takes(model, key, number) for number in (1, 100, 4000))
    for number in (1, 100, 4000):
        assert _takes(model, key, number) is _takes(model, key, float(number))
    wrong: list[Any] = ["1", "100", True, 1.5, 100.5, [100], {"n": 1}]
    assert [value for value in wrong if _takes(model, key, value)] == []


@pytest.mark.parametrize(("model", "key"), _fields(float))
def test_a_number_is_read_from_no_text_and_not_from_true(model: type[BaseModel], key: str) -> None:
    assert _takes(model, key, 1) is _takes(model, key, 1.0) is True
    wrong: list[Any] = ["1", "0.5", "1e3", True, [1]]
    assert [value for value in wrong if _takes(model, key, value)] == []


@pytest.mark.parametrize(("model", "key"), _fields(bool))
def test_true_and_false_are_read_from_nothing_else(model: type[BaseModel], key: str) -> None:
    assert _takes(model, key, True)
    wrong: list[Any] = ["true", "yes", 1, 0, 1.0, []]
    assert [value for value in wrong if _takes(model, key, value)] == []


@pytest.mark.parametrize(("model", "key"), _fields(int, [*_below(Query)]))
def test_a_whole_number_in_a_query_is_decimal_digits(model: type[BaseModel], key: str) -> None:
    assert _takes(model, key, "10")
    wrong = ["", " 10", "10 ", "+10", "-10", "1_0", "10.0", "1e1", "0x1", "\u0661\u0660", "ten"]
    assert [text for text in wrong if _takes(model, key, text)] == []
