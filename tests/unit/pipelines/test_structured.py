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
        '```JSON\n{"a": 1}\n```',
        '\ufeff{"a": 1}',
        'Here: {"a": 1} - done',
    ],
)
def test_a_fence_around_json_is_taken_off(text: str) -> None:
    assert asked(text).value == {"a": 1}


@pytest.mark.parametrize("text", ["```", "`````", "```json", "``````", "```json\n" + "\n" * 200_000 + "x"])
def test_what_is_no_json_is_refused_at_once(text: str) -> None:
    # models write spaces without end; a pattern that shares them out in every way would not end either
    with pytest.raises(LlmError) as invalid:
        asked(text, text)
    assert invalid.value.failure is LlmFailure.INVALID_OUTPUT


@pytest.mark.parametrize("text", ["", " \n", "\t"])
def test_an_answer_that_says_nothing_is_not_asked_for_again(text: str) -> None:
    with pytest.raises(LlmError) as empty:
        asked(text)
    assert empty.value.failure is LlmFailure.EMPTY


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1} or {"a": 2}', 2),
        ('{"a": 1} is an example of {"a": "number"}', 1),
        ('[{"a": 1}, {"a": 2}] {"a": 3} {}', 3),
        ('{"a": 1} {"b": 2} [3]', 1),
        ('{"a": 1} {"a": 36893488147419103232}', 1),
        ('{"a": 1} ' + '{"a": %s}' % ("9" * 5000), 1),
    ],
)
def test_of_several_values_the_last_that_fits_counts(text: str, value: int) -> None:
    assert asked(text).value["a"] == value


def test_the_model_is_told_what_is_wrong_about_the_last_value() -> None:
    prompts = []

    def ask(request: LlmRequest) -> Completion:
        prompts.append(request.prompt)
        return Completion('{"b": 1} {"a": "x"}' if len(prompts) == 1 else '{"a": 1}', Usage(1), "m")

    assert structured(ask, LlmRequest("m", "prompt", 10, schema=SCHEMA)).value == {"a": 1}
    assert "a breaks the schema's rule 'type'" in prompts[1]


@pytest.mark.parametrize("number", ["1e999", "-1e400", "NaN", "Infinity", "36893488147419103232"])
def test_a_number_that_nothing_can_keep_does_not_fit(number: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "number"}}}
    with pytest.raises(LlmError) as invalid:
        asked(*[f'{{"a": {number}}}'] * 2, schema=schema)
    assert invalid.value.failure is LlmFailure.INVALID_OUTPUT


def test_halves_of_a_pair_are_joined_in_values() -> None:
    schema = {"type": "object"}
    assert asked(r'{"a": "\ud83d\ude00 \ud83d"}', schema=schema).value == {"a": "\U0001f600 \ufffd"}


def test_items_are_unique_or_not_without_comparing_each_with_each() -> None:
    schema = {"type": "object", "properties": {"a": {"uniqueItems": True}, "b": {"uniqueItems": False}}}
    many = [{"n": number} for number in range(30_000)]
    assert asked(json.dumps({"a": many, "b": [1, 1]}), schema=schema).value["a"] == many
    with pytest.raises(LlmError):
        asked(*[json.dumps({"a": [*many, {"n": 5}]})] * 2, schema=schema)
    assert asked('{"a": {"b": 1}}', schema=schema).value == {"a": {"b": 1}}
