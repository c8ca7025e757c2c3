"""The closed list of what is audited, as `subject:action`. Names only; it records nothing."""

from enum import StrEnum


class AuditAction(StrEnum):
    """What somebody did, or looked at."""

    NAMESPACE_CREATED = "namespace:created"
    BUCKET_CREATED = "bucket:created"
    OBJECT_CREATED = "object:created"
    OBJECT_DELETED = "object:deleted"
    COLLECTION_CREATED = "collection:created"
    BATCH_CREATED = "batch:created"
    BATCH_SUBMITTED = "batch:submitted"
    RETRIEVER_CREATED = "retriever:created"
    RETRIEVER_EXECUTED = "retriever:executed"
    TASK_CANCELLED = "task:cancelled"
    WEBHOOK_CREATED = "webhook:created"
    WEBHOOK_UPDATED = "webhook:updated"
    WEBHOOK_DELETED = "webhook:deleted"
    DELIVERY_REPLAYED = "delivery:replayed"
