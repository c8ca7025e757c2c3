"""A claimed job: every write a worker may make, each conditional on the fence, so that an old owner is refused."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import structlog

from core.backends.backend import Backend
from core.errors import LeaseLostError
from core.jobs.job import (
    WAITS_NO_MORE,
    Decision,
    Job,
    JobState,
    Move,
    decision_document,
    states_after,
    states_before,
)
from core.storage.failures import tried_twice
from core.storage.handles import Handles
from core.storage.moments import NOW, from_now
from core.webhooks.event import Event

_ONE_LESS = {"$subtract": ["$attempts", 1]}
"""The claim counted an attempt that was none."""

log = structlog.get_logger(__name__)


class Lease:
    """The right to drive one job until the lease ends or a newer claim is made."""

    def __init__(self, handles: Handles, job: Job, duration: timedelta) -> None:
        self.job = job
        self.waits = job.waits
        """tries in a row that found a backend away, until this one goes on"""
        self.refusals = job.refusals
        """the last of them, at a backend that refused the job alone"""
        self._in_doubt = False
        """whether a write has lost its answer, and may have been made"""
        self._jobs = handles.namespace(job.scope)["jobs"]
        self._duration = duration

    def heartbeat(self) -> bool:
        """Prolong the lease. False: the job should stop, because it was cancelled or belongs to somebody else."""
        return self._jobs.update_one(
            {**self._mine(), "state": JobState.RUNNING.value, "cancel_requested": False},
            [{"$set": {"due_at": from_now(self._duration)}}],
        )

    def cancel_requested(self) -> bool:
        """Whether the job is still ours and somebody asked to stop it."""
        found = self._jobs.find_one({**self._mine(), "cancel_requested": True}, {"_id": 1})
        return found is not None

    def checkpoint(
        self,
        done: Iterable[str],
        progress: Mapping[str, int],
        reports: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Note finished pieces, so that a retry does not repeat them, and what there is to say of them so far.

        `reports` replace those that were noted before. Raises LeaseLostError.
        """
        noted: dict[str, Any] = {f"progress.{name}": value for name, value in progress.items()}
        if reports is not None:
            noted["reports"] = list(reports)
        waited = {"$unset": {"waiting_for": "", "waits": "", "refusals": ""}} if self.waits else {}
        self._write(Move.DECIDE, {"$addToSet": {"done": {"$each": list(done)}}, "$set": noted, **waited})
        self.goes_on()

    def begin(self) -> None:
        """Say that the job waits for nothing while its stages run. Raises LeaseLostError."""
        if self.job.waiting_for:
            self._write(Move.DECIDE, {"$set": {"waiting_for": None}})

    def goes_on(self) -> None:
        """Note that the job came further than to a backend that is away."""
        if self.waits:
            log.info("job.goes_on", waits=self.waits)
        self.waits = self.refusals = 0

    def decide(self, decision: Decision) -> None:
        """Fix how the job ends and what it costs; it stays due, because a settlement is owed. Raises LeaseLostError."""
        self._write(
            Move.DECIDE,
            [
                {
                    "$set": {
                        "state": JobState.FINISHING.value,
                        "decision": {"$literal": decision_document(decision)},
                        "due_at": from_now(self._duration),
                    }
                },
                WAITS_NO_MORE,
            ],
        )

    def hand_back(self, delay: timedelta, spent: int | None = None, *, count_attempt: bool) -> None:
        """Give the job up, due again after `delay`. Raises LeaseLostError.

        `spent` is what this try spent on models; None when nobody knows, or there was no try.
        """
        self._give_up(delay, "$attempts" if count_attempt else _ONE_LESS, spent, waiting_for=None, waits=self.waits)

    def wait_for(self, backend: Backend, delay: timedelta, spent: int | None = None, *, refused: bool = False) -> None:
        """The same because a backend is away, or `refused` the job alone: it is no attempt. Raises LeaseLostError."""
        waits, refusals = self.waits + 1, self.refusals + 1 if refused else 0
        self._give_up(delay, _ONE_LESS, spent, waiting_for=backend.value, waits=waits, refusals=refusals)
        if not self.waits:
            log.warning("job.waits", backend=backend.value)
        self.waits, self.refusals = waits, refusals

    def _give_up(self, delay: timedelta, attempts: object, spent: int | None, **facts: object) -> None:
        given_up = {
            "state": JobState.QUEUED.value,
            "due_at": from_now(delay),
            "owner": None,
            "attempts": attempts,
            **({} if spent is None else {"spent": spent}),
            **facts,
        }
        self._write(Move.HAND_BACK, [{"$set": given_up}])

    def finish(self, decision: Decision, events: Sequence[Event]) -> None:
        """Write the final state and its events in one document write. Raises LeaseLostError.

        While there are events the job stays due: an announcement is owed.
        """
        final: dict[str, Any] = {
            "state": decision.outcome.value,
            "events": {"$literal": [event.to_document() for event in events]},
            "finished_at": NOW,
        }
        if events:
            final["due_at"] = from_now(self._duration)
        drop_due = [] if events else [{"$unset": "due_at"}]
        self._write(Move.FINISH, [{"$set": final}, *drop_due])

    def announced(self, events: Sequence[Event]) -> None:
        """Empty the outbox after its events became deliveries: nothing is owed any more. Raises LeaseLostError."""
        told = {"event_id": {"$in": [event.event_id for event in events]}}
        if not self._jobs.update_one(self._mine(), {"$pull": {"events": told}, "$unset": {"due_at": ""}}):
            raise LeaseLostError

    @tried_twice
    def _write(self, move: Move, update: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
        """Safe to repeat: a write that was made although its answer was lost is known by the state that it left."""
        doubted, self._in_doubt = self._in_doubt, True
        written = self._jobs.update_one({**self._mine(), "state": {"$in": states_before(move)}}, update)
        if not written and not (doubted and self._stands(move)):
            raise LeaseLostError
        self._in_doubt = False

    def _stands(self, move: Move) -> bool:
        return self._jobs.find_one({**self._mine(), "state": {"$in": states_after(move)}}, {"_id": 1}) is not None

    def _mine(self) -> dict[str, Any]:
        return {"_id": self.job.job_id, "fence": self.job.fence}
