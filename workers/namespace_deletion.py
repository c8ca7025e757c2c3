"""Empties a namespace that is marked as deleted: its jobs end first, then vectors, records and blobs go.

Killed anywhere, it starts over: what is gone already costs one look. It never touches a namespace without the mark.
"""

from datetime import timedelta

import structlog

from core.bootstrap import Services
from core.jobs.job import Decision, Job, JobError, JobState
from core.tenancy.tenant import Deletion
from pipelines.runner import CallCancelledError, CallContext, Runner
from workers.outcome import HandBack
from workers.watch import Watched

_LOOK_AGAIN = timedelta(seconds=0.5)
_VECTORS = "vectors"

log = structlog.get_logger(__name__)


class NamespaceDeletionExecutor:
    """Deletes namespaces."""

    def __init__(self, services: Services, runner: Runner) -> None:
        self._services = services
        self._runner = runner
        self._settle = timedelta(seconds=services.settings.namespace_settle_seconds)

    def run(self, watched: Watched) -> Decision | HandBack:
        """One pass. The deletion is done when a pass that began after the last late writer finds nothing."""
        job = watched.lease.job
        deletion = self._services.namespaces.deletion_of(job.scope, job.scope.namespace_id)
        if deletion is None:
            return self._without_mark(job)
        if under_way := self._stop_jobs(job):
            log.info("namespace_deletion.waits_for_jobs", jobs=under_way)
            return _later(_LOOK_AGAIN, "jobs_under_way")
        began = self._services.clock.now()
        removed = self._remove(watched)
        if removed or began < deletion.since + self._settle:
            return _later(self._until_settled(deletion), "settling")
        self._services.namespaces.end_deletion(job.scope)
        return Decision(JobState.SUCCEEDED, result=dict(job.progress))

    def _without_mark(self, job: Job) -> Decision:
        if self._services.namespaces.is_deleted(job.scope):
            # killed between the last step and the decision
            return Decision(JobState.SUCCEEDED, result=dict(job.progress))
        error = JobError("namespace_not_deleted", "The namespace is not marked as deleted; nothing was removed.")
        return Decision(JobState.FAILED, error=error)

    def _stop_jobs(self, job: Job) -> int:
        """Cancel what is under way; how many jobs still owe a run, a settlement or an announcement."""
        owing = self._services.jobs.owing(job.scope, announcements=True)
        for job_id in owing:
            self._services.submission.cancel(job.scope, job_id)
        return len(owing)

    def _remove(self, watched: Watched) -> int:
        """Remove what there is, with a checkpoint after each chunk: it also refuses a driver that lost its lease."""
        job = watched.lease.job
        counts = dict(job.progress)
        before = sum(counts.values())
        call = CallContext(job.scope.namespace_id, job.job_id, job.request_id)
        if self._runner.drop_vectors(call, watched.stop):
            counts[_VECTORS] = counts.get(_VECTORS, 0) + 1
        for name, removed in self._services.deletions.contents.remove(job.scope):
            counts[name] = counts.get(name, 0) + removed
            watched.lease.checkpoint([], counts)
            if watched.stop.is_set():
                raise CallCancelledError
        watched.lease.checkpoint([], counts)
        return sum(counts.values()) - before

    def _until_settled(self, deletion: Deletion) -> timedelta:
        return max(deletion.since + self._settle - self._services.clock.now(), _LOOK_AGAIN)


def _later(delay: timedelta, reason: str) -> HandBack:
    return HandBack(delay, count_attempt=False, reason=reason)
