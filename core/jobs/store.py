"""Jobs as a tenant sees them: create, get, list, ask to stop. It never claims or ends one."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from pymongo.errors import DuplicateKeyError

from core.clock import DatabaseClock
from core.errors import NotFoundError
from core.jobs.job import (
    FINAL_STATES,
    WAITS_NO_MORE,
    WITHDRAWN,
    WITHDRAWN_MARK,
    Decision,
    Job,
    JobKind,
    JobState,
    Move,
    NewJob,
    decision_document,
    job_from_document,
    states_before,
)
from core.storage.failures import tried_twice
from core.storage.handles import Handles, ScopedCollection
from core.storage.moments import NOW
from core.storage.mongo import Document
from core.storage.paging import BEGINNING, Page, PageRequest, read_page
from core.storage.scope import NamespaceScope, OrganizationScope
from core.storage.selection import Selection, narrowed

_CANCELLABLE = {"$ne": JobKind.NAMESPACE_DELETION.value}

_WITHDRAWAL = timedelta(seconds=10)
"""How long whoever withdraws a job has before a worker takes that over."""


class JobStore:
    """The jobs of one organization or namespace."""

    def __init__(self, handles: Handles, clock: DatabaseClock) -> None:
        self._handles = handles
        self._clock = clock

    @tried_twice
    def create(self, scope: NamespaceScope, new: NewJob, hold_id: str) -> Job:
        """Record a job, queued and due at once, on the hold that was taken for it.

        The same job id again gives the job that stands there.
        """
        moment = self._clock.now()
        document = _document(new, hold_id, moment)
        try:
            self._handles.namespace(scope)["jobs"].insert_one(document)
        except DuplicateKeyError:
            return self.get(scope, new.job_id)
        return job_from_document({**document, "internal_id": scope.internal_id, "namespace_id": scope.namespace_id})

    def get(self, scope: OrganizationScope, job_id: str) -> Job:
        """One job of the organization, or of the namespace when `scope` names one. Raises NotFoundError."""
        job = self.find(scope, job_id)
        if job is None:
            raise NotFoundError("The task was not found.")
        return job

    def find(self, scope: OrganizationScope, job_id: str) -> Job | None:
        """The same, or None when it was never recorded there."""
        found = self._jobs(scope).find_one({"_id": job_id})
        return job_from_document(found) if found else None

    def list(
        self,
        scope: OrganizationScope,
        *,
        days: int = 30,
        states: Iterable[JobState] = (),
        limit: int = 100,
    ) -> list[Job]:
        """Jobs of the last `days`, newest first."""
        found = self._jobs(scope).find(self._recent(days, states)).sort("created_at", -1).limit(limit)
        return [job_from_document(item) for item in found]

    def count(self, scope: OrganizationScope, *, days: int = 30, states: Iterable[JobState] = ()) -> int:
        """How many `list` would give without a limit."""
        return self._jobs(scope).count(self._recent(days, states))

    def page(
        self,
        scope: OrganizationScope,
        request: PageRequest,
        *,
        states: Iterable[JobState] = (),
        kinds: Iterable[JobKind] = (),
        only: Selection | None = None,
    ) -> Page[Job]:
        """Jobs, newest first, a page at a time, as far as `only` includes them."""
        query = {**_narrowed(states, kinds), **narrowed(only, "_id")}
        return read_page(self._jobs(scope), query, request).map(job_from_document)

    def find_many(self, scope: OrganizationScope, job_ids: Iterable[str]) -> dict[str, Job]:
        """Those of these jobs that were recorded, by id."""
        found = self._jobs(scope).find({"_id": {"$in": list(job_ids)}})
        return {item["_id"]: job_from_document(item) for item in found}

    def request_cancel(self, scope: OrganizationScope, job_id: str) -> bool:
        """Stop a job: at once when nobody runs it, else by a flag its worker reads. True when it will end cancelled,
        unless it is done before its worker looks.

        False when the job is unknown, foreign or decided already, or a deletion, which goes on to its end: asking twice
        is no error.
        """
        jobs = self._jobs(scope)
        # one that waits for a backend may have asked models before: as with one that failed, that is paid
        decision = {**decision_document(Decision(JobState.CANCELLED)), "charge": {"$ifNull": ["$spent", 0]}}
        stopped = jobs.update_one(
            {"_id": job_id, "kind": _CANCELLABLE, "state": {"$in": states_before(Move.CANCEL)}},
            [{"$set": {"state": JobState.FINISHING.value, "decision": decision, "due_at": NOW}}, WAITS_NO_MORE],
        )
        return stopped or jobs.update_one(
            {"_id": job_id, "kind": _CANCELLABLE, "state": JobState.RUNNING.value},
            {"$set": {"cancel_requested": True}},
        )

    @tried_twice
    def withdraw(self, scope: NamespaceScope, job: Job) -> bool:
        """Decide that a job which waits for a backend is taken back, unless a worker has claimed it meanwhile. It stays
        due, so that a worker ends it, and removes it, should its hold not be released and `remove_withdrawn` called.
        """
        jobs = self._jobs(scope)
        stuck = {"waiting_for": {"$ne": None}, "awaited": True, "state": {"$in": states_before(Move.CANCEL)}}
        taken = {
            "state": JobState.FINISHING.value,
            "decision": decision_document(WITHDRAWN),
            "due_at": self._clock.now() + _WITHDRAWAL,
        }
        # tried again after a lost answer, it may meet its own first try
        return jobs.update_one({"_id": job.job_id, "fence": job.fence, **stuck}, {"$set": taken}) or self._is_withdrawn(
            scope, job.job_id
        )

    def remove_withdrawn(self, scope: NamespaceScope, job_id: str) -> None:
        """Forget a job that was withdrawn, once its hold is released."""
        # in one step: the same id may be submitted again at any moment
        withdrawn = {"state": JobState.FINISHING.value, f"decision.result.{WITHDRAWN_MARK}": True}
        self._jobs(scope).delete_one({"_id": job_id, **withdrawn})

    def _is_withdrawn(self, scope: NamespaceScope, job_id: str) -> bool:
        standing = self.find(scope, job_id)
        return bool(standing and standing.decision and standing.decision.is_withdrawn)

    def owing(self, scope: OrganizationScope, *, announcements: bool, limit: int = 1000) -> Sequence[str]:
        """Ids of the scope's jobs, deletions apart, that owe a run or a settlement; or also just announcements.

        A `limit` of 0 is none.
        """
        query: dict[str, Any] = {"due_at": {"$gt": BEGINNING}, "kind": _CANCELLABLE}
        if not announcements:
            query["state"] = {"$nin": [state.value for state in FINAL_STATES]}
        # read by `due_at`: what is owed at all is little, whatever the namespace holds
        found = self._jobs(scope).find(query, {"_id": 1}).limit(limit)
        return [item["_id"] for item in found]

    def _recent(self, days: int, states: Iterable[JobState]) -> dict[str, Any]:
        return {"created_at": {"$gte": self._clock.now() - timedelta(days=days)}, **_narrowed(states, ())}

    def _jobs(self, scope: OrganizationScope) -> ScopedCollection:
        if isinstance(scope, NamespaceScope):
            return self._handles.namespace(scope)["jobs"]
        return self._handles.organization(scope)["jobs"]


def _narrowed(states: Iterable[JobState], kinds: Iterable[JobKind]) -> dict[str, Any]:
    query: dict[str, Any] = {}
    if wanted := [state.value for state in states]:
        query["state"] = {"$in": wanted}
    if wanted := [kind.value for kind in kinds]:
        query["kind"] = {"$in": wanted}
    return query


def _document(new: NewJob, hold_id: str, moment: datetime) -> Document:
    return {
        "_id": new.job_id,
        "kind": new.kind.value,
        "state": JobState.QUEUED.value,
        "spec": dict(new.spec),
        "hold": new.hold,
        "hold_id": hold_id,
        "fence": 0,
        "attempts": 0,
        "due_at": moment,
        "request_id": new.request_id,
        "awaited": new.awaited,
        "cancel_requested": False,
        "done": [],
        "progress": {},
        "events": [],
        "created_at": moment,
    }
