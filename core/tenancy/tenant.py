"""The tenant's values: organization, namespace, API key, and what a key may do. Pure; holds no secret."""

from dataclasses import dataclass
from datetime import datetime

from core.storage.scope import NamespaceScope, OrganizationScope
from core.tenancy.permissions import Permission


@dataclass(frozen=True)
class Organization:
    """The paying tenant."""

    internal_id: str
    organization_id: str
    name: str
    email: str
    plan: str
    created_at: datetime

    @property
    def scope(self) -> OrganizationScope:
        """Its scope for database handles."""
        return OrganizationScope(self.internal_id)


@dataclass(frozen=True)
class Namespace:
    """The isolation boundary for data and compute."""

    namespace_id: str
    internal_id: str
    name: str
    description: str | None
    created_at: datetime

    @property
    def scope(self) -> NamespaceScope:
        """Its scope for database handles."""
        return NamespaceScope(self.internal_id, self.namespace_id)


@dataclass(frozen=True)
class ApiKey:
    """A stored key, without anything that could verify or rebuild it."""

    key_id: str
    internal_id: str
    name: str
    permission: Permission
    is_active: bool
    expires_at: datetime | None


@dataclass(frozen=True)
class Caller:
    """Who makes a request: an active key of one organization."""

    key: ApiKey

    @property
    def scope(self) -> OrganizationScope:
        """The caller's organization."""
        return OrganizationScope(self.key.internal_id)
