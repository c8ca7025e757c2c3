"""The stages that only look at the list they are given: sorts and limit."""

from typing import Any, cast

import pytest

from core.retrievers.parameters_search import Limit, SortAttribute, SortRelevance
from pipelines.stage import StageContext, StageInput
from pipelines.stages.limit import limit
from pipelines.stages.sort_attribute import sort_attribute
from pipelines.stages.sort_relevance import sort_relevance

# these stages look at nothing but their documents
NO_CONTEXT = cast(StageContext, None)


def documents(**values: Any) -> list[dict[str, Any]]:
    """Documents a, b, c, … with one field each; None leaves the field out."""
    return [{"document_id": name} | ({} if value is None else {"field": value}) for name, value in values.items()]


def order(found: list[dict[str, Any]]) -> str:
    """The documents' ids in order."""
    return "".join(document["document_id"] for document in found)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, "bcda"),
        ({"direction": "asc"}, "dcba"),
        ({"direction": "ascending"}, "dcba"),
        ({"missing_score": 0.25}, "bcad"),
        ({"missing_score": 1}, "abcd"),
        ({"missing_score": "bottom"}, "bcda"),
        ({"missing_score": "top"}, "abcd"),
        ({"missing_score": "preserve", "direction": "asc"}, "adcb"),
    ],
)
def test_relevance_orders_by_score(parameters: dict[str, Any], expected: str) -> None:
    found = documents(a=None, b=0.9, c=0.5, d=0.1)
    stage = StageInput(SortRelevance(score_field="field", **parameters), found)
    assert order(sort_relevance(stage, NO_CONTEXT).documents) == expected


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"field": "field"}, "cbaed"),
        ({"sort_field": "field", "order": "desc"}, "eabcd"),
        ({"field": "metadata.field"}, "cbaed"),
        ({"field": "field", "nulls_last": False}, "dcbae"),
        ({"field": "absent"}, "abcde"),
    ],
)
def test_attributes_order_numbers_before_text(parameters: dict[str, Any], expected: str) -> None:
    stage = StageInput(SortAttribute.model_validate(parameters), documents(a=10, b=9.5, c=1, d=None, e="9"))
    assert order(sort_attribute(stage, NO_CONTEXT).documents) == expected


def test_equal_fields_stay_in_order() -> None:
    stage = StageInput(SortAttribute(field="field"), documents(b=1, a=1, c=0))
    assert order(sort_attribute(stage, NO_CONTEXT).documents) == "cba"


def test_any_two_values_can_be_ordered() -> None:
    found = documents(a=[1], b={"x": 1}, c=True, d="x", e=2)
    assert len(sort_attribute(StageInput(SortAttribute(field="field"), found), NO_CONTEXT).documents) == 5


@pytest.mark.parametrize(
    ("window", "expected"),
    [({}, "abcde"), ({"limit": 2}, "ab"), ({"limit": 2, "offset": 4}, "e"), ({"limit": 0}, ""), ({"offset": 9}, "")],
)
def test_limit_keeps_a_window(window: dict[str, int], expected: str) -> None:
    assert (
        order(limit(StageInput(Limit(**window), documents(a=1, b=1, c=1, d=1, e=1)), NO_CONTEXT).documents) == expected
    )


@pytest.mark.parametrize(("direction", "expected"), [("asc", "cabgdfeh"), ("desc", "efdbgach")])
def test_dates_sort_by_their_moments_behind_numbers_and_before_other_texts(direction: str, expected: str) -> None:
    found = documents(
        a=10**6, b="2026-03-01T00:30:00+02:00", c=-1, d="2026-03-01", e=True, f="soon", g="2026-02-28T22:30:00Z", h=None
    )
    stage = StageInput(SortAttribute(field="field", direction=direction), found)
    assert order(sort_attribute(stage, NO_CONTEXT).documents) == expected


def test_true_is_no_score() -> None:
    found = documents(a=True, b=0.5)
    stage = StageInput(SortRelevance(score_field="field"), found)
    assert order(sort_relevance(stage, NO_CONTEXT).documents) == "ba"
