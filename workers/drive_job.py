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
from functools import partial
from typing import Protocol

import structlog

from config.logging_setup import bind_unit_of_work, unbind_unit_of_work
from core.backends.backend import Backend
from core.bootstrap import Services
from core.credits.entry import Entry, EntryKind
from core.errors import BackendAwayError, ConflictError, LeaseLostError, StageError, UnavailableError
from core.jobs.announcement import events_of
from core.jobs.job import Decision, Job, JobError, JobKind, JobState
from core.jobs.lease import Lease
from core.jobs.waiting import tell_waiting
from core.storage.failures import away
from core.webhooks.event import Event
from core.webhooks.relay import relay_events
from pipelines.runner import CallCancelledError
from workers.absence import Absence
from workers.outcome import Abandon, HandBack, Outcome, Wait
from workers.watch import LeaseWatch, StopReason, Watched

_LONGEST_BACKOFF_SECONDS = 30.0
_FIRST_WORD_SECONDS = 5.0
"""How long after MongoDB's return a job whose lease has ended stays with whoever ran it: two heartbeats and a try."""
_WAITS = "waits"

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
        self._until_done = watch.patience.until_done
        self._backends = services.backends
        self._absence = Absence(services.settings, self._backends, services.clock, watch.patience)
        self._max_attempts = services.settings.job_max_attempts
        self._execution_seconds = services.settings.execution_seconds
        self.ended: Counter[str] = Counter()
        """jobs that this process drove to their end, by how they ended"""
        self.waited: Counter[str] = Counter()
        """jobs that began to wait here, by the backend that was away"""

    def drive(self, job_id: str) -> bool:
        """Claim the job and bring it as far as it goes. False when there was nothing to claim."""
        if self._watch.drives(job_id):
            # its lease ran out while MongoDB was away: it is prolonged at the next heartbeat
            return False
        lease = self._claim(job_id)
        if lease is None:
            return False
        job = lease.job
        ids = {"job_id": job.job_id, "namespace_id": job.scope.namespace_id, "request_id": job.request_id}
        bind_unit_of_work(ids)
        started = time.monotonic()
        try:
            ended = self._advance(lease)
            # of a job that goes on waiting there is nothing new to say
            (log.debug if ended == _WAITS and job.waits else log.info)(
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

    def _claim(self, job_id: str) -> Lease | None:
        owner, queue = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex}", self._services.queue
        # while MongoDB was away no lease could be prolonged: those who run a job, here or elsewhere, go on first
        take_over = self._backends.is_settled(Backend.MONGO, _FIRST_WORD_SECONDS)
        try:
            return queue.claim(job_id, owner, take_over=take_over)
        except Exception as error:
            if away(error) is None:
                raise
        # it may have been made: only its answer was lost
        return self._until_done(lambda: queue.claimed(job_id, owner) or queue.claim(job_id, owner, take_over=False))

    def _advance(self, lease: Lease) -> str:
        """Go on from the state in which the job was claimed; says how far it came."""
        job = lease.job
        if job.is_final:
            self._announce(lease, job.events)
            return "announced"
        ledger = self._services.ledger
        entries = self._until_done(lambda: ledger.entries_of(job.scope, job.hold_id)) if job.hold else []
        decision = job.decision
        if job.state is JobState.RUNNING:
            seconds = self._execution_seconds if job.kind is JobKind.RETRIEVER else math.inf
            # until the outcome is written: without MongoDB that takes a while, and the job stays ours
            with self._watch.over(lease, seconds) as watched:
                outcome = self._outcome(watched, entries)
                if not isinstance(outcome, Decision):
                    return self._give_up(lease, outcome)
                self._until_done(partial(lease.decide, outcome))
            decision = outcome
        if decision is None:
            raise RuntimeError(f"job {job.job_id} is {job.state} without a decision")
        self._until_done(partial(self._settle, job, decision, entries))
        self._finish(lease, decision)
        self.ended[decision.outcome.value] += 1
        return decision.outcome.value

    def _give_up(self, lease: Lease, outcome: HandBack | Wait | Abandon) -> str:
        """Write that the job is given up for now; why."""
        if isinstance(outcome, Abandon):
            return outcome.reason
        if isinstance(outcome, HandBack):
            give_up = partial(lease.hand_back, outcome.delay, outcome.spent, count_attempt=outcome.count_attempt)
            self._until_done(give_up)
            return outcome.reason
        begins = not lease.waits
        wait_for = partial(lease.wait_for, outcome.backend, outcome.delay, outcome.spent, refused=outcome.refused)
        self._until_done(wait_for)
        if begins:
            self.waited[outcome.backend.value] += 1
        self._tell_waiting(lease.job)
        return _WAITS

    def _outcome(self, watched: Watched, entries: list[Entry]) -> Outcome:
        job = watched.lease.job
        if job.cancel_requested:
            return Decision(JobState.CANCELLED, charge=min(job.spent, job.hold))
        if job.hold and (not entries or any(entry.closes_hold for entry in entries)):
            return _failed("hold_closed", "The credits held for this job are no longer held; submit it again.")
        if job.attempts > self._max_attempts:
            why = f"The job did not end in {self._max_attempts} attempts."
            return _failed("attempts_exhausted", why, min(job.spent, job.hold))
        return self._absence.foreseen(watched.lease) or self._run(watched)

    def _run(self, watched: Watched) -> Outcome:
        lease, job = watched.lease, watched.lease.job
        try:
            self._until_done(lease.begin)
            # what was done in full counts, whoever asked for its end meanwhile; the fence says whether it is still ours
            outcome = self._executors[job.kind].run(watched)
        except CallCancelledError as error:
            again = HandBack(_backoff(job.attempts), count_attempt=True, reason="cancelled", spent=error.spent)
            return self._stopped(watched, error.spent) or again
        except StageError as error:
            return self._stopped(watched, error.spent) or _failed(error.code, error.message, error.spent)
        except LeaseLostError:
            raise
        except Exception as error:
            absent = away(error)
            stopped = self._stopped(watched, absent.spent if absent else 0)
            return stopped or (absent and self._absence.met(lease, absent)) or _try_again(job, absent or error)
        lease.goes_on()
        return outcome

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
        if decision.is_withdrawn:
            # whoever withdrew it did not come to this
            self._until_done(partial(self._services.jobs.remove_withdrawn, lease.job.scope, lease.job.job_id))
            return
        events = events_of(lease.job, decision, self._until_done(self._services.clock.now))
        self._until_done(partial(lease.finish, decision, events))
        self._tell_waiting(lease.job)
        self._announce(lease, events)

    def _tell_waiting(self, job: Job) -> None:
        if job.awaited:
            tell_waiting(self._services.redis, job.scope.namespace_id, job.job_id)

    def _announce(self, lease: Lease, events: tuple[Event, ...]) -> None:
        services, scope = self._services, lease.job.scope
        self._until_done(lambda: relay_events(services.handles, scope, events, services.redis, services.clock))
        self._until_done(partial(lease.announced, events))


def _failed(code: str, message: str, charge: int = 0) -> Decision:
    return Decision(JobState.FAILED, charge=charge, error=JobError(code, message))


def _try_again(job: Job, error: Exception) -> HandBack:
    """What the attempt comes to: it counts, so that this cannot go on for ever."""
    if isinstance(error, UnavailableError):
        log.warning("job.handed_back", error=error.message)
        spent = error.spent if isinstance(error, BackendAwayError) else None
        return HandBack(_backoff(job.attempts), count_attempt=True, reason="unavailable", spent=spent)
    # a mistake of ours, or of a backend that answers
    log.error("job.attempt_broken", exc_info=error)
    return HandBack(_backoff(job.attempts), count_attempt=True, reason="broken")


def _backoff(attempts: int) -> timedelta:
    return timedelta(seconds=min(0.5 * 2**attempts, _LONGEST_BACKOFF_SECONDS))
