"""Submitting and cancelling jobs: hold, record, ring. In this order, so that no recorded job lacks a hold."""

from contextlib import suppress

from core.credits.entry import hold_id_of
from core.credits.ledger import Ledger
from core.errors import ConflictError
from core.ids import Prefix, random_id
from core.jobs.doorbell import Doorbell
from core.jobs.job import FINAL_STATES, Job, JobState, NewJob
from core.jobs.lane import lane_of
from core.jobs.store import JobStore
from core.storage.scope import NamespaceScope, OrganizationScope


class Submission:
    """The way into the job engine, for intake and operators alike."""

    def __init__(self, ledger: Ledger, jobs: JobStore, doorbell: Doorbell) -> None:
        self._ledger = ledger
        self._jobs = jobs
        self._doorbell = doorbell

    def submit(self, scope: NamespaceScope, new: NewJob) -> Job:
        """Accept a job. The same job id again changes nothing and gives the job that stands there.

        Raises InsufficientCreditsError before anything is recorded. A crash between hold and record leaves an
        orphan hold, which the sweeper releases; the job that is submitted again then gets the next one.
        Free work leaves nothing in the ledger.
        """
        job = self._recorded(scope, new)
        self._ring(job)
        return job

    def _ring(self, job: Job) -> None:
        self._doorbell.ring(lane_of(job.kind), job.job_id, job.scope.namespace_id, job.request_id)

    def _recorded(self, scope: NamespaceScope, new: NewJob, number: int = 1) -> Job:
        hold_id = hold_id_of(new.job_id, number)
        if not new.hold:
            return self._jobs.create(scope, new, hold_id)
        try:
            self._ledger.hold(scope, hold_id, new.hold)
        except ConflictError:
            # it ended with the job, or as an orphan of a job that was never recorded
            standing = self._jobs.find(scope, new.job_id)
            return standing or self._recorded(scope, new, number + 1)
        return self._jobs.create(scope, new, hold_id)

    def retry(self, job: Job) -> Job:
        """Submit an ended job again, as a new one with a hold of its own.

        What a partial job has done was charged: it is neither repeated nor charged again.
        Raises ConflictError for a job that runs or succeeded, InsufficientCreditsError.
        """
        if job.state not in FINAL_STATES or job.state is JobState.SUCCEEDED:
            raise ConflictError(f"The job is {job.state}: only a failed, partial or cancelled one is run again.")
        charged = sorted(job.done) if job.state is JobState.PARTIAL else []
        spec = {**job.spec, "retry_of": job.job_id, "done_before": [*job.spec.get("done_before", []), *charged]}
        return self.submit(job.scope, NewJob(random_id(Prefix.TASK), job.kind, spec, job.hold, job.request_id))

    def withdraw(self, job: Job) -> bool:
        """Take back an awaited job that waits for a backend: its hold is released and its record removed, and no event
        tells of it. False when a worker was quicker, which goes on with it.

        A crash between the steps leaves a job that a worker settles and removes.
        """
        if not self._jobs.withdraw(job.scope, job):
            return False
        entries = self._ledger.entries_of(job.scope, job.hold_id) if job.hold else []
        if entries and not any(entry.closes_hold for entry in entries):
            with suppress(ConflictError):
                self._ledger.release(job.scope, entries[0])
        self._jobs.remove_withdrawn(job.scope, job.job_id)
        return True

    def cancel(self, scope: OrganizationScope, job_id: str) -> None:
        """Ask a job to stop. Unknown, foreign or ended: nothing happens.

        A job that nobody runs is decided at once, and a worker is rung for to settle and announce it.
        """
        if self._jobs.request_cancel(scope, job_id):
            self._ring(self._jobs.get(scope, job_id))
