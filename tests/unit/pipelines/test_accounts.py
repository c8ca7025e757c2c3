"""Refusals that no waiting mends: told apart from rate limits by what providers document, and by words only where they
document nothing."""

from typing import Any

import pytest

from pipelines.llm.accounts import asked_wait, has_no_credit
from pipelines.llm.errors import refused


def violation(**members: Any) -> dict[str, Any]:
    """Google's refusal by one quota."""
    failure = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [members]}
    return {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "check your plan", "details": [failure]}}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (402, None),
        (402, "anything"),
        (429, {"error": {"type": "insufficient_quota", "code": None}}),
        (429, {"error": {"type": "x", "code": "INSUFFICIENT_QUOTA"}}),
        (403, {"error": {"details": [{"reason": "BILLING_DISABLED"}]}}),
        (429, {"error": {"type": "rate_limit_error", "details": {"error_code": "contract_spend_limit_reached"}}}),
        (400, {"error": {"message": "Your credit balance is too low to access the Anthropic API."}}),
        (400, {"error": {"message": "You have reached your specified API usage limits."}}),
        (429, {"error": "Your team has either used all available credits or reached its limit."}),
        (429, violation(quotaId="RequestsPerMinute", quotaValue="0")),
        (429, violation(quotaId="RequestsPerMinute", quotaValue=0)),
        (429, violation(quotaId="GenerateRequestsPerDayPerProjectPerModel-FreeTier", quotaValue="20")),
        (429, [violation(quotaId="RequestsPerDay")]),
        (429, {"error": {"message": "* Quota exceeded for metric: m, limit: 0, model: gemini"}}),
    ],
)
def test_an_account_that_has_no_credit(status: int, body: Any) -> None:
    assert has_no_credit(status, body)


@pytest.mark.parametrize(
    "body",
    [
        None,
        7,
        "insufficient_quota",
        [],
        {},
        {"error": None},
        {"error": {"type": "requests", "code": "rate_limit_exceeded", "message": "Rate limit: limit: 3, used: 3"}},
        {"error": {"type": "rate_limit_error", "details": {"error_code": "ramp_limit_exceeded"}}},
        # Google says these words to every limit
        {"error": {"message": "You exceeded your current quota, please check your plan and billing details."}},
        {"error": {"code": ["insufficient_quota"], "type": {"insufficient_quota": 1}, "message": ["limit: 0"]}},
        {"error": {"details": [None, 7, {"violations": 7}, {"reason": ["billing_disabled"]}]}},
        violation(quotaId="GenerateRequestsPerMinutePerProjectPerModel", quotaValue="15"),
        violation(quotaId=7, quotaValue=None),
        {"error": {"message": "limit: 0.5 per second"}},
        {"error": {"message": "limit: 05"}},
    ],
)
def test_a_rate_limit_is_no_empty_account(body: Any) -> None:
    assert not has_no_credit(429, body)


@pytest.mark.parametrize(
    ("body", "wait"),
    [
        ({"error": {"details": [{"violations": []}, {"retryDelay": "36.5s"}]}}, "36.5"),
        ([{"error": {"details": [{"retryDelay": "3s"}]}}], "3"),
        ({"error": {"details": [{"retryDelay": 3}]}}, None),
        ({"error": "busy"}, None),
        (None, None),
    ],
)
def test_google_says_in_the_body_how_long_to_wait(body: Any, wait: str | None) -> None:
    assert asked_wait(body) == wait


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, {"error": {"message": "bad", "details": [{"reason": "API_KEY_INVALID"}]}}, "llm_unauthorized"),
        (400, [{"error": {"message": "API key expired. Please renew the API key."}}], "llm_unauthorized"),
        (400, {"code": "an invalid argument", "error": "Incorrect API key provided: xa***."}, "llm_unauthorized"),
        (400, {"error": {"message": "max_tokens is too large"}}, "llm_refused"),
        (403, {"error": {"message": "no access"}}, "llm_unauthorized"),
        (403, {"error": {"metadata": {"reasons": ["violence"], "flagged_input": "…"}}}, "llm_refused"),
        (403, {"error": {"metadata": {"provider_name": "x"}}}, "llm_unauthorized"),
        (401, {"error": {"metadata": {"reasons": ["violence"]}}}, "llm_unauthorized"),
    ],
)
def test_whether_the_key_or_the_prompt_was_refused(status: int, body: Any, code: str) -> None:
    assert refused("x", "m", status, None, body).code == code
