"""Which model is asked for a name, and with what, by a server that speaks the providers' protocols."""

from datetime import date
from typing import Any

import pytest

from core.credits.prices import ModelClass, llm_price
from tests.integration.model_world import World, enrich, limit_one
from tests.llm_provider import INPUT_TOKENS, OUTPUT_TOKENS, Asked, says

BEFORE, FROM = date(2027, 1, 13), date(2027, 1, 14)
SCHEMA = {"type": "object", "properties": {"topic": {"type": "string"}}, "required": ["topic"]}


def model_of(asked: Asked) -> str:
    """The name that went out."""
    return asked.path.rpartition("/")[2].partition(":")[0] if asked.provider == "google" else str(asked.body["model"])


def parameters_of(asked: Asked) -> dict[str, Any]:
    """What the request carries beside its question."""
    body = asked.body.get("generationConfig", {}) if asked.provider == "google" else asked.body
    return {name: value for name, value in body.items() if name not in ("model", "messages", "system")}


@pytest.mark.parametrize(
    ("named", "today", "later"),
    [
        ("gpt-4o", "gpt-4o", "gpt-6-luna"),
        ("gpt-4o-mini", "gpt-4o-mini", "gpt-6-luna"),
        ("claude-3-haiku", "claude-haiku-4-5", "claude-haiku-4-5"),
        ("claude-3-sonnet", "claude-sonnet-4-6", "claude-sonnet-4-6"),
        ("claude-3-opus", "claude-opus-4-8", "claude-opus-4-8"),
        ("gemini-2.0-flash", "gemini-3.5-flash-lite", "gemini-3.5-flash-lite"),
        ("gemini-1.5-pro", "gemini-3.8-flash", "gemini-3.8-flash"),
    ],
)
def test_each_name_of_the_security_page_is_asked_by_who_serves_it(
    world: World, named: str, today: str, later: str
) -> None:
    for day, asked in ((BEFORE, today), (FROM, later)):
        world.server.asked.clear()
        statistics = world.run(limit_one(), enrich(model=named), day=day).stage_statistics["llm_enrich"]
        assert [model_of(request) for request in world.server.asked] == [asked]
        assert (statistics["requested_model"], statistics["asked_model"]) == (named, asked)


@pytest.mark.parametrize(
    ("named", "sent"),
    [
        ("gpt-4o", {"max_tokens": 512, "temperature": 0.2}),
        ("gpt-6-luna", {"max_completion_tokens": 512, "reasoning_effort": "none"}),
        ("gpt-6.1-sol", {"max_completion_tokens": 512, "reasoning_effort": "low"}),
        ("gpt-5-mini", {"max_completion_tokens": 512, "reasoning_effort": "minimal"}),
        ("gpt-6.9-nova", {"max_completion_tokens": 512}),
        ("o3-mini", {"max_completion_tokens": 512, "reasoning_effort": "none"}),
        ("llama-3", {"max_tokens": 512, "temperature": 0.2}),
        ("claude-haiku-4-5", {"max_tokens": 512, "temperature": 0.2}),
        ("claude-opus-4-8", {"max_tokens": 512}),
        ("claude-haiku-5-5", {"max_tokens": 512, "thinking": {"type": "disabled"}}),
        ("claude-opus-9", {"max_tokens": 512}),
        ("gemini-2.5-flash-lite", {"maxOutputTokens": 512, "temperature": 0.2}),
        ("gemini-3.5-flash-lite", {"maxOutputTokens": 512}),
        ("gemini-1.5-pro", {"maxOutputTokens": 512, "thinkingConfig": {"thinkingLevel": "low"}}),
    ],
)
def test_a_model_gets_the_parameters_that_it_takes(world: World, named: str, sent: dict[str, Any]) -> None:
    world.run(limit_one(), enrich(model=named))
    [request] = world.server.asked
    assert parameters_of(request) == sent


def test_a_successor_gets_its_own_parameters(world: World) -> None:
    world.run(limit_one(), enrich(model="gpt-4o-mini"), day=FROM)
    [request] = world.server.asked
    assert parameters_of(request) == {"max_completion_tokens": 512, "reasoning_effort": "none"}


def test_no_more_is_asked_for_than_a_model_can_write(world: World) -> None:
    world.run(limit_one(), enrich(model="gpt-4o-mini", max_tokens=20_000))
    world.run(limit_one(), enrich(model="gpt-6-luna", max_tokens=20_000))
    assert [next(iter(parameters_of(asked).values())) for asked in world.server.asked] == [16_384, 20_000]


@pytest.mark.parametrize(
    ("named", "choice"),
    [
        ("claude-haiku-4-5", {"type": "tool", "name": "give_output"}),
        # models that cannot stop thinking refuse to be made to use a tool
        ("claude-opus-5-5", {"type": "auto"}),
        ("claude-opus-9", {"type": "auto"}),
    ],
)
def test_anthropic_is_asked_for_a_form_as_the_model_takes_it(world: World, named: str, choice: dict[str, str]) -> None:
    world.server.default = says('{"topic": "keys"}')
    [made] = world.run(limit_one(), enrich(model=named, schema=SCHEMA, system_prompt="Be brief.")).documents
    assert made["summary"] == {"topic": "keys"}
    [request] = world.server.asked
    assert request.body["tool_choice"] == choice
    told = request.body["system"].splitlines()
    assert (told[0], len(told)) == ("Be brief.", 2 if choice["type"] == "auto" else 1)


@pytest.mark.parametrize(
    ("named", "kind"),
    [("gpt-4o", ModelClass.STANDARD), ("claude-3-opus", ModelClass.LARGE), ("gemini-2.0-flash", ModelClass.SMALL)],
)
def test_the_price_goes_by_the_name_that_the_stage_gives(world: World, named: str, kind: ModelClass) -> None:
    for day in (BEFORE, FROM):
        charged = world.run(limit_one(), enrich(model=named), day=day).llm_charge
        assert charged == llm_price(kind, INPUT_TOKENS + OUTPUT_TOKENS)


def test_an_operators_entries_reach_the_call(world: World) -> None:
    own: dict[str, dict[str, Any]] = {
        "gpt-4o": {"successor": "my-llama", "from": "2026-12-01"},
        "my-llama": {"provider": "openai", "default": True, "extra": {"top_k": 5}},
        "my-claude": {"provider": "anthropic", "temperature": True},
    }
    stages = [enrich(model="gpt-4o"), enrich(), enrich(model="my-claude")]
    statistics = world.run(limit_one(), *stages, models=own).stage_statistics
    assert [(asked.provider, model_of(asked)) for asked in world.server.asked] == [
        ("openai", "my-llama"),
        ("openai", "my-llama"),
        ("anthropic", "my-claude"),
    ]
    assert parameters_of(world.server.asked[0]) == {"max_tokens": 512, "temperature": 0.2, "top_k": 5}
    assert statistics["llm_enrich"]["asked_model"] == "my-llama"
    # without them the name is nobody's
    world.run(limit_one(), enrich(model="my-claude"))
    assert world.server.asked[-1].provider == "openai"
