"""Submitting a job: hold its credits, record it, ring. In this order, so that no recorded job lacks a hold."""

from core.credits.ledger import Ledger
from core.jobs.doorbell import Doorbell
from core.jobs.job import Job, NewJob
from core.jobs.store import JobStore
from core.storage.scope import NamespaceScope


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
