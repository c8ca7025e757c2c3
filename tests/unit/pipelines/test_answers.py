"""What all protocols share: how an answer's end is named, and errors that come as answers."""

from typing import Any

import pytest

from pipelines.llm.answers import ended, opened
from pipelines.llm.errors import LlmError
from pipelines.llm.provider import End


@pytest.mark.parametrize(
    ("word", "end"),
    [
        ("length", End.MAX_TOKENS),
        ("MAX_TOKENS", End.MAX_TOKENS),
        ("model_context_window_exceeded", End.CONTEXT_WINDOW),
        ("content_filter", End.CONTENT_FILTER),
        ("PROHIBITED_CONTENT", End.CONTENT_FILTER),
        ("refusal", End.REFUSAL),
        ("MALFORMED_RESPONSE", End.INTERRUPTED),
        ("stop", End.WHOLE),
        ("end_turn", End.WHOLE),
        ("tool_use", End.WHOLE),
        ("a word of tomorrow", End.WHOLE),
        (None, End.WHOLE),
        (1, End.WHOLE),
        (["length"], End.WHOLE),
    ],
)
def test_how_an_answer_ended(word: Any, end: End) -> None:
    assert ended(word) is end


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("data: {}", "llm_unreadable"),
        ("\nevent: message_start\ndata: {}", "llm_unreadable"),
        (": keep-alive\n\ndata: {}", "llm_unreadable"),
        ("<html>", "llm_unavailable"),
        ("[]", "llm_unavailable"),
        ("{" * 9, "llm_unavailable"),
        ('{"error": {"code": 401}}', "llm_unauthorized"),
        ('{"error": {"code": "rate_limit_exceeded"}}', "llm_rate_limited"),
        ('{"error": {"code": true}}', "llm_unavailable"),
        ('{"error": {"code": 200}}', "llm_unavailable"),
        ('{"error": {"code": 1e999}}', "llm_unavailable"),
        ('{"error": {"type": "billing_error"}}', "llm_quota_exhausted"),
    ],
)
def test_what_is_no_answer(body: str, code: str) -> None:
    with pytest.raises(LlmError) as failed:
        opened("openai", "m", body)
    assert failed.value.code == code


@pytest.mark.parametrize("body", ['{"choices": []}', '{"error": null, "choices": []}', '\n {"choices": []}'])
def test_what_is_an_answer(body: str) -> None:
    assert opened("openai", "m", body)["choices"] == []
