"""Parameters of the stages that ask models, call services and render templates: names, and what is refused where."""

from typing import Any

import pytest

from core.errors import ValidationFailedError
from core.retrievers.parameters import STAGE_PARAMETERS, fill_in
from core.retrievers.stages import ignored_keys, parse_stages
from tests.security_page import LLM_STAGE

SEARCH = {"searches": [{"feature_uri": "mixpeek://text_extractor@v1/text_embedding", "query": "x"}]}
CALL = {"url": "https://api.example.com/{{ DOC.id }}", "allowed_domains": ["api.example.com"]}


def read(stage_id: str, **parameters: Any) -> Any:
    """The parameters as the stage gets them."""
    return STAGE_PARAMETERS[stage_id].model_validate(parameters)


def test_the_seed_pages_own_parameters_are_read_and_none_is_unknown() -> None:
    stages = parse_stages([LLM_STAGE])
    assert ignored_keys([LLM_STAGE], stages) == []
    parameters = read("llm_enrich", **LLM_STAGE["parameters"])  # type: ignore[arg-type]
    assert (parameters.provider, parameters.model, parameters.api_key) == (
        "openai",
        "gpt-4o-mini",
        "{{secrets.openai_api_key}}",
    )


def test_published_and_older_names_mean_the_same() -> None:
    schema = {"type": "object"}
    for names in ({"model": "m", "schema": schema}, {"model_name": "m", "output_schema": schema}):
        parameters = read("llm_enrich", prompt="x", **names)
        assert (parameters.model, parameters.output_schema) == ("m", schema)
    assert read("query_expand", feature_search_config=SEARCH, expansion_model="m").model == "m"
    assert read("summarize", max_tokens=5).max_output_tokens == 5
    assert read("llm_filter", criteria="x", explanation=True).include_reasoning


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "gpt-6-luna"), ("anthropic", "claude-haiku-4-5"), ("google", "gemini-3.5-flash-lite")],
)
def test_a_provider_has_a_default_model(provider: str, model: str) -> None:
    assert read("llm_enrich", prompt="x", provider=provider).model == model


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("claude-3-haiku", "anthropic"),
        ("Claude-Sonnet-4-6", "anthropic"),
        ("gemini-1.5-pro", "google"),
        ("models/gemini-2.0-flash", "google"),
        ("gpt-4o", "openai"),
        ("mistral-large", "openai"),
        ("anthropic/claude-3-haiku", "openai"),
    ],
)
def test_without_a_provider_the_models_own_is_asked(model: str, provider: str) -> None:
    for names in ({"model": model}, {"model_name": model, "provider": None}):
        assert read("llm_enrich", prompt="x", **names).provider == provider
    assert read("query_expand", feature_search_config=SEARCH, expansion_model=model).provider == provider


def test_any_model_may_stand_behind_openais_protocol() -> None:
    parsed = parse_stages([{"stage_id": "summarize", "parameters": {"provider": "openai", "model": "claude-3-opus"}}])
    assert read("summarize", **parsed[0].parameters).provider == "openai"
    assert read("summarize", provider="google", model="gemma-3").model == "gemma-3"


@pytest.mark.parametrize(
    ("stage_id", "parameters", "place", "message"),
    [
        ("llm_enrich", {}, ("prompt",), "required"),
        ("llm_enrich", {"prompt": "x", "provider": "google", "model": "gpt-4o"}, ("model",), "a model of openai"),
        ("llm_enrich", {"prompt": "x", "provider": "anthropic", "model": "o3-mini"}, ("model",), "a model of openai"),
        ("summarize", {"provider": "google", "model_name": "claude-3-opus"}, ("model_name",), "a model of anthropic"),
        ("llm_enrich", {"prompt": "x", "provider": "typesafe"}, ("provider",), "openai"),
        ("llm_enrich", {"prompt": "x", "api_key": "sk-proj-literal"}, ("api_key",), "store the key in the vault"),
        ("llm_enrich", {"prompt": "x", "api_key": "{{INPUT.key}}"}, ("api_key",), "store the key in the vault"),
        ("llm_enrich", {"prompt": "x", "api_key": "Bearer {{secrets.a}}"}, ("api_key",), "store the key in the vault"),
        ("llm_enrich", {"prompt": "{{ DOC.text"}, ("prompt",), "cannot be read"),
        ("llm_enrich", {"prompt": "{{ secrets.key }}"}, ("prompt",), "'secrets' does not exist"),
        ("llm_enrich", {"prompt": "{{ DOC|shout }}"}, ("prompt",), "no such filter"),
        ("llm_enrich", {"prompt": "x", "batch_size": 26}, ("batch_size",), "less than or equal to 25"),
        ("llm_enrich", {"prompt": "x", "temperature": 3}, ("temperature",), "less than or equal to 2"),
        ("llm_enrich", {"prompt": "x", "output_field": "a b"}, ("output_field",), "a field's name"),
        ("llm_enrich", {"prompt": "x", "output_field": "document_id"}, ("output_field",), "not an id"),
        ("llm_enrich", {"prompt": "x", "schema": {"type": "array"}}, ("schema",), "object"),
        ("llm_enrich", {"prompt": "x", "schema": {"type": "object", "required": 1}}, ("schema",), "not a JSON schema"),
        (
            "llm_enrich",
            {"prompt": "x", "schema": {"type": "object", "properties": {"a": {"$ref": "http://x"}}}},
            ("schema",),
            "$ref cannot be used",
        ),
        (
            "llm_enrich",
            {"prompt": "x", "schema": {"type": "object", "properties": {"a": {"pattern": "(a+)+$"}}}},
            ("schema",),
            "pattern cannot be used",
        ),
        (
            "llm_enrich",
            {"prompt": "x", "schema": {"type": "object", "patternProperties": {"(a+)+$": {}, "type": {}}}},
            ("schema",),
            "patternProperties cannot be used",
        ),
        ("llm_enrich", {"prompt": "x", "when": "{{ DOC.a"}, ("when",), "cannot be read"),
        ("llm_enrich", {"prompt": "x", "when": {"field": "a", "operator": "~"}}, ("when", "operator"), "is not one of"),
        ("llm_enrich", {"prompt": "x", "multimodal_inputs": ["a"]}, ("multimodal_inputs",), "not available"),
        ("llm_enrich", {"prompt": "x", "model": "{{secrets.a}}"}, (), "cannot be filled in"),
        ("llm_filter", {"criteria": "{% include 'a' %}"}, ("criteria",), "cannot use include"),
        ("summarize", {"mode": "per_document", "group_by": "a"}, ("group_by",), "has no groups"),
        ("summarize", {"mode": "each"}, ("mode",), "per_document"),
        ("summarize", {"truncation_strategy": "other"}, ("truncation_strategy",), "drop_last"),
        ("query_expand", {"feature_search_config": {}}, ("feature_search_config", "searches"), "required"),
        ("api_call", {"url": "https://a.example"}, ("allowed_domains",), "required"),
        ("api_call", {**CALL, "allowed_domains": []}, ("allowed_domains",), "at least 1"),
        ("api_call", {**CALL, "allowed_domains": ["*"]}, ("allowed_domains", 0), "a host such as"),
        ("api_call", {**CALL, "allowed_domains": ["{{INPUT.host}}"]}, ("allowed_domains", 0), "a host such as"),
        ("api_call", {**CALL, "timeout": 61}, ("timeout",), "less than or equal to 60"),
        ("api_call", {**CALL, "rate_limit": 1e-10}, ("rate_limit",), "greater than or equal to"),
        (
            "api_call",
            {**CALL, "rate_limit": {"requests_per_day": 5}},
            ("rate_limit",),
            "'requests_per_day' is no limit",
        ),
        ("api_call", {**CALL, "rate_limit": {"requests": 5}}, ("rate_limit",), "belong together"),
        ("api_call", {**CALL, "rate_limit": {"requests": 5, "period": 0}}, ("rate_limit",), "above 0"),
        ("api_call", {**CALL, "rate_limit": {"requests_per_hour": 5}}, ("rate_limit",), "greater than or equal to"),
        ("api_call", {**CALL, "response_path": "$..name"}, ("response_path",), "names and places only"),
        ("api_call", {**CALL, "max_response_size": 10**8}, ("max_response_size",), "less than or equal to"),
        ("api_call", {**CALL, "auth": {"type": "bearer"}}, ("auth",), "name the secret"),
        ("api_call", {**CALL, "auth": {"type": "bearer", "value": "sk-Literal"}}, ("auth", "value"), "in the vault"),
        ("api_call", {**CALL, "auth": {"type": "bearer", "value": "a1b2c3d4e5"}}, ("auth", "value"), "in the vault"),
        ("api_call", {**CALL, "headers": {"Host": "x"}}, ("headers",), "no header that can be set"),
        ("api_call", {**CALL, "headers": {"X-A": "{{ secrets.a }} b"}}, ("headers",), "'secrets' does not exist"),
        ("api_call", {**CALL, "body": {"a": ["{{ secrets.a }}"]}}, ("body",), "'secrets' does not exist"),
        ("api_call", {**CALL, "url": "https://{{ secrets.a }}/"}, ("url",), "'secrets' does not exist"),
        ("api_call", {**CALL, "headers": {"Authorization": "Bearer a-Literal-1"}}, ("headers",), "in the vault"),
        ("api_call", {**CALL, "headers": {"X-API-Key": "Literal1"}}, ("headers",), "in the vault"),
        ("api_call", {**CALL, "headers": {"X-A": "sk-proj-Literal1"}}, ("headers",), "in the vault"),
        ("api_call", {**CALL, "url": "https://a.example/?key=AIzaLiteral1"}, ("url",), "in the vault"),
        ("api_call", {**CALL, "url": "https://a.example/?token=Literal1&q={{ DOC.q }}"}, ("url",), "in the vault"),
        ("api_call", {**CALL, "url": "https://ada:Literal1@a.example/"}, ("url",), "in the vault"),
        ("api_call", {**CALL, "url": "http://0x7f.1/hook"}, ("url",), "IPv4 address as four decimal numbers"),
        (
            "api_call",
            {**CALL, "url": "http://2130706433/{{ DOC.id }}"},
            ("url",),
            "IPv4 address as four decimal numbers",
        ),
        ("api_call", {**CALL, "url": "https://a.example\\b/{{ DOC.id }}"}, ("url",), "leave blanks, backslashes"),
        ("api_call", {**CALL, "url": "https://a.example:0/?q={{ DOC.q }}"}, ("url",), "a port from 1"),
        ("api_call", {**CALL, "url": "ftp://a.example/"}, ("url",), "http or https URL"),
        ("api_call", {**CALL, "body": {"a": [{"api_key": "Literal1"}]}}, ("body", "a", 0, "api_key"), "in the vault"),
        ("agentic_enrich", {"api_key": "sk-proj-Literal1"}, ("api_key",), "store the key in the vault"),
        ("agentic_enrich", {"api_key": ["Literal1"]}, ("api_key",), "store the key in the vault"),
        ("agentic_enrich", {"api_key": "{{INPUT.key}}"}, ("api_key",), "store the key in the vault"),
        ("limit", {"limit": 5, "api_key": "Literal1"}, ("api_key",), "store the key in the vault"),
        ("sql_lookup", {"a": {"api_key": "Literal1"}}, ("a", "api_key"), "store the key in the vault"),
        ("json_transform", {"template": "{% for %}"}, ("template",), "cannot be read"),
        ("rag_prepare", {"citation": {"style": "raised"}}, ("citation", "style"), "numbered"),
    ],
)
def test_wrong_values_are_named_with_their_place(
    stage_id: str, parameters: dict[str, Any], place: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValidationFailedError) as refused:
        parse_stages([{"stage_id": stage_id, "parameters": parameters}])
    [problem] = refused.value.problems
    assert problem.location == ("stages", 0, "parameters", *place)
    assert message in problem.message
    assert "literal" not in problem.message.lower()


REQUIRED: dict[str, dict[str, Any]] = {
    "feature_search": SEARCH,
    "attribute_filter": {"field": "a"},
    "sort_attribute": {"field": "a"},
    "llm_enrich": {"prompt": "x"},
    "query_expand": {"feature_search_config": SEARCH},
    "api_call": CALL,
    "json_transform": {"template": "{}"},
}


@pytest.mark.parametrize("stage_id", STAGE_PARAMETERS)
def test_null_is_the_same_as_leaving_a_parameter_out(stage_id: str) -> None:
    model, given = STAGE_PARAMETERS[stage_id], REQUIRED.get(stage_id, {})
    nulls = {name: None for name in model.model_fields if name not in given and name != "temperature"}
    [parsed] = parse_stages([{"stage_id": stage_id, "parameters": {**given, **nulls}}])
    assert model.model_validate(parsed.parameters) == model.model_validate(given)
    for name in given:
        with pytest.raises(ValidationFailedError):
            parse_stages([{"stage_id": stage_id, "parameters": {**given, name: None}}])


def test_a_null_deeper_inside_is_the_default_too_and_a_temperature_can_be_left_out() -> None:
    assert read("api_call", **CALL, auth={"type": None, "location": None}).auth.type == "none"
    assert read("llm_enrich", prompt="x").temperature == 0.2
    assert read("llm_enrich", prompt="x", temperature=None).temperature is None


@pytest.mark.parametrize(
    ("rate_limit", "per_second"),
    [
        (5, 5),
        ({"requests_per_second": 5}, 5),
        ({"requests_per_minute": 60}, 1),
        ({"requests_per_minute": 120, "requests_per_hour": 3600}, 1),
        ({"requests": 60, "period": 60}, 1),
        ({"requests_per_minute": 60, "requests_per_hour": None}, 1),
        ({}, None),
    ],
)
def test_a_rate_limit_is_read_in_each_published_form(rate_limit: Any, per_second: float | None) -> None:
    assert read("api_call", **CALL, rate_limit=rate_limit).rate_limit == per_second


@pytest.mark.parametrize(
    ("stage_id", "parameters"),
    [
        ("agentic_enrich", {"system_prompt": "x", "api_key": "{{secrets.k}}"}),
        ("agentic_enrich", {"api_key": None, "output_schema": {"properties": {"api_key": {"type": "string"}}}}),
        ("api_call", {**CALL, "headers": {"Authorization": "Bearer {{ INPUT.token }}", "Accept": "application/json"}}),
        ("api_call", {**CALL, "url": "https://a.example:8443/@me?token={{ INPUT.token }}&page=a@b.example"}),
        ("api_call", {**CALL, "body": {"api_key": "{{ INPUT.key }}"}}),
        ("api_call", {**CALL, "url": "{{ DOC.url }}"}),
        ("api_call", {**CALL, "url": " https://a.example/a b?q=ü "}),
        ("api_call", {**CALL, "url": "http://0x7f.{{ DOC.host }}/a b"}),
        ("api_call", {**CALL, "url": " https://a.example/{{ DOC.id }}/a b "}),
        ("api_call", {**CALL, "rate_limit": {"requests_per_minute": "{{INPUT.n}}"}, "response_path": "{{INPUT.p}}"}),
        ("api_call", {**CALL, "headers": {"X-Token": "{{secrets.k}}"}}),
    ],
)
def test_references_and_what_inputs_fill_in_are_not_refused(stage_id: str, parameters: dict[str, Any]) -> None:
    parse_stages([{"stage_id": stage_id, "parameters": parameters}])


def test_a_schema_may_call_its_properties_like_keywords() -> None:
    properties = {"pattern": {"enum": ["a"]}, "$ref": {"const": {"$id": 1}}, "properties": {"type": "string"}}
    schema = {"type": "object", "properties": properties, "required": ["pattern"]}
    assert read("llm_enrich", prompt="x", schema=schema).output_schema == schema


def test_templates_and_references_stay_when_placeholders_are_filled_in() -> None:
    filled = fill_in(
        "llm_enrich",
        {
            "prompt": "{{ INPUT.a }}",
            "model": "{{INPUT.a}}",
            "api_key": "{{secrets.k}}",
            "when": {"field": "x", "value": "{{INPUT.a}}"},
        },
        {"a": "value"},
    )
    assert filled == {
        "prompt": "{{ INPUT.a }}",
        "model": "value",
        "api_key": "{{secrets.k}}",
        "when": {"field": "x", "value": "value"},
    }


@pytest.mark.parametrize("provider", ["openai", "google"])
@pytest.mark.parametrize("model", ["m\n", " m", "m\x00"])
def test_what_is_no_name_of_a_model_is_refused(provider: str, model: str) -> None:
    with pytest.raises(ValueError, match="no control characters"):
        read("llm_enrich", prompt="x", provider=provider, model=model)


@pytest.mark.parametrize("model", ["m:predictLongRunning#", "../../upload", "m?alt=sse", "m%2f"])
def test_a_name_of_googles_stays_in_its_place_of_the_path(model: str) -> None:
    with pytest.raises(ValueError, match="letters, digits"):
        read("llm_enrich", prompt="x", provider="google", model=model)
    # a server of one's own may name its models by their files
    assert read("llm_enrich", prompt="x", provider="openai", model=model).model == model


def test_names_that_are_used_are_taken() -> None:
    for model in ("models/gemini-2.5-flash", "tunedModels/mine-1", "{{INPUT.model}}", "{{ INPUT.model }}"):
        assert read("llm_enrich", prompt="x", provider="google", model=model).model == model
