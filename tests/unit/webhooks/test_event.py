"""The published envelope, and ids that a producer cannot mint twice."""

from datetime import UTC, datetime

import orjson

from core.webhooks.event import Event, EventType, Subject, event_id

EVENT = Event(
    "evt_1",
    EventType.RESOURCE_EXECUTED,
    datetime(2026, 11, 23, 12, 0, 0, 5000, tzinfo=UTC),
    "ns_1",
    Subject("retriever", "ret_1"),
    {"task_id": "task_1", "text": "é"},
)


def test_the_body_is_the_published_envelope() -> None:
    assert orjson.loads(EVENT.body()) == {
        "event_id": "evt_1",
        "event_type": "resource.executed",
        "occurred_at": "2026-11-23T12:00:00.005000+00:00",
        "namespace_id": "ns_1",
        "subject": {"type": "retriever", "id": "ret_1"},
        "metadata": {"task_id": "task_1", "text": "é"},
    }


def test_an_event_survives_its_storage_to_the_byte() -> None:
    assert Event.from_document(EVENT.to_document()).body() == EVENT.body()


def test_the_catalogue_holds_the_published_names() -> None:
    assert len(EventType) == 43


def test_an_event_id_follows_from_what_it_tells() -> None:
    assert event_id("task_1", "resource.executed", "ret_1") == event_id("task_1", "resource.executed", "ret_1")
    assert event_id("task_1", "resource.executed", "ret_1") != event_id("task_2", "resource.executed", "ret_1")
