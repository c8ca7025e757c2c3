"""When a worker counts as stalled: work of a lane is due, its slots are free, and it takes none."""

from datetime import timedelta
from typing import Any

import pytest
from pymongo.database import Database

from core.clock import DatabaseClock
from core.health import STALL, Heartbeats, SlotsFacts, worker_is_stalled
from core.ids import Prefix, random_id
from core.jobs.job import JobKind, NewJob
from core.jobs.lane import Lane
from core.jobs.queue import JobQueue
from core.jobs.store import JobStore
from core.storage.handles import Handles
from core.storage.mongo import Document, database_clock
from core.storage.scope import NamespaceScope

LONG = 2 * STALL.total_seconds()
IDLE = SlotsFacts(slots=4, busy=0, idle_seconds=LONG)
JUST_WORKED = SlotsFacts(slots=4, busy=0, idle_seconds=1)
FULL = SlotsFacts(slots=4, busy=4, idle_seconds=LONG)


class Stall:
    """Jobs that are due, and workers that say how they are."""

    def __init__(self, handles: Handles, clock: DatabaseClock, scope: NamespaceScope) -> None:
        self._handles, self._clock, self._scope = handles, clock, scope
        self._queue = JobQueue(handles, clock, lease_seconds=60)
        self._heartbeats = Heartbeats(handles, clock)

    def due(self, kind: JobKind, age: timedelta) -> None:
        """A job of this kind that has been due for so long."""
        new = NewJob(random_id(Prefix.TASK), kind, {}, 0, "req_1")
        job = JobStore(self._handles, self._clock).create(self._scope, new, "hold_1")
        moved = {"$set": {"due_at": self._clock.now() - age}}
        self._handles.namespace(self._scope)["jobs"].update_one({"_id": job.job_id}, moved)

    def worker(self, name: str, facts: dict[str, Any]) -> None:
        """A worker that lives and says this."""
        self._heartbeats.beat(f"worker:here:{name}", "worker", facts)

    def seen(self) -> bool:
        """What the supervisor is told."""
        return worker_is_stalled(self._queue, self._heartbeats, self._clock)


@pytest.fixture
def stall(handles: Handles, database: Database[Document], scope: NamespaceScope) -> Stall:
    return Stall(handles, database_clock(database), scope)


def says(interactive: SlotsFacts, batch: SlotsFacts) -> dict[str, Any]:
    """A worker's word on both lanes."""
    return {"lanes": {Lane.INTERACTIVE.value: interactive.document(), Lane.BATCH.value: batch.document()}}


@pytest.mark.parametrize(
    ("interactive", "batch", "stalled"),
    [
        # it takes nothing, though it could
        (IDLE, IDLE, True),
        (IDLE, FULL, True),
        (IDLE, JUST_WORKED, True),
        # it cannot, or it does
        (FULL, IDLE, False),
        (JUST_WORKED, IDLE, False),
    ],
)
def test_the_lane_whose_work_is_due_decides(
    stall: Stall, interactive: SlotsFacts, batch: SlotsFacts, stalled: bool
) -> None:
    stall.due(JobKind.RETRIEVER, STALL)
    stall.worker("1", says(interactive, batch))
    assert stall.seen() is stalled


def test_a_worker_to_whom_nothing_is_due_is_well_whatever_it_hears(stall: Stall) -> None:
    stall.worker("1", says(IDLE, IDLE))
    assert not stall.seen()
    stall.due(JobKind.RETRIEVER, STALL / 2)
    assert not stall.seen()
    stall.due(JobKind.INDEX_REBUILD, STALL)
    assert stall.seen()


def test_one_worker_that_cannot_take_more_means_that_it_is_just_much(stall: Stall) -> None:
    stall.due(JobKind.INGESTION, STALL)
    stall.worker("1", says(IDLE, IDLE))
    stall.worker("2", says(IDLE, FULL))
    assert not stall.seen()


@pytest.mark.parametrize("facts", [{}, {"busy": 0, "slots": 4}], ids=["nothing", "an earlier release's"])
def test_nobody_is_judged_by_what_he_does_not_say(stall: Stall, facts: dict[str, Any]) -> None:
    stall.due(JobKind.INGESTION, STALL)
    assert not stall.seen()
    stall.worker("1", facts)
    assert not stall.seen()
