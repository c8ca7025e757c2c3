"""Answers that are odd as HTTP: broken text, far too much of it, pages, streams, errors in an answer's clothes, and
accounts without credit."""

import gzip
import json
from typing import Any

import pytest

from pipelines.llm.errors import LlmError
from tests.integration.model_world import PROVIDERS, VAULT, World, enrich, limit_one
from tests.llm_provider import Reply, content_of, scripted

GZIP = {"Content-Encoding": "gzip"}
MEBIBYTE = 1024 * 1024


def _answer(provider: str, text: str, **changes: Any) -> bytes:
    return scripted(provider, content_of(provider, text), **changes)


def _failure(world: World, provider: str, reply: Reply, **stage: Any) -> LlmError:
    world.server.asked.clear()
    world.server.default = lambda _: reply
    with pytest.raises(LlmError) as failed:
        world.run(limit_one(), enrich(provider=provider, **stage), secrets={"mine": VAULT[provider]})
    return failed.value


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/json; charset=latin-1"}])
def test_bytes_that_are_no_utf8_are_replaced(world: World, provider: str, headers: dict[str, str]) -> None:
    raw = _answer(provider, "caf@ \u00e9").replace(b"@", b"\xe9").replace(b"\\u00e9", "\u00e9".encode())
    world.server.default = lambda _: Reply(raw=raw, headers=headers)
    result = world.run(limit_one(), enrich(provider=provider))
    assert result.documents[0]["summary"] == "caf\ufffd \u00e9"
    assert len(world.server.asked) == 1


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_read(world: World, provider: str, encoding: str) -> None:
    world.server.default = lambda _: Reply(raw=_answer(provider, "ok").decode().encode(encoding))
    assert world.run(limit_one(), enrich(provider=provider)).documents[0]["summary"] == "ok"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_packed_answer_is_unpacked(world: World, provider: str) -> None:
    world.server.default = lambda _: Reply(raw=gzip.compress(_answer(provider, "ok")), headers=GZIP)
    assert world.run(limit_one(), enrich(provider=provider)).documents[0]["summary"] == "ok"
    assert world.server.asked[0].headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("packed", [False, True])
def test_a_text_of_ten_megabytes_is_cut(world: World, provider: str, packed: bool) -> None:
    raw = _answer(provider, "x" * 10_000_000)
    world.server.default = lambda _: Reply(raw=gzip.compress(raw) if packed else raw, headers=GZIP if packed else {})
    [document] = world.run(limit_one(), enrich(provider=provider)).documents
    assert len(document["summary"]) == MEBIBYTE
    assert document["truncated"] == [{"field": "summary", "reason": "too_long"}]
    assert len(world.server.asked) == 1


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_that_is_larger_than_any_can_be_is_not_read_to_its_end(
    world: World, provider: str, packed: bool
) -> None:
    raw = _answer(provider, "x" * 20_000_000)
    reply = Reply(raw=gzip.compress(raw) if packed else raw, headers=GZIP if packed else {})
    failed = _failure(world, provider, reply)
    assert (failed.code, len(world.server.asked)) == ("llm_unreadable", 1)
    assert "16 MiB" in failed.message


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("encoding", ["br", "gzip"])
def test_an_answer_that_cannot_be_unpacked_is_none(world: World, provider: str, encoding: str) -> None:
    failed = _failure(world, provider, Reply(raw=b"not packed at all", headers={"Content-Encoding": encoding}))
    assert failed.code == "llm_unavailable"


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("raw", "headers"),
    [
        (b"x" * 20_000_000, {}),
        (gzip.compress(b"x" * 20_000_000), GZIP),
        (b"broken", GZIP),
        (b"\xff\xfe\xfa", {}),
        (b"[" * 100_000, {}),
        (b"[]", {}),
        (b'{"error": 7}', {}),
        (b'{"error": {"code": [], "details": [7, {"violations": 7}]}}', {}),
        (b"", {}),
    ],
    ids=repr,
)
def test_the_status_of_an_error_counts_whatever_its_body_is(
    world: World, provider: str, raw: bytes, headers: dict[str, str]
) -> None:
    assert _failure(world, provider, Reply(status=400, raw=raw, headers=headers)).code == "llm_refused"
    limited = _failure(world, provider, Reply(status=429, raw=raw, headers={**headers, "Retry-After": "3600"}))
    assert (limited.code, limited.retry_after, len(world.server.asked)) == ("llm_rate_limited", 3600, 1)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_stream_where_an_answer_was_asked_for_is_told_and_not_paid_four_times(world: World, provider: str) -> None:
    stream = b'data: {"choices": [{"delta": {"content": "a"}}]}\n\ndata: [DONE]\n\n'
    failed = _failure(world, provider, Reply(raw=stream, headers={"Content-Type": "text/event-stream"}))
    assert (failed.code, len(world.server.asked)) == ("llm_unreadable", 1)
    assert "stream" in failed.message


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("error", "code", "calls"),
    [
        ({"code": 401, "message": "no"}, "llm_unauthorized", 1),
        ({"code": 400, "message": "no"}, "llm_refused", 1),
        ({"code": "insufficient_quota"}, "llm_quota_exhausted", 1),
        ({"type": "invalid_request_error"}, "llm_refused", 1),
        ({"code": 502, "message": "upstream"}, "llm_unavailable", 4),
        ("overloaded", "llm_unavailable", 4),
        ({"type": "rate_limit_error"}, "llm_rate_limited", 4),
    ],
)
def test_an_error_in_an_answers_clothes_is_the_error_it_names(
    world: World, provider: str, error: Any, code: str, calls: int
) -> None:
    failed = _failure(world, provider, Reply(raw=json.dumps({"error": error}).encode()))
    assert (failed.code, len(world.server.asked)) == (code, calls)


def test_an_error_that_is_null_is_none(world: World) -> None:
    world.server.default = lambda _: Reply(raw=_answer("openai", "ok", error=None))
    assert world.run(limit_one(), enrich()).documents[0]["summary"] == "ok"


def _google(status: str = "RESOURCE_EXHAUSTED", message: str = "", *details: Any) -> dict[str, Any]:
    return {"error": {"code": 429, "message": message, "status": status, "details": list(details)}}


def _violation(**violation: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}


NO_CREDIT: list[tuple[str, int, Any]] = [
    ("openai", 429, {"error": {"type": "insufficient_quota", "code": "insufficient_quota", "message": "x"}}),
    ("openai", 429, {"error": {"type": "insufficient_quota", "code": None}}),
    ("openai", 429, {"error": {"code": "billing_hard_limit_reached"}}),
    ("openai", 429, {"error": {"code": "billing_not_active"}}),
    ("openai", 402, {"error": {"message": "Insufficient Balance"}}),
    ("openai", 402, None),
    ("openai", 429, {"code": "x", "error": "Your team has used all available credits."}),
    ("anthropic", 402, {"type": "error", "error": {"type": "billing_error", "message": "x"}}),
    (
        "anthropic",
        400,
        {"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low to …"}},
    ),
    (
        "anthropic",
        429,
        {
            "type": "error",
            "error": {"type": "rate_limit_error", "details": {"error_code": "enforced_spend_limit_reached"}},
        },
    ),
    ("google", 429, _google("RESOURCE_EXHAUSTED", "", _violation(quotaId="PerMinute", quotaValue="0"))),
    ("google", 429, _google("RESOURCE_EXHAUSTED", "* Quota exceeded for metric: m, limit: 0, model: gemini-x")),
    (
        "google",
        429,
        [_google("RESOURCE_EXHAUSTED", "", _violation(quotaId="GenerateRequestsPerDayPerProject", quotaValue="20"))],
    ),
    ("google", 403, _google("PERMISSION_DENIED", "", {"reason": "BILLING_DISABLED"})),
]


@pytest.mark.parametrize(("provider", "status", "body"), NO_CREDIT)
def test_an_account_without_credit_fails_at_once_and_says_whose_it_is(
    world: World, provider: str, status: int, body: Any
) -> None:
    reply = Reply(status=status, raw=json.dumps(body).encode(), headers={"Retry-After": "0"})
    own = _failure(world, provider, reply, api_key="{{secrets.mine}}")
    assert (own.code, len(world.server.asked)) == ("llm_quota_exhausted", 1)
    assert "'mine'" in own.message
    platforms = _failure(world, provider, reply)
    assert (platforms.code, len(world.server.asked)) == ("llm_quota_exhausted", 1)
    assert "platform" in platforms.message
    assert "mine" not in platforms.message


def test_a_refused_key_says_whose_it_is(world: World) -> None:
    assert "'mine'" in _failure(world, "openai", Reply(status=401), api_key="{{secrets.mine}}").message
    assert "platform" in _failure(world, "openai", Reply(status=401)).message


def test_an_account_without_credit_ends_the_stage_whatever_on_error_says(world: World) -> None:
    reply = Reply(status=429, raw=json.dumps({"error": {"code": "insufficient_quota"}}).encode())
    world.server.default = lambda _: reply
    with pytest.raises(LlmError) as failed:
        world.run(enrich(on_error="skip", batch_size=1))
    assert (failed.value.code, len(world.server.asked)) == ("llm_quota_exhausted", 1)


RATE_LIMITS: list[tuple[str, Any]] = [
    ("openai", {"error": {"type": "requests", "code": "rate_limit_exceeded"}}),
    ("anthropic", {"type": "error", "error": {"type": "rate_limit_error"}}),
    ("google", _google("RESOURCE_EXHAUSTED", "limit: 15", _violation(quotaId="RequestsPerMinute", quotaValue="15"))),
]


@pytest.mark.parametrize(("provider", "body"), RATE_LIMITS)
def test_a_rate_limit_is_still_waited_for(world: World, provider: str, body: Any) -> None:
    world.server.replies = [Reply(status=429, raw=json.dumps(body).encode(), headers={"Retry-After": "0"})]
    assert world.run(limit_one(), enrich(provider=provider)).documents[0]["summary"] == "an answer"
    assert len(world.server.asked) == 2


def test_the_wait_that_google_asks_for_in_the_body_is_read(world: World) -> None:
    body = _google(
        "RESOURCE_EXHAUSTED", "", {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3600.5s"}
    )
    failed = _failure(world, "google", Reply(status=429, raw=json.dumps(body).encode()))
    assert (failed.code, failed.retry_after, len(world.server.asked)) == ("llm_rate_limited", 3600.5, 1)
