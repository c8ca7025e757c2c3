"""What a customer may set on an endpoint, and which events it gets."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from core.errors import ValidationFailedError
from core.webhooks.endpoint import EndpointSettings, listens_to, require_valid
from core.webhooks.event import Event, EventType, Subject

GOOD = EndpointSettings("hook", "https://example.com/hook?a=b", (EventType.RESOURCE_EXECUTED,))
NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def location(settings: EndpointSettings, secret: str | None = None) -> tuple[str | int, ...]:
    with pytest.raises(ValidationFailedError) as refused:
        require_valid(settings, secret)
    return refused.value.problems[0].location


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "example.com",
        "https://",
        "https://user:pass@example.com/",
        "https://user@example.com/",
        "https://example.com/#part",
        "https://example.com:99999/",
        "https://example.com:0/",
        "https://exa mple.com/",
        "https://example.com/\r\nHost: other",
        "https://[::1",
        "https://example.com/" + "x" * 2048,
    ],
)
def test_an_unusable_url_is_refused_by_name(url: str) -> None:
    assert location(replace(GOOD, url=url)) == ("channels", 0, "configs", "url")


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "content-length",
        "Content-Type",
        "Transfer-Encoding",
        "connection",
        "webhook-id",
        "Webhook-Signature",
        "x-mixpeek-signature",
        "Expect",
        "Proxy-Authorization",
        "",
        "a b",
        "a:b",
        "a.b",
        "$a",
        "ä",
    ],
)
def test_a_header_of_the_senders_or_without_a_proper_name_is_refused(name: str) -> None:
    assert location(replace(GOOD, headers={name: "x"})) == ("channels", 0, "configs", "headers", name)


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\x00b", "a\x7f", "\ud800", "x" * 4097])
def test_a_header_value_that_could_break_the_request_is_refused(value: str) -> None:
    assert location(replace(GOOD, headers={"X-A": value})) == ("channels", 0, "configs", "headers", "X-A")


@pytest.mark.parametrize("seconds", [0.0, -1.0, 61.0, float("nan"), float("inf")])
def test_a_timeout_must_be_possible(seconds: float) -> None:
    assert location(replace(GOOD, timeout_seconds=seconds)) == ("channels", 0, "configs", "timeout")


@pytest.mark.parametrize("secret", ["short", "whsec_not base64!", "whsec_äöü", "\ud800" * 9])
def test_a_secret_must_be_usable(secret: str) -> None:
    assert location(GOOD, secret) == ("signing_secret",)


def test_good_settings_pass() -> None:
    headers = {"X-Mixpeek-Secret": "mine, é", "Authorization": "Bearer x"}
    require_valid(replace(GOOD, url="http://[::1]:8080/x", headers=headers), "a long secret")


@pytest.mark.parametrize(
    ("changes", "listens"),
    [
        ({}, True),
        ({"is_active": False}, False),
        ({"event_types": ["resource.execution_failed"]}, False),
        ({"resource_types": ["retriever"]}, True),
        ({"resource_types": ["batch", "pipeline"]}, True),
        ({"resource_types": ["collection"]}, False),
    ],
)
def test_an_endpoint_gets_the_events_that_it_asked_for(changes: dict[str, Any], listens: bool) -> None:
    stored = {"is_active": True, "event_types": ["resource.executed"], "resource_types": [], **changes}
    subject, metadata = Subject("retriever", "ret_1"), {"resource_type": "batch"}
    event = Event("evt_1", EventType.RESOURCE_EXECUTED, NOW, "ns_1", subject, metadata)
    assert listens_to(stored, event) is listens


def test_the_word_that_stands_for_a_secret_is_never_taken_for_one() -> None:
    assert location(GOOD, "redacted") == ("signing_secret",)
