"""What came from a broker is a doorbell or is not; reading it never raises."""

import json
from typing import Any

import pytest
from kombu import Message

from core.jobs.doorbell_message import NoDoorbell, Rung, body_of, headers_of, read
from core.jobs.lane import Lane

_GOOD = body_of("task_a", "ns_a")
_HEADERS = headers_of("task_a", "ns_a", "req_a")


def message(body: Any = _GOOD, **parts: Any) -> Message:
    """A message as kombu hands it on, a doorbell but for what is said."""
    usual: dict[str, Any] = {
        "body": body if isinstance(body, str | bytes) else json.dumps(body),
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "headers": _HEADERS,
        "delivery_info": {"exchange": "", "routing_key": "keystage.batch"},
    }
    return Message(**{**usual, **parts})


@pytest.mark.parametrize("lane", Lane)
def test_a_doorbell_is_read_as_it_was_written(lane: Lane) -> None:
    assert read(message(delivery_info={"routing_key": lane.queue_name})) == Rung(lane, "task_a")


@pytest.mark.parametrize(
    "body",
    [
        "no json", b"\xff\xfe\x00", "", "[" * 5000, 5, None, "null", {}, [], [[]], [["task_a", "ns_a"]],
        [["task_a", "ns_a"], {}], [["task_a", "ns_a"], {}, {}, {}], [["task_a"], {}, {}],
        [["task_a", "ns_a", 1], {}, {}],
        [[1, "ns_a"], {}, {}], [[None, "ns_a"], {}, {}], [["task_a", 2], {}, {}], [[["task_a"], "ns_a"], {}, {}],
        [[{"$ne": 1}, "ns_a"], {}, {}], [["", "ns_a"], {}, {}], [["t" * 1000, "ns_a"], {}, {}],
        [["task\n_a", "ns_a"], {}, {}], [["task_\ud800", "ns_a"], {}, {}], [["task_a", "ns_a"], {"job_id": "b"}, {}],
        [["task_a", "ns_a"], [], {}], ["ab", {}, {}], [{"task_a": 1, "ns_a": 2}, {}, {}],
        {"__type__": "uuid", "__value__": 3}, {"__type__": "decimal", "__value__": "x"},
        {"task": "keystage.drive_job", "id": "1", "args": ["task_a", "ns_a"], "kwargs": {}},
    ],
)  # fmt: skip
def test_another_body_is_no_doorbell(body: Any) -> None:
    assert isinstance(read(message(body)), NoDoorbell)


@pytest.mark.parametrize(
    "parts",
    [
        {"headers": None}, {"headers": {}}, {"headers": {**_HEADERS, "task": "keystage.other"}},
        {"headers": {**_HEADERS, "task": None}}, {"headers": {**_HEADERS, "task": ["keystage.drive_job"]}},
        {"content_type": "application/x-python-serialize"}, {"content_type": "text/plain"}, {"content_type": None},
        {"content_type": 5}, {"content_type": "application/data"},
        {"content_encoding": 7},
        {"delivery_info": None}, {"delivery_info": {}}, {"delivery_info": ["keystage.batch"]},
        {"delivery_info": {"routing_key": None}}, {"delivery_info": {"routing_key": ["keystage.batch"]}},
        {"delivery_info": {"routing_key": "keystage.jobs"}}, {"delivery_info": {"routing_key": "celery"}},
    ],
)  # fmt: skip
def test_a_message_of_another_form_is_no_doorbell(parts: dict[str, Any]) -> None:
    assert isinstance(read(message(**parts)), NoDoorbell)


def test_nothing_of_what_came_is_repeated() -> None:
    found = read(message([["sk-a-secret", 5], {}, {}]))
    assert isinstance(found, NoDoorbell)
    assert "sk-a-secret" not in found.why
