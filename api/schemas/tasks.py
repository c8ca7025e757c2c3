"""Jobs as the published tasks, and batches, whose status is their job's."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from api.schemas.fields import Body, FreeForm, Identifier
from core.batches.batch import Batch
from core.credits.prices import MILLI, whole_credits
from core.errors import FieldProblem, ValidationFailedError
from core.jobs.job import Job, JobKind, JobState
from core.jobs.wire import TASK_TYPES, states_with_status, wire_status

MAX_BATCH_OBJECTS = 10_000
MAX_BATCH_PAIRS = 20_000
"""Objects times collections of one batch: a job's record, which holds 16 MiB, notes each one that is done."""
_SHOWN_OBJECTS = 5
_CREDIT_USD = 0.001
_SPEC_IDS = ("batch_id", "bucket_id", "retriever_id", "execution_id", "collection_ids")


class TaskFilter(Body):
    """POST /v1/tasks/list"""

    status: str | None = None
    task_type: str | None = None

    def states(self) -> list[JobState]:
        """The job states that are asked for; empty for all. Raises ValidationFailedError for an unknown status."""
        return _choices("status", self.status, states_with_status)

    def kinds(self) -> list[JobKind]:
        """The job kinds that are asked for; empty for all. Raises ValidationFailedError for an unknown type."""
        return _choices("task_type", self.task_type, lambda name: [k for k, wire in TASK_TYPES.items() if wire == name])


class BatchBody(Body):
    """POST …/batches"""

    object_ids: list[Identifier] = Field(min_length=1, max_length=MAX_BATCH_OBJECTS)
    collection_ids: list[Identifier] = Field(default_factory=list, max_length=100)
    batch_name: Annotated[str, StringConstraints(max_length=256)] | None = None
    metadata: FreeForm = Field(default_factory=dict)


def show_task(job: Job) -> dict[str, Any]:
    """The published TaskResponse."""
    error = job.decision.error if job.decision and job.is_final else None
    return {
        "task_id": job.job_id,
        "task_type": TASK_TYPES[job.kind],
        "status": wire_status(job.state),
        "inputs": [],
        "outputs": [],
        "error": error.message if error else None,
        "additional_data": {
            **{name: job.spec[name] for name in _SPEC_IDS if name in job.spec},
            **_object_facts(job),
            "namespace_id": job.scope.namespace_id,
            "job_id": job.job_id,
            "request_id": job.request_id,
            "attempts": job.attempts,
            "cancel_requested": job.cancel_requested,
            "progress": _progress(job),
            "result": _result(job),
            "error_code": error.code if error else None,
            "created_at": job.created_at,
            "started_at": job.started_at,
            "finished_at": job.finished_at,
        },
    }


def show_batch(batch: Batch, job: Job | None, namespace_id: str) -> dict[str, Any]:
    """The published BatchModel. Without a job it is a draft."""
    status = wire_status(job.state) if job else "DRAFT"
    result = job.decision.result if job and job.decision else {}
    error = job.decision.error if job and job.decision and job.is_final else None
    failed = [
        {
            "object_id": item["object_id"],
            "error": item["message"],
            "error_type": item["code"],
            "collection_id": item["collection_id"],
            "timestamp": _time(job),
        }
        for item in result.get("failed_objects", [])
    ]
    return {
        "batch_id": batch.batch_id,
        "bucket_id": batch.bucket_id,
        "namespace_id": namespace_id,
        "batch_name": batch.batch_name,
        "status": status,
        "task_id": batch.task_id if job else None,
        "object_ids": list(batch.object_ids),
        "collection_ids": list(batch.collection_ids),
        "error": error.message if error else None,
        "failure_reason": error.code if error else None,
        "failed_objects": failed,
        "failed_object_count": result.get("objects_failed", 0),
        "documents_written": result.get("documents_written", 0),
        "progress": _progress(job) if job else None,
        "cost": _cost(job) if job and job.is_final else None,
        "metadata": batch.metadata,
        "current_tier": 0,
        "total_tiers": 1,
        "max_node_death_resubmits": 0,
        "max_deploy_resubmits": 0,
        "lifecycle": None,
        "lifecycle_reason": None,
        "created_at": batch.created_at,
        "updated_at": (job.finished_at or job.started_at or job.created_at) if job else batch.created_at,
    }


def _choices(name: str, value: str | None, find: Any) -> list[Any]:
    if value is None:
        return []
    found: list[Any] = find(value)
    if not found:
        raise ValidationFailedError([FieldProblem((name,), "no task can have this value")])
    return found


def _object_facts(job: Job) -> dict[str, Any]:
    if job.kind is not JobKind.INGESTION:
        return {}
    objects = job.spec["object_ids"]
    return {
        "object_count": len(objects),
        "sample_object_ids": objects[:_SHOWN_OBJECTS],
        "current_tier": 0,
        "total_tiers": 1,
    }


def _progress(job: Job) -> dict[str, Any]:
    """How far an ingestion is, in pairs of object and collection."""
    if job.kind is not JobKind.INGESTION:
        return dict(job.progress)
    total = len(job.spec["object_ids"]) * len(job.spec["collection_ids"])
    processed = job.progress.get("objects_succeeded", 0)
    return {
        "processed": processed,
        "total": total,
        "percent": round(100 * processed / total, 1) if total else 100.0,
        "documents_written": job.progress.get("documents_written", 0),
    }


def _result(job: Job) -> dict[str, Any] | None:
    """The counts of a job's end, and what it cost; None before."""
    if job.decision is None or not job.is_final:
        return None
    counts = {name: value for name, value in job.decision.result.items() if isinstance(value, int)}
    return {**counts, "credits_used": job.decision.charge / MILLI}


def _cost(job: Job) -> dict[str, Any]:
    charge = job.decision.charge if job.decision else 0
    return {"credits_consumed": whole_credits(charge), "cost_usd": charge / MILLI * _CREDIT_USD}


def _time(job: Job | None) -> str:
    moment = (job.finished_at or job.started_at or job.created_at) if job else None
    return moment.isoformat() if moment else ""
