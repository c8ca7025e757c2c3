"""Stages as customers write them: the published shapes, what is refused and where, and the seed page's own example."""

from typing import Any

import pytest

from core.errors import ValidationFailedError
from core.retrievers.catalogue import CATALOGUE, OLDER_NAMES
from core.retrievers.parameters import STAGE_PARAMETERS
from core.retrievers.parameters_search import TEXT_FEATURE
from core.retrievers.stages import StageSpec, ignored_parameters, parse_stages, published_stage
from tests.security_page import LLM_STAGE

SEARCH = {"feature_uri": TEXT_FEATURE, "query": {"input_mode": "text", "value": "{{INPUT.query}}"}}


def feature_search(**changes: Any) -> dict[str, Any]:
    """A valid flat feature search, changed."""
    return {"stage_id": "feature_search", "parameters": {"searches": [SEARCH], **changes}}


def problems_of(stages: object) -> dict[tuple[str | int, ...], str]:
    """Where and why these stages are refused."""
    with pytest.raises(ValidationFailedError) as caught:
        parse_stages(stages)
    return {problem.location: problem.message for problem in caught.value.problems}


def test_the_seed_pages_retriever_is_stored_in_shape_b() -> None:
    [stage] = parse_stages([LLM_STAGE])
    assert stage.to_stored() == {
        "stage_name": "llm_enrich",
        "stage_type": "apply",
        "config": {"stage_id": "llm_enrich", "parameters": LLM_STAGE["parameters"]},
        "on_error": "error",
    }
    assert published_stage(stage.to_stored())["parameters"] == LLM_STAGE["parameters"]


def test_a_nested_stage_comes_back_as_it_went_in() -> None:
    nested = {
        "stage_name": "find",
        "stage_type": "filter",
        "config": {"stage_id": "feature_search", "parameters": {"searches": [SEARCH]}, "pre_filters": None},
        "batch_size": 10,
        "description": "by meaning",
        "on_error": "skip",
        "output_alias": None,
    }
    [stage] = parse_stages([nested])
    assert (stage.stage_name, stage.on_error, stage.options) == (
        "find",
        "skip",
        {"batch_size": 10, "description": "by meaning"},
    )
    assert StageSpec.from_stored(stage.to_stored()) == stage
    assert parse_stages([published_stage(stage.to_stored())]) == [stage]


@pytest.mark.parametrize(("older", "current"), OLDER_NAMES.items())
def test_older_stage_ids_mean_the_current_ones(older: str, current: str) -> None:
    parameters = {
        "feature_search": {"searches": [SEARCH]},
        "attribute_filter": {"field": "a", "value": 1},
        "llm_enrich": {"prompt": "Summarize."},
    }
    [stage] = parse_stages([{"stage_id": older, "parameters": parameters.get(current, {"field": "a"})}])
    assert stage.stage_id == current


def test_the_category_is_inferred_and_checked() -> None:
    assert [
        stage.stage_type for stage in parse_stages([feature_search(), {"stage_id": "group_by", "stage_type": "group"}])
    ] == [
        "filter",
        "reduce",
    ]
    assert problems_of([{"stage_id": "limit", "stage_type": "cut"}]).keys() == {("stages", 0, "stage_type")}


def test_two_stages_of_one_kind_have_two_names() -> None:
    names = [stage.stage_name for stage in parse_stages([{"stage_id": "limit"}] * 3)]
    assert names == ["limit", "limit_2", "limit_3"]


@pytest.mark.parametrize(
    ("stages", "location", "message"),
    [
        (None, ("stages",), "at least one"),
        ([], ("stages",), "at least one"),
        ("limit", ("stages",), "at least one"),
        (["limit"], ("stages", 0), "an object"),
        ([{"stage_id": "feature_serch"}], ("stages", 0, "stage_id"), "did you mean feature_search"),
        ([{"config": {"stage_id": "zzzz"}}], ("stages", 0, "config", "stage_id"), "use one of feature_search"),
        ([{"stage_id": "limit", "stage_name": {"a": 1}}], ("stages", 0, "stage_name"), "must be text"),
        ([{"stage_id": "limit", "stage_name": "x" * 201}], ("stages", 0, "stage_name"), "at most 200"),
        ([{"stage_id": 7}], ("stages", 0, "stage_id"), "is no stage"),
        ([feature_search(final_top_k=0)], ("stages", 0, "parameters", "final_top_k"), "greater than or equal to 1"),
        ([feature_search(final_top_k="ten")], ("stages", 0, "parameters", "final_top_k"), "valid integer"),
        ([feature_search(searches=[])], ("stages", 0, "parameters", "searches"), "at least 1"),
        ([feature_search(searches=[SEARCH] * 11)], ("stages", 0, "parameters", "searches"), "at most 10"),
        ([feature_search(fusion="dbsf")], ("stages", 0, "parameters", "fusion"), "rrf"),
        ([feature_search(facets=["a"])], ("stages", 0, "parameters", "facets"), "not available"),
        (
            [feature_search(searches=[{**SEARCH, "feature_uri": "mixpeek://image@v1/x"}])],
            ("stages", 0, "parameters", "searches", 0, "feature_uri"),
            "no such feature",
        ),
        (
            [feature_search(searches=[{**SEARCH, "query": {"input_mode": "vector", "value": "x"}}])],
            ("stages", 0, "parameters", "searches", 0, "query"),
            "list of numbers",
        ),
        (
            [feature_search(searches=[{**SEARCH, "query": {"value": [1.0], "input_mode": "vector"}, "lexical": True}])],
            ("stages", 0, "parameters", "searches", 0),
            "needs text",
        ),
        (
            [{"config": {"stage_id": "limit", "parameters": {"limit": -1}}}],
            ("stages", 0, "config", "parameters", "limit"),
            "greater than or equal to 0",
        ),
        ([{"stage_id": "limit", "parameters": [1]}], ("stages", 0, "parameters"), "an object"),
        ([{"stage_id": "limit", "on_error": "maybe"}], ("stages", 0, "on_error"), "skip or error"),
        ([{"stage_id": "sort_attribute"}], ("stages", 0, "parameters", "field"), "required"),
        ([{"stage_id": "attribute_filter"}], ("stages", 0, "parameters"), "either field"),
        (
            [{"stage_id": "attribute_filter", "parameters": {"conditions": [{"field": "a", "operator": "~"}]}}],
            ("stages", 0, "parameters"),
            "AND[0].operator",
        ),
        (
            [{"config": {"stage_id": "limit", "pre_filters": {"AND": []}}}],
            ("stages", 0, "config", "pre_filters"),
            "attribute_filter",
        ),
        (
            [feature_search(searches=[{**SEARCH, "query": "{{secrets.openai_api_key}}"}])],
            ("stages", 0, "parameters"),
            "{{secrets.openai_api_key}}",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(stages: object, location: tuple[str | int, ...], message: str) -> None:
    found = problems_of(stages)
    assert found.keys() == {location}
    assert message in found[location]


def test_an_error_does_not_repeat_all_that_was_sent() -> None:
    (message,) = problems_of([{"stage_id": "x" * 100_000}]).values()
    assert len(message) < 1000


def test_all_problems_are_told_at_once() -> None:
    assert problems_of(
        [{"stage_id": "limit", "parameters": {"limit": -1, "offset": -1}}, {"stage_id": "x"}]
    ).keys() == {
        ("stages", 0, "parameters", "limit"),
        ("stages", 0, "parameters", "offset"),
        ("stages", 1, "stage_id"),
    }


def test_a_placeholder_may_stand_for_any_value() -> None:
    parse_stages(
        [feature_search(final_top_k="{{INPUT.count}}"), {"stage_id": "limit", "parameters": {"limit": "{{ input.n }}"}}]
    )


def test_unknown_parameters_are_kept_and_named() -> None:
    stages = parse_stages(
        [feature_search(hard_timeout_ms=5), {"stage_id": "sort_attribute", "parameters": {"sort_field": "a"}}]
    )
    assert ignored_parameters(stages) == ["stages.0.parameters.hard_timeout_ms"]
    assert stages[0].parameters["hard_timeout_ms"] == 5


def test_every_stage_that_exists_is_in_the_catalogue() -> None:
    assert STAGE_PARAMETERS.keys() <= CATALOGUE.keys()
    assert set(OLDER_NAMES.values()) <= CATALOGUE.keys()
