"""What a key may do: permission levels, scopes, and whether one grant contains another. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Permission(StrEnum):
    """A level. Each contains the ones before it."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """0 for the lowest level."""
        return list(Permission).index(self)

    def allows(self, needed: "Permission") -> bool:
        """Whether a holder of this permission may do what `needed` guards."""
        return self.rank >= needed.rank


class ResourceType(StrEnum):
    """What a scope can be about: the published list, and `task`."""

    ORGANIZATION = "organization"
    USER = "user"
    API_KEY = "api_key"
    NAMESPACE = "namespace"
    COLLECTION = "collection"
    DOCUMENT = "document"
    BUCKET = "bucket"
    RETRIEVER = "retriever"
    CLUSTER = "cluster"
    TAXONOMY = "taxonomy"
    STORAGE_CONNECTION = "storage_connection"
    ALERT = "alert"
    ANNOTATION = "annotation"
    SECRET = "secret"  # noqa: S105 - the name of a kind of resource
    WEBHOOK = "webhook"
    TASK = "task"


IN_NAMESPACE = frozenset(
    {
        ResourceType.COLLECTION,
        ResourceType.DOCUMENT,
        ResourceType.BUCKET,
        ResourceType.RETRIEVER,
        ResourceType.CLUSTER,
        ResourceType.TAXONOMY,
        ResourceType.ALERT,
        ResourceType.ANNOTATION,
        ResourceType.TASK,
    }
)
"""What lives in a namespace, so that a scope on the namespace covers it. The rest is the organization's."""


class Operation(StrEnum):
    """What a scope may allow on its resource: the published list."""

    READ_DATA = "read_data"
    WRITE_DATA = "write_data"
    DELETE_DATA = "delete_data"
    EXECUTE_RETRIEVER = "execute_retriever"
    CREATE_RETRIEVER = "create_retriever"
    DELETE_RETRIEVER = "delete_retriever"
    EXECUTE_JOB = "execute_job"
    CANCEL_JOB = "cancel_job"
    CREATE_CLUSTER = "create_cluster"
    DELETE_CLUSTER = "delete_cluster"
    MODIFY_CLUSTER = "modify_cluster"
    MODIFY_INFRASTRUCTURE = "modify_infrastructure"
    MANAGE_PERMISSIONS = "manage_permissions"


OPERATION_OF = {
    Permission.READ: Operation.READ_DATA,
    Permission.WRITE: Operation.WRITE_DATA,
    Permission.DELETE: Operation.DELETE_DATA,
    Permission.ADMIN: Operation.MANAGE_PERMISSIONS,
}
"""What a route of a permission level does, unless its row says otherwise."""


@dataclass(frozen=True)
class Named:
    """One resource that a request is about. `names` are its id and its name; empty for "any, or a new one"."""

    type: ResourceType
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scope:
    """One resource, or several by a trailing `*`, and what may be done with it."""

    resource_type: ResourceType
    resource_id: str
    """an id or a name; `*` for all of the type; a trailing `*` for all that begin so"""
    operations: frozenset[Operation] = frozenset()
    """empty: whatever the key's permission allows"""

    def permits(self, operation: Operation, target: Named) -> bool:
        """Whether this scope lets `operation` be done to `target`."""
        if target.type is not self.resource_type or (self.operations and operation not in self.operations):
            return False
        return self.resource_id == "*" or any(self.matches(name) for name in target.names)

    def matches(self, name: str) -> bool:
        """Whether a resource's id or name is meant."""
        if self.resource_id.endswith("*"):
            return name.startswith(self.resource_id[:-1])
        return name == self.resource_id

    def contains(self, other: "Scope") -> bool:
        """Whether everything that `other` permits is permitted here too."""
        if other.resource_type is not self.resource_type or not self._operations_contain(other):
            return False
        return self.resource_id == "*" or self.matches(other.resource_id)

    def _operations_contain(self, other: "Scope") -> bool:
        return not self.operations or bool(other.operations and other.operations <= self.operations)

    def to_document(self) -> dict[str, Any]:
        """As MongoDB stores it, and as the wire shows it."""
        return {
            "resource_type": self.resource_type.value,
            "resource_id": self.resource_id,
            "operations": sorted(operation.value for operation in self.operations),
        }

    @staticmethod
    def from_document(found: dict[str, Any]) -> "Scope":
        """Read what `to_document` wrote."""
        return Scope(
            ResourceType(found["resource_type"]),
            found["resource_id"],
            frozenset(Operation(name) for name in found["operations"]),
        )


def scopes_permit(scopes: Sequence[Scope], operation: Operation, targets: Iterable[Named]) -> bool:
    """Whether one of the scopes covers one of the targets: a resource itself, its parent, its namespace."""
    return any(scope.permits(operation, target) for target in targets for scope in scopes)


def scopes_contain(holder: Sequence[Scope], asked: Sequence[Scope]) -> bool:
    """Whether `asked` gives nothing that `holder` has not. No scopes at all means everything."""
    if not holder:
        return True
    return bool(asked) and all(any(scope.contains(one) for scope in holder) for one in asked)
