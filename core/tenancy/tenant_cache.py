"""A process's memory of organizations and namespaces, trusted only while Redis confirms that nothing changed.

Each organization has an epoch in Redis. Whoever changes the organization or a namespace gives it a new one, and an
entry from another epoch is read again from MongoDB. Without Redis nothing is remembered. Keys are never kept here.
"""

import secrets
import time
from collections.abc import Callable
from typing import Any, TypeVar

import structlog
from redis import Redis
from redis.exceptions import RedisError

from core.recent import Recent
from core.storage.redis import tenant_epoch_key
from core.storage.redis_memory import unless_away
from core.storage.scope import OrganizationScope
from core.tenancy.namespace_store import NamespaceStore
from core.tenancy.organization_store import OrganizationStore
from core.tenancy.tenant import Namespace, Organization

_TRUSTED_SECONDS = 30.0
"""For a change whose maker could not reach Redis."""
_ENTRIES_MAX = 10_000
"""Organizations and namespaces remembered; one that was forgotten costs a read."""

Value = TypeVar("Value")

log = structlog.get_logger(__name__)


class TenantCache:
    """Organizations and namespaces by scope. Safe to use from several threads."""

    def __init__(self, redis: Redis, organizations: OrganizationStore, namespaces: NamespaceStore) -> None:
        self._redis = redis
        self._organizations = organizations
        self._namespaces = namespaces
        self._entries = Recent[Any, tuple[str, float, object]](_ENTRIES_MAX)

    def epoch(self, scope: OrganizationScope) -> str | None:
        """The organization's epoch, for the look-ups of one request; None while Redis is away."""
        return unless_away(lambda: self._read_epoch(tenant_epoch_key(scope.internal_id)))

    def organization(self, scope: OrganizationScope, epoch: str | None) -> Organization:
        """The organization behind a scope. Raises NotFoundError."""
        return self._remembered(scope.internal_id, epoch, lambda: self._organizations.get(scope))

    def namespace(self, scope: OrganizationScope, id_or_name: str, epoch: str | None) -> Namespace:
        """The organization's own namespace with this id or name. Raises NotFoundError."""
        return self._remembered((scope.internal_id, id_or_name), epoch, lambda: self._namespaces.get(scope, id_or_name))

    def changed(self, scope: OrganizationScope) -> None:
        """Say that the organization, or a namespace of it, is no longer what it was: after the write."""
        try:
            self._redis.set(tenant_epoch_key(scope.internal_id), secrets.token_hex(8))
        except RedisError as error:
            log.warning("tenant_cache.change_not_told", error=type(error).__name__)

    def _read_epoch(self, key: str) -> str:
        found = self._redis.get(key)
        if found is None:
            # after a flush too: an entry of long ago must not match by accident
            self._redis.set(key, secrets.token_hex(8), nx=True)
            found = self._redis.get(key)
        return found.decode() if isinstance(found, bytes) else ""

    def _remembered(self, key: object, epoch: str | None, read: Callable[[], Value]) -> Value:
        if not epoch:
            return read()
        told, stale_at, value = self._entries.get(key, ("", 0.0, None))
        if told == epoch and stale_at > time.monotonic():
            return value  # type: ignore[return-value]  # what `read` gave for this key
        fresh = read()
        self._entries.put(key, (epoch, time.monotonic() + _TRUSTED_SECONDS, fresh))
        return fresh
