"""What the outside is told when a job ends. Pure: the same job and decision always give the same event ids."""

from datetime import datetime
from typing import Any

from core.credits.prices import MILLI
from core.jobs.job import MAINTENANCE, Decision, Job, JobKind, JobState
from core.jobs.wire import wire_status
from core.webhooks.event import Event, EventType, Subject, event_id

_DONE = {JobState.SUCCEEDED, JobState.PARTIAL}


def events_of(job: Job, decision: Decision, at: datetime) -> tuple[Event, ...]:
    """The events of a job's end: a batch tells each of its collections, a failure or a cancel is told once.

    Maintenance tells nothing: the published catalogue has no event for it, and an event would be data of the namespace.
    """
    if job.kind in MAINTENANCE:
        return ()
    if decision.outcome not in _DONE:
        return (_event(job, decision, at, EventType.RESOURCE_EXECUTION_FAILED, _subject(job)),)
    if job.kind is JobKind.INGESTION:
        completed, collections = EventType.COLLECTION_DOCUMENTS_BATCH_COMPLETED, job.spec["collection_ids"]
        return tuple(_event(job, decision, at, completed, Subject("collection", name)) for name in collections)
    return (_event(job, decision, at, EventType.RESOURCE_EXECUTED, _subject(job)),)


def _subject(job: Job) -> Subject:
    if job.kind is JobKind.INGESTION:
        return Subject("batch", job.spec["batch_id"])
    return Subject("retriever", job.spec["retriever_id"])


def _event(job: Job, decision: Decision, at: datetime, event_type: EventType, subject: Subject) -> Event:
    return Event(
        event_id=event_id(job.job_id, event_type, subject.id),
        event_type=event_type,
        occurred_at=at,
        namespace_id=job.scope.namespace_id,
        subject=subject,
        metadata=_metadata(job, decision),
    )


def _metadata(job: Job, decision: Decision) -> dict[str, Any]:
    ids = ("batch_id", "bucket_id", "collection_ids", "retriever_id", "execution_id")
    counts = ("documents_written", "objects_succeeded", "objects_failed", "objects_incomplete", "document_count")
    facts: dict[str, Any] = {
        "task_id": job.job_id,
        "status": wire_status(decision.outcome),
        "resource_type": _subject(job).type,
        "request_id": job.request_id,
        "credits_used": decision.charge / MILLI,
        **{name: job.spec[name] for name in ids if name in job.spec},
        **{name: decision.result[name] for name in counts if name in decision.result},
    }
    if decision.error:
        facts["error"] = {"code": decision.error.code, "message": decision.error.message}
    return facts
