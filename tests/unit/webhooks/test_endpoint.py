"""What a customer may set on an endpoint, and which events it gets."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from core.errors import ValidationFailedError
from core.webhooks.endpoint import EndpointSettings, listens_to, never_told, require_valid, why_not_told
from core.webhooks.event import SENT, Event, EventType, Subject

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
        "http://0x7f.1/hook",
        "http://2130706433/hook",
        "http://127.0.0.1./hook",
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
    assert location(GOOD, secret) == ("channels", 0, "configs", "signing_secret")


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
    assert location(GOOD, "redacted") == ("channels", 0, "configs", "signing_secret")
    assert location(replace(GOOD, headers={"X-A": "redacted"})) == ("channels", 0, "configs", "headers", "X-A")


def test_it_keeps_a_header_that_is_stored_in_whatever_capitals() -> None:
    require_valid(replace(GOOD, headers={"X-Token": "redacted", "X-B": "b"}), None, kept_headers=["x-token"])


def test_a_header_may_be_given_once() -> None:
    headers = {"X-Token": "a", "x-token": "b"}
    assert location(replace(GOOD, headers=headers)) == ("channels", 0, "configs", "headers", "x-token")


def test_header_values_are_in_no_printed_settings() -> None:
    assert "mine" not in repr(replace(GOOD, headers={"X-A": "mine"}))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (None, "endpoint_gone"),
        ({"is_active": False}, "endpoint_inactive"),
        ({"event_types": ["resource.executed"]}, "not_subscribed"),
        ({"resource_types": ["retriever"]}, "resource_type_not_wanted"),
        ({"resource_types": ["batch"]}, None),
        ({}, None),
    ],
)
def test_why_an_endpoint_is_not_told(changes: dict[str, Any] | None, why: str | None) -> None:
    stored = {"is_active": True, "event_types": ["resource.execution_failed"], "resource_types": []}
    event = Event("evt_1", EventType.RESOURCE_EXECUTION_FAILED, NOW, "ns_1", Subject("batch", "btch_1"), {})
    assert why_not_told(None if changes is None else stored | changes, event) == why


NOTHING = "This webhook is told nothing as long as that is so."


@pytest.mark.parametrize(
    ("event_types", "resource_types", "said"),
    [
        (tuple(SENT), (), []),
        ((EventType.RESOURCE_EXECUTED,), ("retriever",), []),
        (
            (EventType.RESOURCE_EXECUTED, EventType.OBJECT_CREATED, EventType.DOCUMENT_CREATED),
            (),
            ["Accepted, but nothing sends these events yet: document.created, object.created."],
        ),
        (
            (EventType.ALERT_TRIGGERED,),
            (),
            ["Accepted, but nothing sends these events yet: alert.triggered.", NOTHING],
        ),
        (
            (EventType.RESOURCE_EXECUTED,),
            ("retriever", "retreiver"),
            ["No event is about 'retreiver' yet: resource_types are batch, collection, retriever."],
        ),
        ((EventType.RESOURCE_EXECUTED,), ("batch",), [NOTHING]),
    ],
)
def test_what_of_a_subscription_nothing_answers_is_said(
    event_types: tuple[EventType, ...], resource_types: tuple[str, ...], said: list[str]
) -> None:
    assert never_told(replace(GOOD, event_types=event_types, resource_types=resource_types)) == said
