"""What comes back from providers in shapes of all kinds: its text, what is none, what was used, and what is charged."""

import json
from typing import Any

import pytest
from pydantic import SecretStr

from core.backends.backend import Backend
from core.credits.prices import ModelClass, llm_price
from core.errors import BackendAwayError
from pipelines.llm.access import Llm, ModelChoice
from pipelines.llm.errors import LlmError
from pipelines.llm.provider import LlmRequest
from pipelines.llm.providers import LlmSettings, ProviderSettings
from pipelines.room import Room, RoomExhaustedError
from tests.integration.model_world import PLENTY, PROVIDERS, World, enrich, limit_one
from tests.llm_provider import INPUT_TOKENS, OUTPUT_TOKENS, Reply, content_of, counts, scripted

PAID = INPUT_TOKENS + OUTPUT_TOKENS
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}

_SEARCH = {
    "stage_id": "feature_search",
    "parameters": {"searches": [{"feature_uri": "mixpeek://text_extractor@v1/text_embedding", "query": "keys"}]},
}

TEXTS: list[tuple[str, Any, str]] = [
    ("openai", [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}], "one two"),
    ("openai", [{"type": "output_text", "text": "two"}], "two"),
    ("openai", [{"type": "text", "text": {"value": "two"}}], "two"),
    ("openai", [{"text": "two"}, "three"], "twothree"),
    ("openai", {"type": "text", "text": "two"}, "two"),
    (
        "openai",
        [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "two"}],
        "two",
    ),
    ("openai", [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "two"}], "two"),
    ("openai", [None, 7, {"type": "text"}, {"type": "text", "text": 7}, {"type": "text", "text": "two"}], "two"),
    ("openai", "<think>\nhm\n</think>\n\ntwo", "two"),
    ("openai", "two, as in <think>hm</think>", "two, as in <think>hm</think>"),
    ("openai", [{"type": "text", "text": "a \ud83d"}, {"type": "text", "text": "\ude00 b"}], "a \U0001f600 b"),
    ("anthropic", [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}], "one two"),
    (
        "anthropic",
        [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "text", "text": "two"},
        ],
        "two",
    ),
    ("anthropic", [None, 7, {"type": "text", "text": ["x"]}, {"type": "text", "text": "two"}], "two"),
    ("anthropic", "two", "two"),
    ("anthropic", [{"type": "text", "text": "a \ud83d"}, {"type": "text", "text": "\ude00 b"}], "a \U0001f600 b"),
    ("google", [{"text": "one "}, {"text": "two"}], "one two"),
    ("google", [{"text": "hm", "thought": True}, {"text": "two", "thoughtSignature": "c2ln"}], "two"),
    ("google", [None, 7, {"text": 7}, {"inlineData": {"data": ""}}, {"text": "two"}], "two"),
    ("google", [{"text": "a \ud83d"}, {"text": "\ude00 b"}], "a \U0001f600 b"),
]


@pytest.mark.parametrize(("provider", "content", "text"), TEXTS)
def test_text_parts_are_joined_and_thoughts_are_left_out(world: World, provider: str, content: Any, text: str) -> None:
    world.server.default = lambda _: Reply(raw=scripted(provider, content))
    result = world.run(limit_one(), enrich(provider=provider))
    assert result.documents[0]["summary"] == text
    assert len(world.server.asked) == 1


NO_TEXT: list[tuple[str, bytes]] = [
    ("openai", scripted("openai", None)),
    ("openai", scripted("openai", "")),
    ("openai", scripted("openai", " \n")),
    ("openai", scripted("openai", [])),
    ("openai", scripted("openai", 7)),
    ("openai", scripted("openai", [{"type": "thinking", "thinking": "hm"}])),
    ("openai", scripted("openai", "<think>and on and on")),
    ("openai", scripted("openai", None, "tool_calls")),
    ("openai", scripted("openai", None, choices=[])),
    ("openai", scripted("openai", None, choices=None)),
    ("openai", scripted("openai", None, choices=[{"index": 0, "message": None, "finish_reason": "stop"}])),
    (
        "openai",
        scripted("openai", None, choices=[{"message": {"content": None, "reasoning_content": "hm"}}]),
    ),
    ("anthropic", scripted("anthropic", [], "end_turn")),
    ("anthropic", scripted("anthropic", None, "end_turn")),
    ("anthropic", scripted("anthropic", [{"type": "text", "text": ""}], "end_turn")),
    ("anthropic", scripted("anthropic", [{"type": "thinking", "thinking": "hm", "signature": "s"}], "end_turn")),
    ("anthropic", scripted("anthropic", [{"type": "tool_use", "id": "t", "name": "x", "input": {}}], "tool_use")),
    ("google", scripted("google", [], "STOP")),
    ("google", scripted("google", None, "STOP")),
    ("google", scripted("google", [{"text": "hm", "thought": True}], "STOP")),
    ("google", scripted("google", None, candidates=[])),
    ("google", scripted("google", None, candidates=[{"finishReason": "STOP"}])),
    ("google", scripted("google", None, candidates=[{"content": {}, "finishReason": "MALFORMED_FUNCTION_CALL"}])),
]


@pytest.mark.parametrize(("provider", "raw"), NO_TEXT)
def test_an_answer_without_text_is_an_error_and_what_the_provider_counted_is_paid(
    world: World, provider: str, raw: bytes
) -> None:
    world.server.default = lambda _: Reply(raw=raw)
    with pytest.raises(LlmError) as empty:
        world.run(limit_one(), enrich(provider=provider))
    assert empty.value.code == "llm_empty"
    assert len(world.server.asked) == 1
    assert empty.value.spent == llm_price(ModelClass.SMALL, PAID)


REFUSALS: list[tuple[str, bytes]] = [
    (
        "openai",
        scripted(
            "openai", None, choices=[{"message": {"content": "", "refusal": "I cannot"}, "finish_reason": "stop"}]
        ),
    ),
    ("openai", scripted("openai", [{"type": "refusal", "refusal": "I cannot"}])),
    ("openai", scripted("openai", None, "content_filter")),
    ("anthropic", scripted("anthropic", [], "refusal")),
    ("anthropic", scripted("anthropic", [{"type": "text", "text": "I was about to"}], "refusal")),
    ("google", scripted("google", None, "SAFETY")),
    ("google", scripted("google", None, "PROHIBITED_CONTENT")),
    ("google", scripted("google", None, "MODEL_ARMOR")),
    ("google", scripted("google", None, candidates=[], promptFeedback={"blockReason": "SAFETY"})),
    ("google", scripted("google", None, candidates=None, promptFeedback={"blockReason": "OTHER"})),
]


@pytest.mark.parametrize(("provider", "raw"), REFUSALS)
@pytest.mark.parametrize("schema", [None, SCHEMA])
def test_a_refusal_is_a_refusal_and_what_the_provider_counted_is_paid(
    world: World, provider: str, raw: bytes, schema: Any
) -> None:
    world.server.default = lambda _: Reply(raw=raw)
    with pytest.raises(LlmError) as refused:
        world.run(limit_one(), enrich(provider=provider, schema=schema))
    assert refused.value.code == "llm_refused"
    assert len(world.server.asked) == 1
    assert refused.value.spent == llm_price(ModelClass.SMALL, PAID)


def test_a_backend_that_goes_away_after_a_model_was_asked_says_what_that_cost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise BackendAwayError(Backend.VECTORS, "broke off")

    monkeypatch.setattr(world.library.vectors, "search", away)
    with pytest.raises(BackendAwayError) as broken:
        world.run(limit_one(), enrich(), _SEARCH)
    assert len(world.server.asked) == 1
    assert broken.value.spent == llm_price(ModelClass.SMALL, PAID)


def test_an_answer_without_text_or_count_costs_nothing(world: World) -> None:
    world.server.default = lambda _: Reply(raw=scripted("openai", None, usage=None))
    with pytest.raises(LlmError) as empty:
        world.run(limit_one(), enrich())
    assert (empty.value.code, empty.value.spent) == ("llm_empty", 0)


@pytest.mark.parametrize(
    "content",
    [
        [
            {"type": "text", "text": "I call it."},
            {"type": "tool_use", "id": "t", "name": "give_output", "input": {"a": 1}},
        ],
        [{"type": "tool_use", "id": "t", "name": "give_output", "input": '{"a": 1}'}],
        [{"type": "text", "text": 'No tool here: {"a": 1}'}],
    ],
)
def test_anthropics_value_is_the_tools_or_else_the_texts(world: World, content: Any) -> None:
    world.server.default = lambda _: Reply(raw=scripted("anthropic", content, "tool_use"))
    result = world.run(limit_one(), enrich(provider="anthropic", schema=SCHEMA))
    assert result.documents[0]["summary"] == {"a": 1}
    assert len(world.server.asked) == 1


def test_the_first_choice_counts_whatever_its_index_says(world: World) -> None:
    choices = [{"index": index, "message": {"content": text}} for index, text in ((0, "first"), (0, "second"))]
    world.server.default = lambda _: Reply(raw=scripted("openai", None, choices=choices, model=None))
    assert world.run(limit_one(), enrich()).documents[0]["summary"] == "first"


UNUSABLE: list[Any] = [None, "11", "many", -1, -1_000_000, 1.5, 10**15, 10**30, True, [1], {"n": 1}]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("count", UNUSABLE, ids=repr)
def test_counts_that_are_none_are_estimated_and_the_answer_is_kept(world: World, provider: str, count: Any) -> None:
    _expect_an_estimate(world, provider, counts(provider, count, count))


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("usage", [None, "text", [], 7, {}, [{"prompt_tokens": 5}], True])
def test_usage_that_is_none_is_estimated_and_the_answer_is_kept(world: World, provider: str, usage: Any) -> None:
    _expect_an_estimate(world, provider, {"usageMetadata" if provider == "google" else "usage": usage})


def _expect_an_estimate(world: World, provider: str, used: dict[str, Any]) -> None:
    content = content_of(provider, "ok")
    world.server.default = lambda _: Reply(raw=scripted(provider, content, **used))
    result = world.run(limit_one(), enrich(provider=provider, prompt="{{ DOC.text }}"))
    assert result.documents[0]["summary"] == "ok"
    assert len(world.server.asked) == 1
    # 26 bytes read and 2 written, 3 to a token
    statistics = result.stage_statistics["llm_enrich"]
    assert (statistics["input_tokens"], statistics["output_tokens"]) == (9, 1)
    assert result.llm_charge == llm_price(ModelClass.SMALL, 10)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_one_count_that_is_none_leaves_the_other(world: World, provider: str) -> None:
    raw = scripted(provider, content_of(provider, "ok"), **counts(provider, 5, 10**15))
    world.server.default = lambda _: Reply(raw=raw)
    statistics = world.run(limit_one(), enrich(provider=provider)).stage_statistics["llm_enrich"]
    assert (statistics["input_tokens"], statistics["output_tokens"]) == (5, 1)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_absurd_count_spends_no_more_than_was_sent_and_asked_for(world: World, provider: str) -> None:
    raw = scripted(provider, content_of(provider, "word " * 1000), **counts(provider, 10**15, 10**15))
    world.server.default = lambda _: Reply(raw=raw)
    result = world.run(limit_one(), enrich(provider=provider, prompt="{{ DOC.text }}", max_tokens=20))
    assert result.llm_charge == llm_price(ModelClass.SMALL, 9 + 20)
    assert not result.exhausted


def test_thoughts_are_written_tokens_at_google(world: World) -> None:
    used = {"promptTokenCount": 5, "candidatesTokenCount": 2, "thoughtsTokenCount": 40}
    world.server.default = lambda _: Reply(raw=scripted("google", [{"text": "ok"}], "STOP", usageMetadata=used))
    statistics = world.run(limit_one(), enrich(provider="google")).stage_statistics["llm_enrich"]
    assert (statistics["input_tokens"], statistics["output_tokens"]) == (5, 42)


FENCED = "```"
JSON_TEXTS = [
    'Here it is: {"a": 1}',
    '{"a": 1}\n\nI hope this helps {you}.',
    f'Sure!\n{FENCED}JSON\n{{"a": 1}}\n{FENCED}\nDone.',
    '\ufeff{"a": 1}',
    '{"a": 1, "b": "two\nlines\tof it"}',
    '{"a": 9, "b": 1} no, rather: {"a": 1}',
    '{"a": 1,}',
]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("text", JSON_TEXTS)
def test_json_is_found_where_a_model_puts_it_with_one_call(world: World, provider: str, text: str) -> None:
    content = content_of(provider, text)
    world.server.default = lambda _: Reply(raw=scripted(provider, content))
    result = world.run(limit_one(), enrich(provider=provider, schema=SCHEMA))
    assert result.documents[0]["summary"]["a"] == 1
    assert len(world.server.asked) == 1


def test_llm_filter_and_query_expand_read_json_as_leniently(world: World) -> None:
    world.server.default = lambda _: Reply('I would keep it.\n```JSON\n{"keep": true}\n```')
    kept = world.run({"stage_id": "llm_filter", "parameters": {"criteria": "About food"}}).documents
    assert (len(kept), len(world.server.asked)) == (3, 3)


def test_answers_that_are_kept_have_room_together(world: World) -> None:
    world.server.default = lambda _: Reply("x" * 1000)
    world.room = Room(2500)
    with pytest.raises(RoomExhaustedError):
        world.run(enrich())


def _llm(world: World) -> Llm:
    settings = {name: ProviderSettings(world.server.base_url(name), SecretStr("k" * 9)) for name in PROVIDERS}
    return Llm(world.pool, LlmSettings(settings), budget=PLENTY)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_models_name_is_the_asked_one_when_the_provider_gives_none(world: World, provider: str) -> None:
    content = content_of(provider, "ok")
    for odd in (None, 7, ["m"]):
        world.server.replies = [Reply(raw=scripted(provider, content, model=odd, modelVersion=odd))]
        answer = _llm(world).complete(ModelChoice(provider, "asked", None), LlmRequest("asked", "p", 10))
        assert (answer.text, answer.model) == ("ok", "asked")


def test_scripted_answers_are_json() -> None:
    assert all(json.loads(raw) for _, raw in NO_TEXT + REFUSALS)
