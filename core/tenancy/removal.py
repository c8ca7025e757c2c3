"""Ends an organization: no request of it is answered any more, its jobs end, and what its data keys sealed is noise.

It removes no record of what the organization did or owes: audit log, ledger and jobs stay to be examined.
"""

from core.clock import DatabaseClock
from core.jobs.store import JobStore
from core.jobs.submission import Submission
from core.storage.handles import Handles, OrganizationData
from core.storage.scope import OrganizationScope
from core.tenancy.tenant_cache import TenantCache
from core.vault.rotation import KeyRotation


class OrganizationRemoval:
    """Deletes organizations, by an operator's hand. Begun and stopped, it is finished by beginning again."""

    def __init__(
        self,
        handles: Handles,
        clock: DatabaseClock,
        rotation: KeyRotation,
        tenants: TenantCache,
        jobs: JobStore,
        submission: Submission,
    ) -> None:
        self._handles = handles
        self._clock = clock
        self._rotation = rotation
        self._tenants = tenants
        self._jobs = jobs
        self._submission = submission

    def remove(self, scope: OrganizationScope) -> int:
        """Mark it deleted, end its API keys, empty its vault, stop its jobs, destroy its data keys.

        How many data keys there were.
        """
        moment = self._clock.now()

        def write(data: OrganizationData) -> None:
            data["organizations"].update_one({"_id": scope.internal_id}, {"$set": {"deleted_at": moment}})
            data["api_keys"].update_many({}, {"$set": {"grace_until": None}, "$unset": {"active": ""}})
            data["api_keys"].update_many({"revoked_at": None}, {"$set": {"revoked_at": moment}})
            # what waits to be sent finds its endpoint switched off; what an earlier version stored unsealed goes
            data["webhooks"].update_many({}, {"$set": {"is_active": False}, "$unset": {"headers": ""}})
            for name in ("secrets", "secret_versions", "secret_access"):
                data[name].delete_many({})

        self._handles.organization(scope).all_or_nothing(write)
        self._tenants.changed(scope)
        for job_id in self._jobs.owing(scope, announcements=False, limit=0):
            self._submission.cancel(scope, job_id)
        return self._rotation.destroy_all(scope)
