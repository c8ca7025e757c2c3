"""The closed list of what is audited, in the published form `<resource>_<verb>`, and how each is recorded. Pure."""

from collections.abc import Iterable
from enum import StrEnum


class AuditAction(StrEnum):
    """What somebody did, or looked at."""

    API_KEY_CREATED = "api_key_created"
    API_KEY_UPDATED = "api_key_updated"
    API_KEY_SCOPE_UPDATED = "api_key_scope_updated"
    API_KEY_ROTATED = "api_key_rotated"
    API_KEY_REVOKED = "api_key_revoked"
    USER_CREATED = "user_created"
    USER_UPDATED = "user_updated"
    USER_DELETED = "user_deleted"
    PERMISSION_UPDATED = "permission_updated"
    ORGANIZATION_CREATED = "organization_created"
    ORGANIZATION_UPDATED = "organization_updated"
    ORGANIZATION_DELETED = "organization_deleted"
    NAMESPACE_CREATED = "namespace_created"
    NAMESPACE_UPDATED = "namespace_updated"
    NAMESPACE_DELETED = "namespace_deleted"
    NAMESPACE_ACCESSED = "namespace_accessed"
    BUCKET_CREATED = "bucket_created"
    BUCKET_UPDATED = "bucket_updated"
    BUCKET_DELETED = "bucket_deleted"
    BUCKET_ACCESSED = "bucket_accessed"
    OBJECT_CREATED = "object_created"
    OBJECT_UPDATED = "object_updated"
    OBJECT_DELETED = "object_deleted"
    OBJECT_ACCESSED = "object_accessed"
    COLLECTION_CREATED = "collection_created"
    COLLECTION_UPDATED = "collection_updated"
    COLLECTION_DELETED = "collection_deleted"
    COLLECTION_ACCESSED = "collection_accessed"
    DOCUMENT_DELETED = "document_deleted"
    DOCUMENT_ACCESSED = "document_accessed"
    BATCH_CREATED = "batch_created"
    BATCH_SUBMITTED = "batch_submitted"
    BATCH_DELETED = "batch_deleted"
    BATCH_ACCESSED = "batch_accessed"
    RETRIEVER_CREATED = "retriever_created"
    RETRIEVER_UPDATED = "retriever_updated"
    RETRIEVER_DELETED = "retriever_deleted"
    RETRIEVER_ACCESSED = "retriever_accessed"
    RETRIEVER_EXECUTED = "retriever_queried"
    TASK_CANCELLED = "task_cancelled"
    TASK_RETRIED = "task_retried"
    TASK_ACCESSED = "task_accessed"
    WEBHOOK_CREATED = "webhook_created"
    WEBHOOK_UPDATED = "webhook_updated"
    WEBHOOK_DELETED = "webhook_deleted"
    WEBHOOK_ACCESSED = "webhook_accessed"
    DELIVERY_REPLAYED = "delivery_replayed"
    SECRET_CREATED = "secret_created"  # noqa: S105 - a name
    SECRET_UPDATED = "secret_updated"  # noqa: S105 - a name
    SECRET_DELETED = "secret_deleted"  # noqa: S105 - a name
    SECRET_ACCESSED = "secret_accessed"  # noqa: S105 - a name
    DATA_KEY_ROTATED = "data_key_rotated"
    CREDITS_GRANTED = "credits_granted"
    AUDIT_SETTINGS_UPDATED = "audit_settings_updated"
    AUDIT_EXPORTED = "audit_exported"
    AUTHENTICATION_FAILED = "authentication_failed"
    PERMISSION_DENIED = "permission_denied"

    @property
    def resource_type(self) -> str:
        """What it is done to: the published resource type that its name starts with."""
        whole = self.value.removesuffix("_scope_updated")
        return whole if whole != self.value else whole.rpartition("_")[0]


def _starting_with(names: Iterable[str]) -> frozenset[AuditAction]:
    return frozenset(action for action in AuditAction if action.value.startswith(tuple(names)))


_HIGH_VOLUME = frozenset({AuditAction.OBJECT_CREATED, AuditAction.BATCH_SUBMITTED, AuditAction.RETRIEVER_EXECUTED})

FAIL_CLOSED = (
    _starting_with(["api_key_", "user_", "permission_updated", "organization_", "secret_", "credits_", "audit_"])
    | {AuditAction.WEBHOOK_CREATED, AuditAction.WEBHOOK_UPDATED}
    | {action for action in AuditAction if action.value.endswith("_deleted")}
)
"""Recorded before they happen, and refused when they cannot be recorded."""

ACCESS = (
    frozenset(action for action in AuditAction if action.value.endswith("_accessed")) | _HIGH_VOLUME
) - FAIL_CLOSED
"""Reads and executions: recorded when the organization asks for it, beside the request. Everything else is recorded
after its effect, before the answer."""
