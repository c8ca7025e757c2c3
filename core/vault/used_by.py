"""What uses a secret: the retrievers whose stages name it, and the organization's own default credentials.

Nothing else can: collections and webhooks are refused when they name one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from core.retrievers.store import RetrieverStore
from core.storage.scope import OrganizationScope
from core.tenancy.namespace_store import NamespaceStore
from core.tenancy.organization_store import OrganizationStore
from core.tenancy.tenant import Environment


@dataclass(frozen=True)
class SecretUsers:
    """Who would fail without the secret."""

    retrievers: Mapping[str, tuple[str, ...]]
    """namespace id → ids of its retrievers"""
    default_credentials: tuple[str, ...]
    """providers for which the organization's stages use it when they name none"""

    @property
    def any(self) -> bool:
        """Whether there is somebody."""
        return bool(self.retrievers or self.default_credentials)


class SecretUsage:
    """Finds the users of secrets, by one indexed query for each namespace."""

    def __init__(
        self, organizations: OrganizationStore, namespaces: NamespaceStore, retrievers: RetrieverStore
    ) -> None:
        self._organizations = organizations
        self._namespaces = namespaces
        self._retrievers = retrievers

    def of(self, scope: OrganizationScope, secret_name: str, environment: Environment | None = None) -> SecretUsers:
        """Who uses the secret with this name; of the namespaces of one environment if that is named."""
        found = {
            namespace.namespace_id: self._retrievers.using_secret(namespace.scope, secret_name)
            for namespace in self._namespaces.list(scope, environment=environment)
        }
        defaults = self._organizations.get(scope).default_llm_credentials
        return SecretUsers(
            retrievers={namespace_id: ids for namespace_id, ids in sorted(found.items()) if ids},
            default_credentials=tuple(sorted(provider for provider, name in defaults.items() if name == secret_name)),
        )
