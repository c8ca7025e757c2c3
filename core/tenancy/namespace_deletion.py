"""Deleting a namespace: marked first, so that nobody reads it any more, then emptied by a job that the mark calls for.

The mark is the one fact. Whoever finds it submits the same job, so a crash after the mark leaves nothing half done.
"""

from core.errors import NotFoundError
from core.ids import Prefix, derived_id
from core.jobs.job import Job, JobKind, JobState, NewJob
from core.jobs.store import JobStore
from core.jobs.submission import Submission
from core.storage.scope import NamespaceScope
from core.tenancy.namespace_contents import NamespaceContents
from core.tenancy.namespace_store import ABSENT, NamespaceStore
from core.tenancy.tenant import Deletion
from core.tenancy.tenant_cache import TenantCache


class NamespaceDeletions:
    """The deletions of namespaces, for intake, worker and sweeper."""

    def __init__(
        self,
        namespaces: NamespaceStore,
        tenants: TenantCache,
        jobs: JobStore,
        submission: Submission,
        contents: NamespaceContents,
    ) -> None:
        self._namespaces = namespaces
        self._tenants = tenants
        self._jobs = jobs
        self._submission = submission
        self.contents = contents

    def begin(self, scope: NamespaceScope, operation_id: str, request_id: str) -> Deletion:
        """Mark the namespace. Raises NotFoundError when somebody else was first."""
        deletion = self._namespaces.begin_deletion(scope, scope.namespace_id, operation_id, request_id)
        if deletion is None:
            raise NotFoundError(ABSENT)
        return deletion

    def submit(self, deletion: Deletion) -> Job:
        """See that no process remembers the namespace, and that its job is there; the same job each time."""
        self._tenants.changed(deletion.scope)
        scope = deletion.scope
        new = NewJob(
            job_id=_job_id(deletion),
            kind=JobKind.NAMESPACE_DELETION,
            spec={},
            hold=0,
            request_id=deletion.request_id,
        )
        return self._submission.submit(scope, new)

    def resume(self, deletion: Deletion) -> bool:
        """Give a deletion that has no job, or whose job failed, one; whether it needed that."""
        job = self._jobs.find(deletion.scope, _job_id(deletion))
        if job is None:
            self.submit(deletion)
            return True
        if job.state is JobState.FAILED and self._namespaces.renumber_deletion(deletion):
            again = self._namespaces.deletion_of(deletion.scope, deletion.scope.namespace_id)
            if again:
                self.submit(again)
            return again is not None
        return False


def _job_id(deletion: Deletion) -> str:
    return derived_id(Prefix.TASK, "namespace-deletion", deletion.scope.namespace_id, deletion.number)
