"""One job from its claim to its announcement: claim, run, decide, settle, finish, announce. Knows nothing of Celery.

Killed between any two steps, the job is claimed again and goes on from where its record stands; each step is safe to
repeat, because it is keyed by the job and conditional on the fence.
"""

import math
import os
import socket
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

import structlog

from config.logging_setup import bind_unit_of_work, unbind_unit_of_work
from core.bootstrap import Services
from core.credits.entry import Entry, EntryKind
from core.errors import ConflictError, LeaseLostError, StageError, UnavailableError
from core.jobs.announcement import events_of
from core.jobs.job import Decision, Job, JobError, JobKind, JobState
from core.jobs.lease import Lease
from core.jobs.waiting import tell_waiting
from core.storage.failures import is_backend_failure
from core.webhooks.event import Event
from core.webhooks.relay import relay_events
from pipelines.runner import CallCancelledError
from workers.outcome import Abandon, HandBack, Outcome
from workers.watch import LeaseWatch, StopReason, Watched

_LONGEST_BACKOFF_SECONDS = 30.0

log = structlog.get_logger(__name__)


class Executor(Protocol):
    """Runs the stages of one kind of job."""

    def run(self, watched: Watched) -> Decision | HandBack:
        """Do the work and say how it ended, or that it goes on later.

        Raises StageError when it cannot be done, UnavailableError when not now.
        """


class JobDriver:
    """Drives jobs, from any thread of the worker's pool."""

    def __init__(self, services: Services, watch: LeaseWatch, executors: Mapping[JobKind, Executor]) -> None:
        self._services = services
        self._watch = watch
        self._executors = executors
        self._max_attempts = services.settings.job_max_attempts
        self._execution_seconds = services.settings.execution_seconds
        self.ended: Counter[str] = Counter()
        """jobs that this process drove to their end, by how they ended"""

    def drive(self, job_id: str) -> bool:
        """Claim the job and bring it as far as it goes. False when there was nothing to claim."""
        owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex}"
        lease = self._services.queue.claim(job_id, owner)
        if lease is None:
            return False
        job = lease.job
        ids = {"job_id": job.job_id, "namespace_id": job.scope.namespace_id, "request_id": job.request_id}
        bind_unit_of_work(ids)
        started = time.monotonic()
        try:
            ended = self._advance(lease)
            log.info(
                "job.driven",
                kind=job.kind,
                claimed_as=job.state,
                ended=ended,
                fence=job.fence,
                attempts=job.attempts,
                ms=round((time.monotonic() - started) * 1000, 1),
            )
        except LeaseLostError:
            log.warning("job.lease_lost", fence=job.fence)
        finally:
            unbind_unit_of_work(*ids)
        return True

    def _advance(self, lease: Lease) -> str:
        """Go on from the state in which the job was claimed; says how far it came."""
        job = lease.job
        if job.is_final:
            self._announce(lease, job.events)
            return "announced"
        entries = self._services.ledger.entries_of(job.scope, job.hold_id) if job.hold else []
        decision = job.decision
        if job.state is JobState.RUNNING:
            outcome = self._outcome(lease, entries)
            if isinstance(outcome, Abandon):
                return outcome.reason
            if isinstance(outcome, HandBack):
                lease.hand_back(outcome.delay, count_attempt=outcome.count_attempt)
                return outcome.reason
            lease.decide(outcome)
            decision = outcome
        if decision is None:
            raise RuntimeError(f"job {job.job_id} is {job.state} without a decision")
        self._settle(job, decision, entries)
        self._finish(lease, decision)
        self.ended[decision.outcome.value] += 1
        return decision.outcome.value

    def _outcome(self, lease: Lease, entries: list[Entry]) -> Outcome:
        job = lease.job
        if job.cancel_requested:
            return Decision(JobState.CANCELLED)
        if job.hold and (not entries or any(entry.closes_hold for entry in entries)):
            return _failed("hold_closed", "The credits held for this job are no longer held; submit it again.")
        if job.attempts > self._max_attempts:
            return _failed("attempts_exhausted", f"The job did not end in {self._max_attempts} attempts.")
        seconds = self._execution_seconds if job.kind is JobKind.RETRIEVER else math.inf
        with self._watch.over(lease, seconds) as watched:
            return self._run(job, watched)

    def _run(self, job: Job, watched: Watched) -> Outcome:
        try:
            # what was done in full counts, whoever asked for its end meanwhile; the fence says whether it is still ours
            return self._executors[job.kind].run(watched)
        except CallCancelledError as error:
            again = HandBack(_backoff(job.attempts), count_attempt=True, reason="cancelled")
            return self._stopped(watched, error.spent) or again
        except StageError as error:
            return self._stopped(watched, error.spent) or _failed(error.code, error.message, error.spent)
        except UnavailableError as error:
            log.warning("job.handed_back", error=error.message)
            return self._stopped(watched) or HandBack(_backoff(job.attempts), count_attempt=True, reason="unavailable")
        except LeaseLostError:
            raise
        except Exception as error:
            # a mistake of ours or a backend that went away: the attempt counts, so this cannot go on for ever
            log.exception("job.attempt_broken", backend=is_backend_failure(error))
            return self._stopped(watched) or HandBack(_backoff(job.attempts), count_attempt=True, reason="broken")

    def _stopped(self, watched: Watched, spent: int = 0) -> Outcome | None:
        """What becomes of a job that was told to stop, having spent so many milli-credits on models."""
        match watched.reason:
            case StopReason.CANCELLED:
                return Decision(JobState.CANCELLED, charge=spent)
            case StopReason.TIMED_OUT:
                return _failed("timed_out", f"The execution did not end in {self._execution_seconds:g} seconds.", spent)
            case StopReason.SHUTDOWN:
                return HandBack(timedelta(), count_attempt=False, reason="shutdown")
            case StopReason.LEASE_LOST:
                return Abandon("lease lost")
            case None:
                return None

    def _settle(self, job: Job, decision: Decision, entries: list[Entry]) -> None:
        """Capture exactly the decided charge and release the rest, once."""
        hold = next((entry for entry in entries if entry.kind is EntryKind.HOLD), None)
        if hold is None or any(entry.closes_hold for entry in entries):
            return
        try:
            self._services.ledger.capture(job.scope, hold, decision.charge, job.usage)
        except ConflictError:
            # only an orphan release between our look and now can do this; reconciliation reports it
            log.error("settlement.hold_was_closed", charge=decision.charge)

    def _finish(self, lease: Lease, decision: Decision) -> None:
        job = lease.job
        if decision.is_withdrawn:
            # whoever withdrew it did not come to this
            self._services.jobs.remove_withdrawn(job.scope, job.job_id)
            return
        events = events_of(job, decision, self._services.clock.now())
        lease.finish(decision, events)
        if job.awaited:
            tell_waiting(self._services.redis, job.scope.namespace_id, job.job_id)
        self._announce(lease, events)

    def _announce(self, lease: Lease, events: tuple[Event, ...]) -> None:
        services = self._services
        relay_events(services.handles, lease.job.scope, events, services.redis, services.clock)
        lease.announced(events)


def _failed(code: str, message: str, charge: int = 0) -> Decision:
    return Decision(JobState.FAILED, charge=charge, error=JobError(code, message))


def _backoff(attempts: int) -> timedelta:
    return timedelta(seconds=min(0.5 * 2**attempts, _LONGEST_BACKOFF_SECONDS))
