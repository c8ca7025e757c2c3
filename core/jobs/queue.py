"""Claiming: one flat conditional update on the database's clock gives a worker the lease and the next fence.

`due_at` alone says when a job may be claimed, so one sparse index finds all that is owed: a run, a settlement or an
announcement. It never decides how a job ends.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.backends.backend import Backend
from core.clock import DatabaseClock
from core.jobs.job import Job, JobKind, JobState, Move, job_from_document, states_before
from core.jobs.lease import Lease
from core.storage.handles import Handles
from core.storage.moments import NOW, from_now

_RUNNABLE = states_before(Move.HAND_BACK) + states_before(Move.CANCEL)
"""States in which a claim will run stages, so that it counts as an attempt."""
_WINDOW = timedelta(days=30)
"""How far back due jobs are looked for; an index range stays bounded on both sides."""
_MOST_COUNTED = 1_000
"""Jobs that wait for one backend: each that is counted is read."""


@dataclass(frozen=True)
class DueJob:
    """A job that somebody should claim."""

    job_id: str
    namespace_id: str
    due_at: datetime


class JobQueue:
    """Hands out leases on whatever is due."""

    def __init__(self, handles: Handles, clock: DatabaseClock, lease_seconds: float) -> None:
        self._handles = handles
        self._clock = clock
        self._lease = timedelta(seconds=lease_seconds)

    def claim(self, job_id: str, owner: str, *, take_over: bool = True) -> Lease | None:
        """The lease on a due job, or None when there is nothing to claim: unknown, not due, or somebody else's.

        Without `take_over` a job stays with the worker that runs it, although its lease has ended.

        `owner` must differ between any two claims; the read-back recognises its own claim by it.
        """
        jobs = self._handles.system["jobs"]
        runnable = {"$in": ["$state", _RUNNABLE]}
        others = {} if take_over else {"state": {"$ne": JobState.RUNNING.value}}
        claimed = jobs.update_one(
            {"_id": job_id, "due_at": {"$lte": self._clock.now()}, **others},
            [
                {
                    "$set": {
                        "state": {"$cond": [runnable, JobState.RUNNING.value, "$state"]},
                        "attempts": {"$add": ["$attempts", {"$cond": [runnable, 1, 0]}]},
                        "fence": {"$add": ["$fence", 1]},
                        "owner": owner,
                        "due_at": from_now(self._lease),
                        "started_at": {"$ifNull": ["$started_at", NOW]},
                    }
                }
            ],
        )
        return self.claimed(job_id, owner) if claimed.matched_count else None

    def claimed(self, job_id: str, owner: str) -> Lease | None:
        """The lease that `owner` has, as far as a claim whose answer was lost was made."""
        found = self._handles.system["jobs"].find_one({"_id": job_id})
        if found is None or found.get("owner") != owner:
            return None
        return Lease(self._handles, job_from_document(found), self._lease)

    def due(self, limit: int, kinds: Iterable[JobKind] = JobKind) -> list[DueJob]:
        """At most so many jobs of these kinds that are due now, the longest waiting first among those looked at."""
        now = self._clock.now()
        due = [job for kind in kinds for job in self._due_of(kind, now, limit)]
        return sorted(due, key=lambda job: job.due_at)[:limit]

    def _due_of(self, kind: JobKind, now: datetime, limit: int) -> Iterable[DueJob]:
        # one kind a query: the embedded engine reads no index by `$in` beside a range
        query = {"kind": kind.value, "due_at": {"$gte": now - _WINDOW, "$lte": now}}
        found = self._handles.system["jobs"].find(query, {"namespace_id": 1, "due_at": 1}).limit(limit)
        return (DueJob(item["_id"], item["namespace_id"], item["due_at"]) for item in found)

    def waiting(self) -> dict[str, int]:
        """How many jobs wait for each backend, those for which none waits left out; it counts no further than to a
        thousand."""
        jobs = self._handles.system["jobs"]
        found = {each: jobs.find({"waiting_for": each.value}, {"_id": 1}).limit(_MOST_COUNTED) for each in Backend}
        return {each.value: number for each, waiting in found.items() if (number := len(list(waiting)))}

    def holds_of(self, job_ids: list[str]) -> set[str]:
        """The holds that these jobs, as far as they were recorded, stand on."""
        found = self._handles.system["jobs"].find({"_id": {"$in": job_ids}}, {"hold_id": 1})
        return {item["hold_id"] for item in found}

    def find(self, job_id: str) -> Job | None:
        """A job by id alone, for operators."""
        found = self._handles.system["jobs"].find_one({"_id": job_id})
        return job_from_document(found) if found else None
