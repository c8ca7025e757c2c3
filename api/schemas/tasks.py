"""Jobs as the published tasks, and batches, whose status is their job's."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, StringConstraints

from api.schemas.fields import Answer, Body, FreeForm, Identifier, Number, View
from api.schemas.paging import TotalCountListView, TotalListView
from core.backends.backend import Backend
from core.batches.batch import Batch
from core.credits.prices import MILLI, usd, whole_credits
from core.errors import FieldProblem, ValidationFailedError
from core.jobs.job import Job, JobKind, JobState
from core.jobs.wire import TASK_TYPES, TaskStatus, TaskType, states_with_status, wire_status

MAX_BATCH_OBJECTS = 10_000
MAX_BATCH_PAIRS = 20_000
"""Objects times collections of one batch: a job's record, which holds 16 MiB, notes each one that is done."""
_SHOWN_OBJECTS = 5
BatchStatus = Literal["DRAFT"] | TaskStatus

_SPEC_IDS = ("batch_id", "bucket_id", "retriever_id", "execution_id", "collection_ids")


class TaskFilter(Body):
    """Which tasks to list."""

    status: Annotated[str, Field(json_schema_extra={"enum": list(get_args(TaskStatus))})] | None = None
    task_type: Annotated[str, Field(json_schema_extra={"enum": list(get_args(TaskType))})] | None = None

    def states(self) -> list[JobState]:
        """The job states that are asked for; empty for all. Raises ValidationFailedError for an unknown status."""
        return _choices("status", self.status, states_with_status)

    def kinds(self) -> list[JobKind]:
        """The job kinds that are asked for; empty for all. Raises ValidationFailedError for an unknown type."""
        return _choices("task_type", self.task_type, lambda name: [k for k, wire in TASK_TYPES.items() if wire == name])


class BatchBody(Body):
    """A new batch."""

    object_ids: list[Identifier] = Field(min_length=1, max_length=MAX_BATCH_OBJECTS)
    collection_ids: list[Identifier] = Field(default_factory=list, max_length=100)
    batch_name: Annotated[str, StringConstraints(max_length=256)] | None = None
    metadata: FreeForm = Field(default_factory=dict)


class IngestionProgressView(View):
    """How far an ingestion is, in pairs of object and collection."""

    processed: int
    """Pairs that are done."""
    total: int
    """All pairs."""
    percent: float
    """Of all pairs, how many are done."""
    documents_written: int
    """Documents made so far."""


class UnreadPartView(View):
    """A part of an object that gave no text."""

    property: str
    """The property that holds it."""
    code: str
    """Why, as a stable code."""
    message: str
    """Why, in a sentence."""


class ObjectWarningView(View):
    """Something to know of an object that was read."""

    property: str | None
    """The property that it is about; null for the whole object."""
    code: str
    """What it is, as a stable code."""
    message: str
    """What it is, in a sentence."""
    count: int
    """How often: of pages, of documents, of one complaint."""


class ObjectReportView(View):
    """What was read of an object that became documents, what gave nothing, and what to know of it."""

    object_id: str
    """The object."""
    collection_id: str
    """The collection that it went through."""
    incomplete: bool
    """Whether something that should have been read is in no document."""
    texts_read: int
    """Texts of the object that were read."""
    documents: int
    """Documents that it made."""
    not_read: list[UnreadPartView]
    """Parts that gave nothing, the first 20."""
    warnings: list[ObjectWarningView]
    """What to know of the parts that were read, the first 20."""


class TaskDataView(View):
    """What is known of a task. A fact that its kind of task does not have is absent."""

    batch_id: str | None = None
    """The batch that it takes in."""
    bucket_id: str | None = None
    """The bucket of its objects."""
    retriever_id: str | None = None
    """The retriever that it executes."""
    execution_id: str | None = None
    """The execution that it is."""
    collection_ids: list[str] = Field(default_factory=list)
    """The collections that it works on."""
    object_count: int = 0
    """The objects that it takes in."""
    sample_object_ids: list[str] = Field(default_factory=list)
    """The first of them."""
    current_tier: int = 0
    """Always 0."""
    total_tiers: int = 1
    """Always 1."""
    namespace_id: str
    """The namespace that it belongs to."""
    job_id: str
    """The task's own id, under the name that older clients read."""
    request_id: str
    """The request that started it."""
    attempts: int
    """How often its work was begun; that a backend was away is none of these."""
    waiting_for: Backend | None
    """The part of the service that is away and that it waits for, to go on by itself; null when it waits for none."""
    cancel_requested: bool
    """Whether somebody asked it to stop."""
    progress: IngestionProgressView | dict[str, int]
    """How far it is."""
    result: dict[str, Number] | None
    """The counts of its end, and what it cost; null before."""
    object_reports: list[ObjectReportView] = Field(default_factory=list)
    """What was read of objects that are incomplete or have warnings, incomplete ones first, the first 100."""
    error_code: str | None
    """Why it failed, as a stable code."""
    created_at: datetime
    """When it was made."""
    started_at: datetime | None
    """When a worker took it first."""
    finished_at: datetime | None
    """When it ended."""


class TaskView(Answer):
    """The published TaskResponse."""

    task_id: str
    """The id to ask for it by."""
    task_type: TaskType
    """What it does."""
    status: TaskStatus
    """Where it is in its life."""
    inputs: list[Any]
    """Always empty."""
    outputs: list[Any]
    """Always empty."""
    error: str | None
    """Why it failed, in a sentence."""
    additional_data: TaskDataView
    """Everything else that is known of it."""


class CancelledView(Answer):
    """What asking a task to stop answers, whatever became of it."""

    success: Literal[True]
    """Always true."""
    message: str
    """What was done, in a sentence."""


class FailedObjectView(View):
    """An object of a batch that could not be ingested."""

    object_id: str
    """The object."""
    error: str
    """Why, in a sentence."""
    error_type: str
    """Why, as a stable code."""
    collection_id: str
    """The collection that it could not go through."""
    timestamp: datetime
    """When the batch ended."""


class CostView(View):
    """What a batch cost."""

    credits_consumed: int
    """Whole credits."""
    cost_usd: float
    """The same in US dollars, fractions included."""


class BatchView(Answer):
    """The published BatchModel. Its status is that of its task, and DRAFT before it has one."""

    batch_id: str
    """The batch."""
    bucket_id: str
    """The bucket of its objects."""
    namespace_id: str
    """The namespace that it belongs to."""
    batch_name: str | None
    """As it was given."""
    status: BatchStatus
    """Its task's status, or DRAFT."""
    task_id: str | None
    """The task that works on it; null before it is submitted."""
    object_ids: list[str]
    """The objects that it takes in."""
    collection_ids: list[str]
    """The collections that they go through."""
    error: str | None
    """Why it failed, in a sentence."""
    failure_reason: str | None
    """Why it failed, as a stable code."""
    failed_objects: list[FailedObjectView]
    """Objects that could not be taken in; the first ones when there are many."""
    failed_object_count: int
    """How many could not be taken in."""
    incomplete_object_count: int
    """How many were taken in without some of their parts."""
    warned_object_count: int
    """How many were taken in with warnings."""
    object_reports: list[ObjectReportView]
    """What was read of objects that are incomplete or have warnings, incomplete ones first, the first 100."""
    documents_written: int
    """Documents that it made."""
    progress: IngestionProgressView | dict[str, int] | None
    """How far its task is."""
    waiting_for: Backend | None
    """The part of the service that its task waits for, because it is away; null when it waits for none."""
    cost: CostView | None
    """What it cost; null before its end."""
    metadata: dict[str, Any]
    """The owner's own facts."""
    current_tier: int
    """Always 0."""
    total_tiers: int
    """Always 1."""
    max_node_death_resubmits: int
    """Always 0."""
    max_deploy_resubmits: int
    """Always 0."""
    lifecycle: None
    """Always null."""
    lifecycle_reason: None
    """Always null."""
    created_at: datetime
    """When it was made."""
    updated_at: datetime
    """When it was changed last."""


class TaskList(TotalListView[TaskView]):
    """A page of tasks."""


class BatchList(TotalCountListView[BatchView]):
    """A page of batches."""


def show_task(job: Job) -> TaskView:
    """A job as it is answered."""
    error = job.decision.error if job.decision and job.is_final else None
    return TaskView(
        task_id=job.job_id,
        task_type=TASK_TYPES[job.kind],
        status=wire_status(job.state),
        inputs=[],
        outputs=[],
        error=error.message if error else None,
        additional_data=TaskDataView(
            **{name: job.spec[name] for name in _SPEC_IDS if name in job.spec},
            **_object_facts(job),
            namespace_id=job.scope.namespace_id,
            job_id=job.job_id,
            request_id=job.request_id,
            attempts=job.attempts,
            waiting_for=job.waiting_for,
            cancel_requested=job.cancel_requested,
            progress=_progress(job),
            result=_result(job),
            error_code=error.code if error else None,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
        ),
    )


def show_batch(batch: Batch, job: Job | None, namespace_id: str) -> BatchView:
    """A batch as it is answered. Without a job it is a draft."""
    result = job.decision.result if job and job.decision else {}
    error = job.decision.error if job and job.decision and job.is_final else None
    moved_at = (job.finished_at or job.started_at or job.created_at) if job else batch.created_at
    return BatchView(
        batch_id=batch.batch_id,
        bucket_id=batch.bucket_id,
        namespace_id=namespace_id,
        batch_name=batch.batch_name,
        status=wire_status(job.state) if job else "DRAFT",
        task_id=batch.task_id if job else None,
        object_ids=list(batch.object_ids),
        collection_ids=list(batch.collection_ids),
        error=error.message if error else None,
        failure_reason=error.code if error else None,
        failed_objects=[_show_failure(item, moved_at) for item in result.get("failed_objects", [])],
        failed_object_count=result.get("objects_failed", 0),
        incomplete_object_count=result.get("objects_incomplete", 0),
        warned_object_count=result.get("objects_with_warnings", 0),
        object_reports=_show_reports(result),
        documents_written=result.get("documents_written", 0),
        progress=_progress(job) if job else None,
        waiting_for=job.waiting_for if job else None,
        cost=_cost(job) if job and job.is_final else None,
        metadata=dict(batch.metadata),
        current_tier=0,
        total_tiers=1,
        max_node_death_resubmits=0,
        max_deploy_resubmits=0,
        lifecycle=None,
        lifecycle_reason=None,
        created_at=batch.created_at,
        updated_at=moved_at,
    )


def _show_reports(result: Mapping[str, Any]) -> list[ObjectReportView]:
    return [ObjectReportView.model_validate(report) for report in result.get("object_reports", [])]


def _show_failure(item: dict[str, Any], at: datetime) -> FailedObjectView:
    return FailedObjectView(
        object_id=item["object_id"],
        error=item["message"],
        error_type=item["code"],
        collection_id=item["collection_id"],
        timestamp=at,
    )


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
        "object_reports": _show_reports(job.decision.result if job.decision and job.is_final else {}),
    }


def _progress(job: Job) -> IngestionProgressView | dict[str, int]:
    """How far an ingestion is, in pairs of object and collection."""
    if job.kind is not JobKind.INGESTION:
        return dict(job.progress)
    total = len(job.spec["object_ids"]) * len(job.spec["collection_ids"])
    processed = job.progress.get("objects_succeeded", 0)
    return IngestionProgressView(
        processed=processed,
        total=total,
        percent=round(100 * processed / total, 1) if total else 100.0,
        documents_written=job.progress.get("documents_written", 0),
    )


def _result(job: Job) -> dict[str, Number] | None:
    """The counts of a job's end, and what it cost; None before."""
    if job.decision is None or not job.is_final:
        return None
    counts = {name: value for name, value in job.decision.result.items() if isinstance(value, int)}
    return {**counts, "credits_used": job.decision.charge / MILLI}


def _cost(job: Job) -> CostView:
    charge = job.decision.charge if job.decision else 0
    return CostView(credits_consumed=whole_credits(charge), cost_usd=usd(charge))
