"""Answers of models as JSON: with a fence or without, and in no time whatever a model writes."""

import json
from typing import Any

import pytest

from pipelines.llm.errors import LlmError, LlmFailure
from pipelines.llm.provider import Completion, LlmRequest, Usage
from pipelines.llm.structured import structured

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def asked(*answers: str, schema: dict[str, Any] | None = None) -> Completion:
    """What comes of these answers, one after the other."""
    waiting = list(answers)
    request = LlmRequest("m", "prompt", 10, schema=schema or SCHEMA)
    return structured(lambda _: Completion(waiting.pop(0), Usage(1), "m"), request)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        '  {"a": 1}\n',
        '```json\n{"a": 1}\n```',
        '\n```{"a": 1}```\n',
        '``` {"a": 1} ```',
    ],
)
def test_a_fence_around_json_is_taken_off(text: str) -> None:
    assert asked(text).value == {"a": 1}


@pytest.mark.parametrize("text", ["", "```", "`````", "```json", "``````", "```json\n" + "\n" * 200_000 + "x"])
def test_what_is_no_json_is_refused_at_once(text: str) -> None:
    # models write spaces without end; a pattern that shares them out in every way would not end either
    with pytest.raises(LlmError) as invalid:
        asked(text, text)
    assert invalid.value.failure is LlmFailure.INVALID_OUTPUT


def test_items_are_unique_or_not_without_comparing_each_with_each() -> None:
    schema = {"type": "object", "properties": {"a": {"uniqueItems": True}, "b": {"uniqueItems": False}}}
    many = [{"n": number} for number in range(30_000)]
    assert asked(json.dumps({"a": many, "b": [1, 1]}), schema=schema).value["a"] == many
    with pytest.raises(LlmError):
        asked(*[json.dumps({"a": [*many, {"n": 5}]})] * 2, schema=schema)
    assert asked('{"a": {"b": 1}}', schema=schema).value == {"a": {"b": 1}}
