"""The message that a doorbell is: two ids in Celery's message protocol 2. It writes one, and reads what came as one.

It is written without Celery, so that intake and sweeper need none. Anybody who reaches the broker can put anything into
a queue: reading answers what is wrong with it, and never raises.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kombu import Message

from core.jobs.lane import LANE_BY_QUEUE, Lane

TASK_NAME = "keystage.drive_job"
CONTENT_TYPE = "application/json"

_LONGEST_ID = 128


@dataclass(frozen=True)
class Rung:
    """A doorbell that was heard."""

    lane: Lane
    job_id: str


@dataclass(frozen=True)
class NoDoorbell:
    """Something else."""

    why: str


def body_of(job_id: str, namespace_id: str) -> tuple[object, ...]:
    """Arguments, keyword arguments, and what Celery calls when a task has ended: nothing."""
    return [job_id, namespace_id], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def headers_of(job_id: str, namespace_id: str, request_id: str) -> dict[str, object]:
    """Celery's protocol 2 headers, and the ids that logs need before the job is read."""
    message_id = str(uuid.uuid4())
    return {
        "lang": "py",
        "task": TASK_NAME,
        "id": message_id,
        "root_id": message_id,
        "parent_id": None,
        "group": None,
        "argsrepr": repr([job_id, namespace_id]),
        "kwargsrepr": "{}",
        "retries": 0,
        "eta": None,
        "expires": None,
        "timelimit": [None, None],
        "namespace_id": namespace_id,
        "request_id": request_id,
    }


def read(message: Message) -> Rung | NoDoorbell:
    """The doorbell in a message, or why it is none."""
    lane = LANE_BY_QUEUE.get(_text(message.delivery_info, "routing_key"))
    if lane is None:
        return NoDoorbell("it names no lane's queue")
    if _text(message.headers, "task") != TASK_NAME:
        return NoDoorbell("it names another task")
    message.accept = {CONTENT_TYPE}
    try:
        body = message.decode()
    except Exception as error:
        # compression, charset, content type, JSON and kombu's own types in it: each fails in its own way
        return NoDoorbell(f"its body cannot be read: {type(error).__name__}")
    match body:
        case [[str(job_id), str()], dict(named), dict()] if not named and _is_id(job_id):
            return Rung(lane, job_id)
    return NoDoorbell("its arguments are not two ids")


def _text(found: Any, name: str) -> str:
    value = found.get(name) if isinstance(found, Mapping) else None
    return value if isinstance(value, str) else ""


def _is_id(text: str) -> bool:
    return 0 < len(text) <= _LONGEST_ID and text.isascii() and text.isprintable()
