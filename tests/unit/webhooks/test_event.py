"""The published envelope, and ids that a producer cannot mint twice."""

import re
from collections import Counter
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson

from core.jobs.announcement import events_of
from core.jobs.job import FINAL_STATES, Decision, JobKind
from core.storage.scope import NamespaceScope
from core.webhooks.event import SENT, Event, EventType, Subject, event_id, read_body

PAGE = Path(__file__).parents[3] / "docs/webhooks.md"

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
        "occurred_at": "2026-11-23T12:00:00.005000Z",
        "namespace_id": "ns_1",
        "subject": {"type": "retriever", "id": "ret_1"},
        "metadata": {"task_id": "task_1", "text": "é"},
    }


def test_an_event_survives_its_storage_to_the_byte() -> None:
    assert Event.from_document(EVENT.to_document()).body() == EVENT.body()


def test_an_event_is_read_from_the_bytes_that_were_stored() -> None:
    assert read_body(EVENT.body()) == EVENT


def test_the_events_of_ending_jobs_are_those_that_are_said_to_be_sent() -> None:
    told = Counter[tuple[EventType, frozenset[str]]]()
    for kind, outcome in product(JobKind, FINAL_STATES):
        spec = {"retriever_id": "ret_1", "batch_id": "btch_1", "collection_ids": ["col_1"]}
        job: Any = SimpleNamespace(
            job_id="task_1", scope=NamespaceScope("int_1", "ns_1"), kind=kind, spec=spec, request_id="req"
        )
        told.update((event.event_type, event.about) for event in events_of(job, Decision(outcome), EVENT.occurred_at))
    sent = {name: frozenset().union(*(about for one, about in told if one is name)) for name, _ in told}
    assert sent == SENT


def test_the_page_says_which_events_are_sent_and_about_what() -> None:
    rows = re.findall(r"^\| `([a-z._]+)` \| ([^|]+) \|", PAGE.read_text(), re.MULTILINE)
    assert {name: frozenset(re.findall(r"`(\w+)`", about)) for name, about in rows if name in set(EventType)} == {
        name.value: about for name, about in SENT.items()
    }
    assert f"The other {len(EventType) - len(SENT)} published types" in PAGE.read_text()


def test_the_catalogue_holds_the_published_names() -> None:
    assert len(EventType) == 43


def test_an_event_id_follows_from_what_it_tells() -> None:
    assert event_id("task_1", "resource.executed", "ret_1") == event_id("task_1", "resource.executed", "ret_1")
    assert event_id("task_1", "resource.executed", "ret_1") != event_id("task_2", "resource.executed", "ret_1")
