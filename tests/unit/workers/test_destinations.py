"""Where a secret is counted as sent: where the stage can really send it, whatever else its parameters say."""

from typing import Any

import pytest

from core.language_models.catalogue import catalogue
from workers.destinations import destinations

BASE_URLS = {"openai": "https://LLM.example.com:8443/v1", "anthropic": "https://api.anthropic.com"}


def hosts(stage_id: str, inputs: dict[str, Any] | None = None, **parameters: Any) -> tuple[str, ...]:
    stage = {"stage_name": "s", "config": {"stage_id": stage_id, "parameters": parameters}}
    return destinations([stage], inputs or {}, BASE_URLS, catalogue())["k"]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, "llm.example.com"),
        ({"provider": None}, "llm.example.com"),
        ({"provider": "anthropic"}, "api.anthropic.com"),
        ({"model": "claude-haiku-4-5"}, "api.anthropic.com"),
        ({"provider": "{{INPUT.whose}}"}, "api.anthropic.com"),
        ({"provider": "{{INPUT.missing}}"}, "unknown"),
        ({"provider": "google"}, "unknown"),
        # names that the stage does not know lead it nowhere
        ({"base_url": "https://elsewhere.example.com", "url": "https://elsewhere.example.com"}, "llm.example.com"),
    ],
)
def test_a_models_key_goes_to_the_host_that_the_operator_set(parameters: dict[str, Any], expected: str) -> None:
    assert hosts("llm_enrich", {"whose": "anthropic"}, api_key="{{secrets.k}}", **parameters) == (expected,)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://API.example.com/{{DOC.id}}?q={{x}}", ("api.example.com",)),
        ("https://{{INPUT.host}}/", ("*.example.org", "api.example.com")),
        ("https://api.{{INPUT.host}}/", ("*.example.org", "api.example.com")),
        ("https://api.example.com{{INPUT.rest}}", ("*.example.org", "api.example.com")),
        ("{{INPUT.url}}", ("*.example.org", "api.example.com")),
        ("{% if DOC.x %}https://api.example.com/{% endif %}", ("*.example.org", "api.example.com")),
        ("https://[bad", ("*.example.org", "api.example.com")),
    ],
)
def test_a_call_goes_to_its_host_or_to_any_domain_that_its_template_can_lead_to(
    url: str, expected: tuple[str, ...]
) -> None:
    allowed = ["api.example.com", "*.Example.org"]
    assert hosts("api_call", url=url, allowed_domains=allowed, auth={"secret_ref": "k"}) == expected
    assert hosts("api_call", url=url, allowed_domains=allowed, headers={"X-Key": "{{secrets.k}}"}) == expected


def test_a_secret_that_several_stages_name_has_the_hosts_of_all() -> None:
    stages = [
        {"config": {"stage_id": "llm_filter", "parameters": {"api_key": "{{secrets.a}}"}}},
        {
            "config": {
                "stage_id": "api_call",
                "parameters": {"url": "https://b.example.com", "auth": {"value": "{{secrets.a}}"}},
            }
        },
        {"config": {"stage_id": "a_stage_to_come", "parameters": {"api_key": "{{secrets.c}}"}}},
    ]
    assert destinations(stages, {}, BASE_URLS, catalogue()) == {
        "a": ("b.example.com", "llm.example.com"),
        "c": ("unknown",),
    }
