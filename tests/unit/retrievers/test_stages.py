"""Stages as customers write them: the published shapes, what is refused and where, and the seed page's own example."""

from typing import Any

import pytest
from pydantic import ValidationError

from core.errors import ValidationFailedError
from core.retrievers.catalogue import CATALOGUE, OLDER_NAMES
from core.retrievers.parameters import STAGE_PARAMETERS, fill_in
from core.retrievers.parameters_search import TEXT_FEATURE, Limit
from core.retrievers.stages import StageSpec, ignored_keys, parse_stages, published_stage
from core.unknown_keys import warnings_of
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
            ("stages", 0, "parameters", "conditions", 0, "operator"),
            "'~' is not one of",
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


def ignored(*raw: dict[str, Any]) -> list[str]:
    """What of these stages is said to have no effect."""
    return warnings_of(ignored_keys(raw, parse_stages(list(raw))))


def test_unknown_parameters_are_kept_and_named_at_every_depth() -> None:
    raw = [feature_search(hard_timeout_ms=5), {"stage_id": "sort_attribute", "parameters": {"sort_field": "a"}}]
    assert ignored(*raw) == ["Unknown key 'stages.0.parameters.hard_timeout_ms' was ignored."]
    assert parse_stages(raw)[0].parameters["hard_timeout_ms"] == 5


CALL = {"url": "https://a.example/", "allowed_domains": ["a.example"]}


@pytest.mark.parametrize(
    ("stage", "place", "meant"),
    [
        (feature_search(searches=[SEARCH, {**SEARCH, "topk": 3}]), "parameters.searches.1.topk", "top_k"),
        (feature_search(searches=[{**SEARCH, "query": {"input_mode": "text", "value": "x", "vaule": "y"}}]),
         "parameters.searches.0.query.vaule", "value"),
        (feature_search(finaltopk=3), "parameters.finaltopk", "final_top_k"),
        ({"stage_name": "s", "config": {"stage_id": "limit", "parameters": {"ofset": 3}}},
         "config.parameters.ofset", "offset"),
        ({"stage_id": "query_expand", "parameters": {"feature_search_config": {"searches": [{**SEARCH, "TopK": 1}]}}},
         "parameters.feature_search_config.searches.0.TopK", "top_k"),
        ({"stage_id": "api_call", "parameters": {**CALL, "auth": {"type": "none", "secretref": "a"}}},
         "parameters.auth.secretref", "secret_ref"),
        ({"stage_id": "rag_prepare", "parameters": {"citation": {"stile": "none"}}},
         "parameters.citation.stile", "style"),
        ({"stage_id": "llm_enrich", "parameters": {"prompt": "x", "maxtokens": 3}},
         "parameters.maxtokens", "max_tokens"),
        ({"stage_id": "llm_enrich", "parameters": {"prompt": "x", "wehn": {"field": "a"}}}, "parameters.wehn", "when"),
        ({"stage_id": "limit", "parametres": {"limit": 3}}, "parametres", "parameters"),
        ({"stage_id": "limit", "onerror": "skip"}, "onerror", "on_error"),
        ({"config": {"stage_id": "limit", "parameter": {"limit": 3}}}, "config.parameter", "parameters"),
    ],
)  # fmt: skip
def test_a_slip_is_named_with_its_place_and_what_was_meant(stage: dict[str, Any], place: str, meant: str) -> None:
    assert ignored(stage) == [f"Unknown key 'stages.0.{place}' was ignored; did you mean {meant!r}?"]


def test_of_two_names_for_one_parameter_the_one_that_does_not_count_is_named() -> None:
    stage = {"stage_id": "sort_attribute", "parameters": {"field": "a", "direction": "asc", "order": "desc"}}
    [said] = ignored(stage)
    assert said == "The key 'stages.0.parameters.order' was ignored: 'direction' says the same, and counts."
    same = {"field": "a", "direction": "asc", "order": "asc", "sort_field": None}
    assert ignored({**stage, "parameters": same}) == []
    both = {"config": {"stage_id": "limit", "parameters": {"limit": 3}}, "parameters": {"limit": 4}}
    assert "'stages.0.parameters' was ignored" in ignored(both)[0]
    assert ignored({**both, "parameters": {"limit": 3}}) == []


def test_what_is_a_customers_own_data_is_not_looked_into() -> None:
    schema = {"type": "object", "properties": {"topk": {"type": "string"}}}
    assert ignored({"stage_id": "llm_enrich", "parameters": {"prompt": "x", "schema": schema}}) == []
    parameters = {**CALL, "body": {"methd": 1}, "headers": {"X-Url": "a"}}
    assert ignored({"stage_id": "api_call", "parameters": parameters}) == []


@pytest.mark.parametrize(
    ("stage", "place", "message"),
    [
        ({"stage_id": "attribute_filter", "parameters": {"field": "a", "operater": "ne", "value": 1}},
         ("parameters", "operater"), "did you mean operator?"),
        ({"stage_id": "attribute_filter", "parameters": {"field": "a", "value": 1, "colour": 1}},
         ("parameters", "colour"), "use field, operator, value"),
        ({"stage_id": "attribute_filter", "parameters": {"conditions": {"AND": [{"field": "a", "valeu": 1}]}}},
         ("parameters", "conditions", "AND", 0, "valeu"), "did you mean value?"),
        ({"config": {"stage_id": "attribute_filter",
                     "parameters": {"conditions": [{"field": "a", "value": 1}, {"feld": "b"}]}}},
         ("config", "parameters", "conditions", 1, "feld"), "did you mean field?"),
        ({"stage_id": "attribute_filter", "parameters": {"conditions": {"field": "a"}, "value": 3}},
         ("parameters",), "either field, operator and value, or conditions"),
        ({"stage_id": "attribute_filter", "parameters": {"field": "a", "operator": "gt"}},
         ("parameters",), "gt needs a number"),
        ({"stage_id": "llm_enrich", "parameters": {"prompt": "x", "when": {"field": "a", "operator": "eq", "val": 1}}},
         ("parameters", "when", "val"), "did you mean value?"),
        ({"stage_id": "llm_filter", "parameters": {"when": {"OR": [{"field": "a", "op": "ne"}]}}},
         ("parameters", "when", "OR", 0, "op"), "no such key"),
        ({"stage_id": "api_call", "parameters": {**CALL, "when": [{"field": "a", "not": True}]}},
         ("parameters", "when", 0, "not"), "NOT takes a condition"),
        (feature_search(filters={"field": "a", "value": 1}), ("parameters", "filters"), "an attribute_filter stage"),
        (feature_search(searches=[{**SEARCH, "filter": {"field": "a"}}]),
         ("parameters", "searches", 0, "filter"), "an attribute_filter stage"),
        ({"stage_id": "limit", "where": {"field": "a"}}, ("where",), "attribute_filter"),
        ({"config": {"stage_id": "limit"}, "pre_filters": {"field": "a"}}, ("pre_filters",), "attribute_filter"),
        ({"config": {"stage_id": "limit", "filters": {"field": "a"}}}, ("config", "filters"), "attribute_filter"),
    ],
)  # fmt: skip
def test_what_is_to_keep_documents_out_and_would_not_is_refused(
    stage: dict[str, Any], place: tuple[str | int, ...], message: str
) -> None:
    found = problems_of([stage])
    [(where, said)] = found.items()
    if place == ("parameters",):
        assert where[:3] == ("stages", 0, "parameters")
    else:
        assert where == ("stages", 0, *place)
    assert message in said


def test_published_keys_of_a_filter_that_choose_nothing_are_named_only() -> None:
    stage = {"stage_id": "attribute_filter", "parameters": {"field": "a", "value": 1, "batch_size": 100}}
    assert ignored(stage) == ["Unknown key 'stages.0.parameters.batch_size' was ignored."]


@pytest.mark.parametrize(
    ("stage", "place"),
    [
        ({"stage_id": "limit", "parameters": {"limit": "10"}}, ("limit",)),
        ({"stage_id": "limit", "parameters": {"offset": "10"}}, ("offset",)),
        ({"stage_id": "limit", "parameters": {"limit": True}}, ("limit",)),
        ({"stage_id": "limit", "parameters": {"limit": 10.5}}, ("limit",)),
        ({"stage_id": "limit", "parameters": {"limit": [10]}}, ("limit",)),
        ({"stage_id": "limit", "parameters": {"limit": "{{INPUT.n}}0"}}, ("limit",)),
        (feature_search(searches=[{**SEARCH, "top_k": "10"}]), ("searches", 0, "top_k")),
        (feature_search(searches=[{**SEARCH, "min_score": "0.5"}]), ("searches", 0, "min_score")),
        (feature_search(searches=[{**SEARCH, "weight": True}]), ("searches", 0, "weight")),
        (feature_search(searches=[{**SEARCH, "lexical": "true"}]), ("searches", 0, "lexical")),
        (feature_search(searches=[{**SEARCH, "lexical": 1}]), ("searches", 0, "lexical")),
        ({"stage_id": "llm_enrich", "parameters": {"prompt": "x", "temperature": "0.2"}}, ("temperature",)),
        ({"stage_id": "api_call", "parameters": {**CALL, "timeout": "5"}}, ("timeout",)),
        ({"stage_id": "api_call", "parameters": {**CALL, "rate_limit": "5"}}, ("rate_limit",)),
        ({"stage_id": "api_call", "parameters": {**CALL, "headers": {"X-A": 1}}}, ("headers", "X-A")),
    ],
)
def test_no_number_is_read_from_what_is_none(stage: dict[str, Any], place: tuple[str | int, ...]) -> None:
    assert ("stages", 0, "parameters", *place) in problems_of([stage])


def test_a_whole_number_may_be_written_with_a_point_and_as_a_placeholder() -> None:
    [stage] = parse_stages([{"stage_id": "limit", "parameters": {"limit": 10.0, "offset": " {{INPUT.n}} "}}])
    assert Limit.model_validate(fill_in("limit", stage.parameters, {"n": 3})) == Limit(limit=10, offset=3)
    for wrong in ("3", True, 2.5, [3]):
        filled = fill_in("limit", {"limit": "{{INPUT.n}}"}, {"n": wrong})
        with pytest.raises(ValidationError):
            Limit.model_validate(filled)


def test_every_stage_that_exists_is_in_the_catalogue() -> None:
    assert STAGE_PARAMETERS.keys() <= CATALOGUE.keys()
    assert set(OLDER_NAMES.values()) <= CATALOGUE.keys()
