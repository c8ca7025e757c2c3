"""Answers that end too early: documents say that they are cut, a schema is asked for once more with a larger bound."""

import json
from typing import Any

import pytest

from core.credits.prices import ModelClass, llm_price
from core.retrievers.parameters_llm import MOST_OUTPUT_TOKENS
from core.retrievers.parameters_search import TEXT_FEATURE
from pipelines.llm.errors import LlmError
from tests.integration.model_world import PROVIDERS, World, enrich, limit_one
from tests.llm_provider import INPUT_TOKENS, OUTPUT_TOKENS, Asked, Reply, content_of, scripted

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
BOUND_WORDS = {"openai": "length", "anthropic": "max_tokens", "google": "MAX_TOKENS"}
ENDS = [
    ("openai", "length", "max_tokens"),
    ("openai", "max_tokens", "max_tokens"),
    ("openai", "content_filter", "content_filter"),
    ("openai", "model_length", "context_window"),
    ("openai", "insufficient_system_resource", "interrupted"),
    ("anthropic", "max_tokens", "max_tokens"),
    ("anthropic", "model_context_window_exceeded", "context_window"),
    ("google", "MAX_TOKENS", "max_tokens"),
    ("google", "SAFETY", "content_filter"),
    ("google", "RECITATION", "content_filter"),
    ("google", "LANGUAGE", "content_filter"),
    ("google", "OTHER", "interrupted"),
]
WHOLE = [
    ("openai", "stop"),
    ("openai", None),
    ("openai", "eos"),
    ("openai", 7),
    ("anthropic", "end_turn"),
    ("anthropic", "stop_sequence"),
    ("google", "STOP"),
    ("google", "FINISH_REASON_UNSPECIFIED"),
    ("google", None),
]


def bound_of(asked: Asked) -> int:
    """The most tokens that a request asks for."""
    match asked.provider:
        case "google":
            bound = asked.body["generationConfig"]["maxOutputTokens"]
        case _:
            bound = asked.body.get("max_tokens") or asked.body.get("max_completion_tokens")
    assert isinstance(bound, int)
    return bound


@pytest.mark.parametrize(("provider", "word", "reason"), ENDS)
def test_a_document_says_that_its_answer_is_cut_and_why(world: World, provider: str, word: str, reason: str) -> None:
    world.server.default = lambda _: Reply(raw=scripted(provider, content_of(provider, "Half an"), word))
    result = world.run(limit_one(), enrich(provider=provider, output_field="found.gist"))
    [document] = result.documents
    assert document["found"] == {"gist": "Half an"}
    assert document["truncated"] == [{"field": "found.gist", "reason": reason}]
    assert result.stage_statistics["llm_enrich"]["truncated_answers"] == 1
    assert len(world.server.asked) == 1


@pytest.mark.parametrize(("provider", "word"), WHOLE)
def test_a_whole_answer_says_nothing(world: World, provider: str, word: Any) -> None:
    world.server.default = lambda _: Reply(raw=scripted(provider, content_of(provider, "All of it"), word))
    result = world.run(limit_one(), enrich(provider=provider))
    assert result.documents[0]["summary"] == "All of it"
    assert "truncated" not in result.documents[0]
    assert "truncated_answers" not in result.stage_statistics["llm_enrich"]


@pytest.mark.parametrize("mode", ["aggregate", "per_document"])
def test_a_summary_says_that_it_is_cut(world: World, mode: str) -> None:
    world.server.default = lambda _: Reply("Half an", finish="length")
    stage = {"stage_id": "summarize", "parameters": {"mode": mode}}
    result = world.run(stage)
    assert [made["truncated"] for made in result.documents] == [[{"field": "summary", "reason": "max_tokens"}]] * len(
        result.documents
    )
    assert result.stage_statistics["summarize"]["truncated_answers"] == len(result.documents)


def test_each_field_has_its_own_mark_and_a_whole_answer_takes_it_away(world: World) -> None:
    world.server.replies = [Reply("Half", finish="length"), Reply("Half", finish="length"), Reply("All")]
    [document] = world.run(
        limit_one(), enrich(output_field="one"), enrich(output_field="two"), enrich(output_field="one")
    ).documents
    assert document["truncated"] == [{"field": "two", "reason": "max_tokens"}]
    world.server.replies = [Reply("Half", finish="length"), Reply("All")]
    result = world.run(limit_one(), enrich(), {**enrich(), "stage_name": "again"})
    assert "truncated" not in result.documents[0]
    assert "truncated_answers" not in result.stage_statistics["again"]


def test_a_stage_counts_its_own_cut_answers_alone(world: World) -> None:
    world.server.replies = [Reply("Half", finish="length"), Reply(status=400)]
    result = world.run(limit_one(), enrich(), {**enrich(on_error="skip"), "stage_name": "again"})
    assert result.documents[0]["truncated"] == [{"field": "summary", "reason": "max_tokens"}]
    assert result.stage_statistics["llm_enrich"]["truncated_answers"] == 1
    assert "truncated_answers" not in result.stage_statistics["again"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_answer_that_was_cut_before_its_first_word_is_an_error(world: World, provider: str) -> None:
    world.server.default = lambda _: Reply(raw=scripted(provider, content_of(provider, ""), BOUND_WORDS[provider]))
    with pytest.raises(LlmError, match="max_tokens") as cut:
        world.run(limit_one(), enrich(provider=provider, max_tokens=50))
    assert cut.value.code == "llm_truncated"
    assert len(world.server.asked) == 1


def _cut_json(provider: str, text: str) -> bytes:
    if provider == "anthropic":
        # what came of the tool's input so far looks like all of it
        block = {"type": "tool_use", "id": "t", "name": "give_output", "input": {"a": 1}}
        return scripted(provider, [block], "max_tokens")
    return scripted(provider, content_of(provider, text), BOUND_WORDS[provider])


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("text", ['{"a": 1, "b": "and', '{"a": 1}', ""])
def test_a_cut_value_is_asked_for_once_more_with_a_larger_bound(world: World, provider: str, text: str) -> None:
    world.server.replies = [Reply(raw=_cut_json(provider, text))]
    world.server.default = lambda _: Reply('{"a": 2}')
    result = world.run(limit_one(), enrich(provider=provider, schema=SCHEMA, max_tokens=100))
    assert result.documents[0]["summary"] == {"a": 2}
    assert "truncated" not in result.documents[0]
    first, second = world.server.asked
    assert (bound_of(first), bound_of(second)) == (100, 400)
    assert first.prompt == second.prompt


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_value_that_is_cut_twice_is_an_error_and_paid(world: World, provider: str) -> None:
    world.server.default = lambda _: Reply(raw=_cut_json(provider, '{"a": 1'))
    with pytest.raises(LlmError) as cut:
        world.run(limit_one(), enrich(provider=provider, schema=SCHEMA))
    assert cut.value.code == "llm_truncated"
    assert len(world.server.asked) == 2
    assert cut.value.spent == 2 * llm_price(ModelClass.SMALL, INPUT_TOKENS + OUTPUT_TOKENS)


def test_the_same_bound_is_never_asked_for_twice(world: World) -> None:
    world.server.default = lambda _: Reply('{"a": 1', finish="length")
    with pytest.raises(LlmError) as cut:
        world.run(limit_one(), enrich(schema=SCHEMA, max_tokens=MOST_OUTPUT_TOKENS))
    assert (cut.value.code, len(world.server.asked)) == ("llm_truncated", 1)
    world.server.asked.clear()
    with pytest.raises(LlmError):
        world.run(limit_one(), enrich(schema=SCHEMA, max_tokens=20_000))
    assert [bound_of(asked) for asked in world.server.asked] == [20_000, MOST_OUTPUT_TOKENS]


@pytest.mark.parametrize(("tokens", "bounds"), [(280, [100]), (450, [100, 200]), (700, [100, 400])])
def test_the_larger_bound_is_what_the_hold_allows(world: World, tokens: int, bounds: list[int]) -> None:
    world.server.default = lambda _: Reply('{"a": 1', finish="length")
    # what is sent is reserved with some 150 tokens, and an answer says that it used 18
    budget = llm_price(ModelClass.SMALL, tokens)
    with pytest.raises(LlmError) as cut:
        world.run(limit_one(), enrich(schema=SCHEMA, max_tokens=100), budget=budget)
    assert cut.value.code == "llm_truncated"
    assert [bound_of(asked) for asked in world.server.asked] == bounds


def test_a_model_that_takes_no_larger_bound_has_cut_its_answer(world: World) -> None:
    world.server.replies = [Reply('{"a": 1', finish="length"), Reply(status=400)]
    with pytest.raises(LlmError) as cut:
        world.run(limit_one(), enrich(schema=SCHEMA))
    assert (cut.value.code, len(world.server.asked)) == ("llm_truncated", 2)


@pytest.mark.parametrize(
    ("provider", "word", "code"),
    [
        ("openai", "content_filter", "llm_refused"),
        ("openai", "model_length", "llm_truncated"),
        ("google", "SAFETY", "llm_refused"),
        ("google", "OTHER", "llm_truncated"),
    ],
)
def test_a_value_that_a_larger_bound_does_not_help_is_not_asked_for_again(
    world: World, provider: str, word: str, code: str
) -> None:
    world.server.default = lambda _: Reply(raw=scripted(provider, content_of(provider, '{"a": 1}'), word))
    with pytest.raises(LlmError) as cut:
        world.run(limit_one(), enrich(provider=provider, schema=SCHEMA))
    assert (cut.value.code, len(world.server.asked)) == (code, 1)


def test_a_repaired_answer_that_is_cut_is_an_error(world: World) -> None:
    world.server.replies = [Reply("no JSON"), Reply('{"a": 1', finish="length")]
    with pytest.raises(LlmError) as cut:
        world.run(limit_one(), enrich(schema=SCHEMA))
    assert (cut.value.code, len(world.server.asked)) == ("llm_truncated", 2)


def test_llm_filter_and_query_expand_ask_once_more_with_a_larger_bound(world: World) -> None:
    world.server.replies = [Reply('{"keep"', finish="length")]
    world.server.default = lambda _: Reply('{"keep": true}')
    stage = {"stage_id": "llm_filter", "parameters": {"criteria": "About food", "batch_size": 1}}
    assert len(world.run(stage).documents) == 3
    assert [bound_of(asked) for asked in world.server.asked] == [256, 1024, 256, 256]
    world.server.asked.clear()
    world.server.replies = [Reply('{"queries": ["bread"', finish="length")]
    world.server.default = lambda _: Reply(json.dumps({"queries": ["bread in an oven"]}))
    search = {"searches": [{"feature_uri": TEXT_FEATURE, "query": "food"}], "final_top_k": 1}
    found = world.run({"stage_id": "query_expand", "parameters": {"feature_search_config": search}}).documents
    assert [document["document_id"] for document in found] == ["doc_1"]
    assert [bound_of(asked) for asked in world.server.asked] == [240, 960]


@pytest.mark.parametrize(("on_error", "kept"), [("skip", 3), ("remove", 2)])
def test_llm_filter_decides_about_a_verdict_that_stays_cut_as_about_any_failure(
    world: World, on_error: str, kept: int
) -> None:
    def answer(asked: Asked) -> Reply:
        return Reply('{"keep"', finish="length") if "baked" in asked.prompt else Reply('{"keep": true}')

    world.server.default = answer
    stage = {"stage_id": "llm_filter", "parameters": {"criteria": "About food", "on_error": on_error}}
    result = world.run(stage)
    assert len(result.documents) == kept
    assert result.stage_statistics["llm_filter"]["failed_documents"] == 1


def test_a_field_of_the_customers_that_is_called_truncated_is_left_alone_by_whole_answers(world: World) -> None:
    world.server.default = lambda _: Reply("All")
    result = world.run(limit_one(), enrich(output_field="truncated"), enrich())
    assert result.documents[0]["truncated"] == "All"
