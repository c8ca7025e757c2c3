"""Where a request for a retriever may name secrets, and which ones its stages name."""

from core.language_models.catalogue import catalogue
from core.retrievers.secret_places import misplaced_secrets, secret_names, with_default_credentials
from tests.security_page import LLM_STAGE

NESTED = {"stage_name": "s", "config": {"stage_id": "llm_enrich", "parameters": {"api_key": "{{secrets.a}}"}}}


def locations(body: object) -> list[str]:
    return [".".join(map(str, problem.location)) for problem in misplaced_secrets(body)]  # type: ignore[arg-type]


def test_the_security_pages_stage_is_taken_in_both_shapes() -> None:
    assert locations({"stages": [LLM_STAGE, NESTED, {**NESTED, "parameters": NESTED["config"]["parameters"]}]}) == []  # type: ignore[index]


def test_every_other_place_is_named() -> None:
    body = {
        "retriever_name": "{{secrets.a}}",
        "metadata": {"api_key": "{{secrets.a}}"},
        "input_schema": {"q": {"type": "text", "default": "{{secrets.a}}"}},
        "stages": [
            {"stage_id": "x", "parameters": {"prompt": "{{secrets.a}}"}},
            {"stage_name": "${vault:a}", "config": {"stage_id": "x", "parameters": {"p": ["{{secrets.a}}"]}}},
            {"config": {"stage_id": "x", "pre_filters": {"api_key": "{{secrets.a}}"}}},
        ],
    }
    assert locations(body) == [
        "retriever_name",
        "metadata.api_key",
        "input_schema.q.default",
        "stages.0.parameters.prompt",
        "stages.1.stage_name",
        "stages.1.config.parameters.p.0",
        "stages.2.config.pre_filters.api_key",
    ]


def test_the_secrets_of_stored_stages_each_once() -> None:
    assert secret_names([NESTED, NESTED, {"config": {"parameters": {"headers": {"A": "{{secrets.b}}"}}}}]) == ["a", "b"]
    assert secret_names([{"config": {"parameters": {"prompt": "no"}}}]) == []


def stored(stage_id: str, **parameters: object) -> dict[str, object]:
    return {"stage_name": "s", "config": {"stage_id": stage_id, "parameters": parameters}}


def test_a_stage_without_a_key_names_the_organizations_own_for_its_provider() -> None:
    stages = [
        stored("llm_enrich", provider="openai"),
        stored("llm_filter"),
        stored("llm_enrich", provider="anthropic"),
        stored("llm_enrich", provider="openai", api_key="{{secrets.own}}"),
        stored("feature_search", provider="openai"),
    ]
    filled = with_default_credentials(stages, {"openai": "shared"}, {}, catalogue())
    keys = [stage["config"]["parameters"].get("api_key") for stage in filled]
    assert keys == ["{{secrets.shared}}", "{{secrets.shared}}", None, "{{secrets.own}}", None]
    assert "api_key" not in stages[0]["config"]["parameters"]  # type: ignore[index]
    assert secret_names(filled) == ["own", "shared"]


def test_a_provider_that_an_input_names_has_the_organizations_own_key_too() -> None:
    stages = [stored("llm_enrich", provider="{{INPUT.who}}"), stored("llm_enrich", provider="{{INPUT.absent}}")]
    filled = with_default_credentials(stages, {"openai": "shared"}, {"who": "openai"}, catalogue())
    assert [stage["config"]["parameters"].get("api_key") for stage in filled] == ["{{secrets.shared}}", None]
    assert secret_names(with_default_credentials(stages, {"openai": "shared"}, {"who": "google"}, catalogue())) == []


def test_a_stage_that_names_only_a_model_has_the_key_of_the_models_provider() -> None:
    stages = [stored("llm_enrich", model="claude-3-haiku"), stored("llm_enrich", model_name="{{INPUT.model}}")]
    filled = with_default_credentials(stages, {"openai": "o", "anthropic": "a"}, {"model": "gpt-4o"}, catalogue())
    assert secret_names(filled) == ["a", "o"]
    assert [stage["config"]["parameters"].get("api_key") for stage in filled] == ["{{secrets.a}}", "{{secrets.o}}"]
