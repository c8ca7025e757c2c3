"""The event catalogue and the published envelope. Pure; the closed list of what may be told to the outside."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import orjson

from core.ids import Prefix, derived_id
from core.outgoing import to_json


class EventType(StrEnum):
    """The published event names. An endpoint may subscribe to each; `SENT` says which of them anything sends."""

    OBJECT_CREATED = "object.created"
    OBJECTS_CREATED_BATCH = "objects.created.batch"
    OBJECT_UPDATED = "object.updated"
    OBJECT_DELETED = "object.deleted"
    DOCUMENT_CREATED = "document.created"
    DOCUMENT_UPDATED = "document.updated"
    DOCUMENT_DELETED = "document.deleted"
    DOCUMENTS_UPDATED_BATCH = "documents.updated.batch"
    DOCUMENTS_DELETED_BATCH = "documents.deleted.batch"
    COLLECTION_CREATED = "collection.created"
    COLLECTION_UPDATED = "collection.updated"
    COLLECTION_DELETED = "collection.deleted"
    COLLECTION_DOCUMENTS_WRITTEN = "collection.documents.written"
    COLLECTION_DOCUMENTS_BATCH_COMPLETED = "collection.documents.batch_completed"
    CLUSTER_CREATED = "cluster.created"
    CLUSTER_UPDATED = "cluster.updated"
    CLUSTER_DELETED = "cluster.deleted"
    CLUSTER_EXECUTION_STARTED = "cluster.execution.started"
    CLUSTER_EXECUTION_COMPLETED = "cluster.execution.completed"
    CLUSTER_EXECUTION_FAILED = "cluster.execution.failed"
    TRIGGER_CREATED = "trigger.created"
    TRIGGER_UPDATED = "trigger.updated"
    TRIGGER_DELETED = "trigger.deleted"
    TRIGGER_PAUSED = "trigger.paused"
    TRIGGER_RESUMED = "trigger.resumed"
    TRIGGER_FIRED = "trigger.fired"
    TRIGGER_EXECUTION_COMPLETED = "trigger.execution.completed"
    TRIGGER_EXECUTION_FAILED = "trigger.execution.failed"
    TAXONOMY_CREATED = "taxonomy.created"
    TAXONOMY_UPDATED = "taxonomy.updated"
    TAXONOMY_DELETED = "taxonomy.deleted"
    ALERT_CREATED = "alert.created"
    ALERT_UPDATED = "alert.updated"
    ALERT_DELETED = "alert.deleted"
    ALERT_TRIGGERED = "alert.triggered"
    ALERT_EXECUTION_COMPLETED = "alert.execution.completed"
    ALERT_EXECUTION_FAILED = "alert.execution.failed"
    ANNOTATION_CREATED = "annotation.created"
    ANNOTATION_UPDATED = "annotation.updated"
    ANNOTATION_DELETED = "annotation.deleted"
    RESOURCE_EXECUTED = "resource.executed"
    RESOURCE_EXECUTION_FAILED = "resource.execution_failed"
    MANIFEST_APPLY_RESOURCE_STATE = "manifest.apply.resource_state"


SENT: Final[Mapping[EventType, frozenset[str]]] = {
    EventType.COLLECTION_DOCUMENTS_BATCH_COMPLETED: frozenset({"collection", "batch"}),
    EventType.RESOURCE_EXECUTED: frozenset({"retriever"}),
    EventType.RESOURCE_EXECUTION_FAILED: frozenset({"retriever", "batch"}),
}
"""The events that this version sends, each with the words that `resource_types` may choose it by."""


@dataclass(frozen=True)
class Subject:
    """What an event is about."""

    type: str
    id: str


@dataclass(frozen=True)
class Event:
    """A fact told to the outside."""

    event_id: str
    event_type: EventType
    occurred_at: datetime
    namespace_id: str
    subject: Subject
    metadata: Mapping[str, Any]

    @property
    def about(self) -> frozenset[str]:
        """The words that `resource_types` may choose it by."""
        return frozenset({self.subject.type, str(self.metadata.get("resource_type", self.subject.type))})

    def body(self) -> bytes:
        """The published envelope, serialised once: these bytes are stored, signed and sent."""
        return to_json(self.to_document())

    def to_document(self) -> dict[str, Any]:
        """The envelope's fields, as a job's outbox stores them."""
        return {
            "event_id": self.event_id,
            "event_type": self.event_type.value,
            "occurred_at": self.occurred_at,
            "namespace_id": self.namespace_id,
            "subject": {"type": self.subject.type, "id": self.subject.id},
            "metadata": dict(self.metadata),
        }

    @staticmethod
    def from_document(found: Mapping[str, Any]) -> "Event":
        """Read what `to_document` wrote."""
        return Event(
            event_id=found["event_id"],
            event_type=EventType(found["event_type"]),
            occurred_at=found["occurred_at"],
            namespace_id=found["namespace_id"],
            subject=Subject(found["subject"]["type"], found["subject"]["id"]),
            metadata=found["metadata"],
        )


def read_body(body: bytes) -> Event:
    """Read what `body` gave."""
    found = orjson.loads(body)
    return Event.from_document({**found, "occurred_at": datetime.fromisoformat(found["occurred_at"])})


def event_id(job_id: str, transition: str, subject_id: str) -> str:
    """The one id of what a job's transition tells about a subject: a producer cannot mint two."""
    return derived_id(Prefix.EVENT, job_id, transition, subject_id)
