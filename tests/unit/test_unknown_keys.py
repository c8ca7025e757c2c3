"""Keys that have no effect are found at every depth of every model; a customer's own data is left alone."""

from typing import Annotated, Any

import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from core.unknown_keys import nearest, unknown_keys, warnings_of


class _Leaf(BaseModel):
    top_k: int = 1
    free: dict[str, Any] = {}
    anything: Any = None


class _Kept(BaseModel):
    model_config = ConfigDict(extra="allow")

    required: bool = False


class _Root(BaseModel):
    leaf: _Leaf | None = None
    leaves: Annotated[list[_Leaf], Field(max_length=3)] = []
    by_name: dict[str, _Leaf] = {}
    deep: dict[str, list[_Leaf | int]] | None = None
    kept: _Kept | str | None = None
    mode: str = Field("", validation_alias=AliasChoices("mode", "kind"))


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"leav": {}}, "leav"),
        ({"leaf": {"topk": 1}}, "leaf.topk"),
        ({"leaves": [{}, {"topk": 1}]}, "leaves.1.topk"),
        ({"by_name": {"a": {"topk": 1}}}, "by_name.a.topk"),
        ({"deep": {"a": [1, {"topk": 1}]}}, "deep.a.1.topk"),
        ({"kept": {"requierd": True}}, "kept.requierd"),
        ({"mode": "a", "kind": "b"}, "kind"),
    ],
)
def test_each_key_without_effect_is_found_with_its_place(given: dict[str, Any], place: str) -> None:
    assert [key.path for key in unknown_keys(_Root, given)] == [place]


@pytest.mark.parametrize(
    "given",
    [
        {"leaf": {"free": {"topk": 1}, "anything": [{"topk": 1}]}},
        {"kept": {"colour": {"requierd": 1}}},
        {"kept": {"requierd": 1, "required": True}},
        {"leaf": {"topk": None}},
        {"leaf": "{{INPUT.leaf}}", "leaves": "x", "by_name": [1]},
        {"mode": None, "kind": "b"},
        {"mode": "a", "kind": "a"},
        [],
    ],
)
def test_data_nulls_and_what_is_wrong_otherwise_are_no_unknown_keys(given: Any) -> None:
    assert unknown_keys(_Root, given) == []


def test_what_was_meant_is_said_when_it_is_plain() -> None:
    known = ("top_k", "final_top_k", "min_score")
    pairs = {"topk": "top_k", "Top-K": "top_k", "tok_k": "top_k", "minscore": "min_score", "colour": None, "": None}
    assert {name: nearest(name, known) for name in pairs} == pairs
    assert nearest("x" * 256, known) is None


def test_of_very_much_data_only_the_beginning_is_compared() -> None:
    data = {f"k{number}": 1 for number in range(49)}
    assert [key.path for key in unknown_keys(_Kept, {**data, "requierd": 1})] == ["requierd"]
    assert unknown_keys(_Kept, {**data, "k50": 1, "requierd": 1}) == []


def test_very_many_are_counted_and_the_first_are_named() -> None:
    said = warnings_of(unknown_keys(_Root, {f"k{number}": 1 for number in range(100_000)}))
    assert len(said) == 21
    assert said[-1] == "99980 more were ignored."
