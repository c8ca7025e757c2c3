"""Schemas for a model's answer: what Pydantic writes is taken, and nothing in one can fetch, run or multiply."""

import json
from enum import StrEnum
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field

from core.retrievers.json_schemas import standing_alone


class Kind(StrEnum):
    """What a part is."""

    A = "a"
    B = "b"


class Part(BaseModel):
    """A part of a whole."""

    kind: Kind = Field(description="its kind")
    size: int


class Whole(BaseModel):
    """A whole of parts."""

    main: Part | None = None
    parts: list[Part]


class Node(BaseModel):
    """What stands in itself."""

    inner: "Node | None" = None


def with_definitions(**definitions: Any) -> dict[str, Any]:
    """A schema whose one property is the definition `a`."""
    return {"type": "object", "properties": {"x": {"$ref": "#/$defs/a"}}, "$defs": definitions}


def test_a_pydantic_schema_stands_alone_and_means_the_same() -> None:
    given = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:x", **Whole.model_json_schema()}
    alone = standing_alone(given)
    assert not any(word in json.dumps(alone) for word in ("$ref", "$defs", "$schema", "$id"))
    assert alone["title"] == "Whole"
    kind = alone["properties"]["parts"]["items"]["properties"]["kind"]
    assert (kind["enum"], kind["description"]) == (["a", "b"], "its kind")
    for answer in (
        {"parts": [{"kind": "a", "size": 1}], "main": None},
        {"parts": [{"kind": "c", "size": 1}]},
        {"parts": [{"kind": "b"}]},
        {"parts": [], "main": {"kind": "b", "size": "x"}},
        {},
    ):
        assert Draft202012Validator(alone).is_valid(answer) is Draft202012Validator(given).is_valid(answer)


def test_older_definitions_and_keywords_beside_a_reference() -> None:
    schema = {"$ref": "#/definitions/a", "description": "mine", "definitions": {"a": {"type": "object", "title": "A"}}}
    assert standing_alone(schema) == {"type": "object", "title": "A", "description": "mine"}
    beside = with_definitions(a={"minimum": 1})
    beside["properties"]["x"]["minimum"] = 0
    assert standing_alone(beside)["properties"]["x"] == {"allOf": [{"minimum": 1}, {"minimum": 0}]}
    assert standing_alone(with_definitions(a=True))["properties"]["x"] is True


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (with_definitions(b={}), r"\$ref cannot be used"),
        ({"type": "object", "items": {"$ref": "#"}}, r"\$ref cannot be used"),
        ({"type": "object", "items": {"$ref": ["#/$defs/a"]}}, r"\$ref cannot be used"),
        ({"type": "object", "items": {"$ref": "https://a.example/s.json"}}, r"\$ref cannot be used"),
        (with_definitions(a={"$ref": "#/$defs/a"}), "what it stands in"),
        ({**Node.model_json_schema(), "type": "object"}, "what it stands in"),
        (with_definitions(a={"pattern": "(a+)+$"}), "pattern cannot be used"),
        ({"type": "object", "$dynamicRef": "#a"}, "dynamicRef cannot be used"),
        ({"type": "object", "description": "x" * 40_000}, "at most 32768 characters"),
        ({"$ref": "#/$defs/a", "$defs": {"a": True}}, "is needed"),
        ({"type": "object", "allOf": 1}, "not a JSON schema"),
        # doubles with each step
        (
            with_definitions(
                a={"items": {"$ref": "#/$defs/b0"}},
                **{f"b{n}": {"prefixItems": [{"$ref": f"#/$defs/b{n + 1}"}] * 2} for n in range(16)},
                b16={},
            ),
            "with what its references name",
        ),
        (
            with_definitions(a={"$ref": "#/$defs/b0"}, **{f"b{n}": {"$ref": f"#/$defs/b{n + 1}"} for n in range(700)}),
            "at most 64 levels",
        ),
    ],
)
def test_what_cannot_stand_alone_is_refused(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        standing_alone(schema)
