"""Submitting and cancelling jobs: hold, record, ring. In this order, so that no recorded job lacks a hold."""

from core.credits.ledger import Ledger
from core.jobs.doorbell import Doorbell
from core.jobs.job import Job, NewJob
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
        orphan hold, which the sweeper releases.
        """
        self._ledger.hold(scope, new.job_id, new.hold)
        job = self._jobs.create(scope, new)
        self._doorbell.ring(job.job_id, scope.namespace_id, new.request_id)
        return job

    def cancel(self, scope: OrganizationScope, job_id: str) -> None:
        """Ask a job to stop. Unknown, foreign or ended: nothing happens.

        A job that nobody runs is decided at once, and a worker is rung for to settle and announce it.
        """
        if self._jobs.request_cancel(scope, job_id):
            job = self._jobs.get(scope, job_id)
            self._doorbell.ring(job_id, job.scope.namespace_id, job.request_id)
