"""Answers as bytes: what was set is sent, in one form."""

from datetime import UTC, datetime
from enum import StrEnum

import pytest
from pydantic import ValidationError

from api.call import Reply
from api.schemas.fields import Answer, Number, View
from api.wire import encode


class Colour(StrEnum):
    RED = "red"


class Part(View):
    size: Number
    colour: Colour = Colour.RED


class Whole(Answer):
    part: Part
    at: datetime
    note: str | None


def whole() -> Whole:
    return Whole(part=Part(size=1), at=datetime(2026, 1, 2, 3, 4, 5, 678000, UTC), note=None)


def test_a_model_and_the_object_it_stands_for_are_the_same_bytes() -> None:
    assert encode(whole()) == encode({"part": {"size": 1}, "at": whole().at, "note": None})


def test_a_null_is_sent_and_what_was_never_set_is_not() -> None:
    assert encode(whole()) == b'{"part":{"size":1},"at":"2026-01-02T03:04:05.678000Z","note":null}'


def test_a_value_of_a_closed_set_and_a_fraction_are_sent_as_they_are() -> None:
    assert encode(Part(size=1.0, colour=Colour.RED)) == b'{"size":1.0,"colour":"red"}'


def test_warnings_stand_beside_the_fields_of_an_answer() -> None:
    body = Reply(whole()).with_warnings(["a"]).with_warnings(["b"]).body
    assert isinstance(body, Whole)
    assert body.warnings == ["a", "b"]
    assert b'"warnings":["a","b"]' in encode(body)


def test_a_field_that_nobody_listed_cannot_be_sent() -> None:
    with pytest.raises(ValidationError):
        Part.model_validate({"size": 1, "internal_id": "int_1"})
