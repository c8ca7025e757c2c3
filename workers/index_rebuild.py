"""Rebuilds the lexical index of a namespace, page by page. Killed anywhere, it goes on with the page that was under
way, and repeating a page changes nothing.
"""

from dataclasses import replace

from core.bootstrap import Services
from core.jobs.job import Decision, JobState
from pipelines.runner import CallContext, Runner
from workers.watch import Watched


class IndexRebuildExecutor:
    """Rebuilds indexes."""

    def __init__(self, services: Services, runner: Runner) -> None:
        self._rebuilds = services.index_rebuilds
        self._runner = runner

    def run(self, watched: Watched) -> Decision:
        """Rewrite what no earlier attempt or job has. Raises UnavailableError, CallCancelledError, LeaseLostError."""
        job = watched.lease.job
        call = CallContext(job.scope.namespace_id, job.job_id, job.request_id)
        points = job.progress.get("points", 0)
        # none: another job was done with it, or this one was killed between its last step and the decision
        while (rebuild := self._rebuilds.under_way(job.scope)) is not None:
            page = self._runner.rebuild_index(call, rebuild.following, watched.stop)
            points = rebuild.points + page.points
            # it also refuses a driver that lost its lease
            watched.lease.checkpoint([], {"points": points})
            if page.following is None:
                self._rebuilds.end(job.scope)
            else:
                self._rebuilds.note(job.scope, replace(rebuild, following=page.following, points=points))
        return Decision(JobState.SUCCEEDED, result={"points": points})
