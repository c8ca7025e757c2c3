"""Rebuilding the lexical index of a namespace that an earlier release wrote: one job at a time, which goes on where the
last one stopped. It reads and writes no vector itself.
"""

from dataclasses import replace

from core.ids import Prefix, random_id
from core.jobs.job import Job, JobKind, NewJob
from core.jobs.store import JobStore
from core.jobs.submission import Submission
from core.storage.scope import NamespaceScope
from core.tenancy.namespace_store import NamespaceStore
from core.tenancy.tenant import IndexRebuild
from core.tenancy.tenant_cache import TenantCache


class IndexRebuilds:
    """The rebuilding of indexes, for operators and the worker."""

    def __init__(
        self, namespaces: NamespaceStore, tenants: TenantCache, jobs: JobStore, submission: Submission
    ) -> None:
        self._namespaces = namespaces
        self._tenants = tenants
        self._jobs = jobs
        self._submission = submission

    def begin(self, scope: NamespaceScope, request_id: str) -> Job:
        """The job that rebuilds the namespace's index: the one that is at it, or a new one."""
        standing = self._namespaces.rebuild_of(scope)
        job = self._jobs.find(scope, standing.job_id) if standing else None
        if job is not None and not job.is_final:
            return job
        job_id = random_id(Prefix.TASK)
        self._namespaces.note_rebuild(scope, replace(standing, job_id=job_id) if standing else IndexRebuild(job_id))
        return self._submission.submit(scope, NewJob(job_id, JobKind.INDEX_REBUILD, {}, hold=0, request_id=request_id))

    def under_way(self, scope: NamespaceScope) -> IndexRebuild | None:
        """How far it is; None when there is nothing to do, or no more."""
        return self._namespaces.rebuild_of(scope)

    def note(self, scope: NamespaceScope, rebuild: IndexRebuild) -> None:
        """Remember how far it is."""
        self._namespaces.note_rebuild(scope, rebuild)

    def end(self, scope: NamespaceScope) -> None:
        """All is rewritten: queries ask in one form again."""
        self._namespaces.end_rebuild(scope)
        self._tenants.changed(scope)
