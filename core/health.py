"""Heartbeats: each process says that it lives and what answered it. Health routes and the supervisor read them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from core.clock import DatabaseClock
from core.jobs.lane import Lane
from core.jobs.queue import JobQueue
from core.storage.handles import Handles
from core.storage.moments import NOW

HEARTBEAT_SECONDS = 5.0
"""How often a process writes its heartbeat."""
MAX_AGE = timedelta(seconds=15)
"""An older heartbeat counts as none (design decision 13)."""
ROLES = ("worker", "dispatcher", "sweeper")
"""The processes that write heartbeats."""
_KEPT = timedelta(days=1)
"""MongoDB forgets older heartbeats."""
STALL = timedelta(seconds=10)
"""Work due for this long, while every worker has a free slot for it and took none, means that they stopped taking."""


@dataclass(frozen=True)
class Heartbeat:
    """What one process said last."""

    name: str
    role: str
    at: datetime
    facts: Mapping[str, Any]


class Heartbeats:
    """Writes and reads heartbeats."""

    def __init__(self, handles: Handles, clock: DatabaseClock) -> None:
        self._handles = handles
        self._clock = clock

    def beat(self, name: str, role: str, facts: Mapping[str, Any]) -> None:
        """Say that the process `name` (unique, `<role>:<host>:<pid>`) lives."""
        self._handles.system["heartbeats"].update_one(
            {"_id": name},
            [{"$set": {"role": role, "at": NOW, "facts": {"$literal": dict(facts)}}}],
            upsert=True,
        )

    def fresh(self, role: str | None = None) -> list[Heartbeat]:
        """The living processes, of a role if one is named."""
        return self._since(MAX_AGE, role)

    def last(self, role: str) -> Heartbeat | None:
        """The newest word of a role in a day, from the living or the dead."""
        return max(self._since(_KEPT, role), key=lambda beat: beat.at, default=None)

    def _since(self, age: timedelta, role: str | None) -> list[Heartbeat]:
        found = self._handles.system["heartbeats"].find({"at": {"$gte": self._clock.now() - age}})
        beats = [Heartbeat(item["_id"], item["role"], item["at"], item["facts"]) for item in found]
        return [beat for beat in beats if role in (None, beat.role)]

    def leave(self, name: str) -> None:
        """Forget a process that stops in order."""
        self._handles.system["heartbeats"].delete_one({"_id": name})


@dataclass(frozen=True)
class SlotsFacts:
    """What a worker says of the slots of one lane."""

    slots: int
    busy: int
    """those that drive a job now"""
    idle_seconds: float
    """since one of them last had a job, or the worker began"""

    @staticmethod
    def of(worker: Heartbeat, lane: Lane) -> "SlotsFacts | None":
        """What its heartbeat says; None of a worker that knows no lanes."""
        facts = worker.facts.get("lanes", {}).get(lane.value)
        return SlotsFacts(facts["slots"], facts["busy"], facts["idle_seconds"]) if facts else None

    def document(self) -> dict[str, Any]:
        """The same as a heartbeat holds it."""
        return asdict(self)


def worker_is_stalled(queue: JobQueue, heartbeats: Heartbeats, clock: DatabaseClock) -> bool:
    """Whether work of some lane waits although every worker has a free slot for it, and takes none.

    Doorbells have no say: a worker that hears none, because the broker is away, looks for work by itself.
    """
    now = clock.now()
    waits = [lane for lane in Lane if (due := queue.due(1, lane.kinds)) and now - due[0].due_at >= STALL]
    workers = heartbeats.fresh("worker") if waits else []
    return bool(workers) and any(all(_idles(worker, lane) for worker in workers) for lane in waits)


def _idles(worker: Heartbeat, lane: Lane) -> bool:
    facts = SlotsFacts.of(worker, lane)
    return facts is not None and facts.busy < facts.slots and facts.idle_seconds > STALL.total_seconds()
