"""Both families of rate headers, and the refusal as an error."""

from datetime import UTC, datetime

import pytest
from freezegun import freeze_time
from pydantic import BaseModel

from api.errors import error_reply
from api.rate_headers import rate_headers
from core.limits.policy import Admitted, Policy, Refused, Unavailable

MINUTE = Policy("key-minute", 60, 60, 20)
CAP = Policy("organization-concurrency", 5, 0, 5)
MOMENT = datetime(2030, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)


@freeze_time(MOMENT)
def test_an_admitted_request_is_told_what_is_left() -> None:
    assert rate_headers(Admitted(MINUTE, 19, 1, None)) == {
        "X-RateLimit-Limit": "60",
        "X-RateLimit-Remaining": "19",
        "X-RateLimit-Reset": str(int(MOMENT.timestamp()) + 2),
        "X-RateLimit-Window": "60",
        "RateLimit-Policy": '"key-minute";q=60;w=60',
        "RateLimit": '"key-minute";r=19;t=1',
    }


@freeze_time(MOMENT)
def test_a_refused_request_is_told_when_to_come_back_and_not_before_there_is_more() -> None:
    headers = rate_headers(Refused(MINUTE, 0, 3, 3))
    assert headers["Retry-After"] == "3"
    assert headers["RateLimit"] == '"key-minute";r=0;t=3'
    assert int(headers["X-RateLimit-Reset"]) >= MOMENT.timestamp() + 3


def test_a_cap_is_a_quota_of_requests_at_the_same_time() -> None:
    headers = rate_headers(Refused(CAP, 0, 9, 9))
    assert headers["RateLimit-Policy"] == '"organization-concurrency";q=5;qu="concurrent-requests"'
    assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Window"]) == ("5", "0")


def test_what_nobody_could_count_has_no_rates() -> None:
    assert rate_headers(Unavailable(5)) == {"Retry-After": "5"}


def test_a_refusal_is_429_with_every_key_that_clients_read() -> None:
    reply = error_reply(Refused(MINUTE, 0, 3, 3).as_error(), "req_1")
    assert isinstance(reply.body, BaseModel)
    error = reply.body.model_dump()["error"]
    assert (reply.status, reply.headers) == (429, {"Retry-After": "3"})
    assert (error["type"], error["code"]) == ("TooManyRequestsError", "rate_limited")
    assert error["details"] == {
        "limit": 60,
        "window": "1m",
        "retry_after": 3,
        "retry_after_seconds": 3,
        "retryable": True,
        "policy": "key-minute",
    }


@pytest.mark.parametrize("seconds", [1, 5])
def test_unavailable_is_503_with_its_own_wait(seconds: int) -> None:
    reply = error_reply(Unavailable(seconds).as_error(), "req_1")
    assert (reply.status, reply.headers) == (503, {"Retry-After": str(seconds)})
