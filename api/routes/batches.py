"""Batches: made as drafts, submitted once, each then one ingestion job."""

from api.call import Call, Reply, refuse
from api.pagination import list_request
from api.route import BUCKET, Route
from api.routes.buckets import bucket_of
from api.routes.collections import require_collections
from api.schemas.paging import PagingQuery
from api.schemas.tasks import MAX_BATCH_PAIRS, BatchBody, BatchList, BatchView, TaskView, show_batch, show_task
from core.audit.actions import AuditAction
from core.batches.batch import Batch
from core.credits.prices import PriceClass, ingestion_price
from core.errors import ConflictError
from core.ids import Prefix
from core.jobs.job import Job, JobKind, NewJob
from core.limits.policy import RateClass
from core.tenancy.permissions import Operation, Permission

_NAMED = 10
"""Missing ids that an error names."""


def create_batch(call: Call) -> Reply:
    """A new draft. Its objects must exist; its collections default to all that read from the bucket."""
    bucket_id = bucket_of(call).bucket_id
    body = call.parse(BatchBody)
    object_ids = list(dict.fromkeys(body.object_ids))
    if missing := call.services.buckets.missing_objects(call.scope, bucket_id, object_ids):
        raise refuse("object_ids", f"not in this bucket: {', '.join(missing[:_NAMED])}")
    collection_ids = _collection_ids(call, bucket_id, body.collection_ids)
    if len(object_ids) * len(collection_ids) > MAX_BATCH_PAIRS:
        pairs = f"{len(object_ids)} objects through {len(collection_ids)} collections"
        raise refuse("object_ids", f"{pairs} are more than {MAX_BATCH_PAIRS} extractions: make several batches")
    batch = call.services.batches.create(
        call.scope,
        call.new_id(Prefix.BATCH),
        bucket_id,
        object_ids=object_ids,
        collection_ids=collection_ids,
        batch_name=body.batch_name,
        metadata=body.metadata,
    )
    return Reply(_show(call, batch, None))


def _collection_ids(call: Call, bucket_id: str, wanted: list[str]) -> list[str]:
    collections = call.services.collections
    if wanted:
        found, missing = collections.resolve(call.scope, wanted)
    elif found := collections.of_bucket(call.scope, bucket_id):
        missing = ()
    else:
        raise refuse("collection_ids", "no collection reads from this bucket: create one first")
    require_collections(call, "collection_ids", found, missing)
    strangers = [collection.collection_name for collection in found if bucket_id not in collection.bucket_ids]
    if strangers:
        raise refuse("collection_ids", f"do not read from this bucket: {', '.join(strangers[:_NAMED])}")
    return [collection.collection_id for collection in found]


def submit_batch(call: Call) -> Reply:
    """Start the batch's one job. Raises ConflictError, naming the task, when somebody did so before."""
    call.take_nothing()
    batch = _batch_of(call)
    operation_id = call.new_id(Prefix.OPERATION)
    standing = call.services.jobs.find(call.scope, batch.task_id)
    # the same operation again is a request that crashed after its job was recorded
    if standing and standing.spec["operation_id"] != operation_id:
        raise ConflictError("The batch was submitted already.", task_id=batch.task_id)
    job = call.services.submission.submit(
        call.scope,
        NewJob(
            job_id=batch.task_id,
            kind=JobKind.INGESTION,
            spec={
                "batch_id": batch.batch_id,
                "bucket_id": batch.bucket_id,
                "object_ids": list(batch.object_ids),
                "collection_ids": list(batch.collection_ids),
                "operation_id": operation_id,
            },
            hold=ingestion_price(len(batch.object_ids) * len(batch.collection_ids)),
            request_id=call.request_id,
        ),
    )
    return Reply(show_task(job), headers={"Location": f"/v1/tasks/{job.job_id}"})


def get_batch(call: Call) -> Reply:
    """One batch."""
    batch = _batch_of(call)
    return Reply(_show(call, batch, call.services.jobs.find(call.scope, batch.task_id)))


def list_batches(call: Call) -> Reply:
    """Batches of a bucket, newest first."""
    page = call.services.batches.list(call.scope, bucket_of(call).bucket_id, list_request(call))
    jobs = call.services.jobs.find_many(call.scope, [batch.task_id for batch in page.records])
    return Reply(BatchList.of(page, lambda batch: _show(call, batch, jobs.get(batch.task_id))))


def _batch_of(call: Call) -> Batch:
    return call.services.batches.get(call.scope, bucket_of(call).bucket_id, call.path["batch_id"])


def _show(call: Call, batch: Batch, job: Job | None) -> BatchView:
    return show_batch(batch, job, call.scope.namespace_id)


_BATCHES = "/v1/buckets/<bucket_id>/batches"

ROUTES = (
    Route(
        "POST",
        _BATCHES,
        "batches.create",
        create_batch,
        Permission.WRITE,
        BUCKET,
        rate=RateClass.COMPUTE,
        audit=AuditAction.BATCH_CREATED,
        idempotent=True,
        body=BatchBody,
        answers={200: BatchView},
    ),
    Route(
        "POST",
        f"{_BATCHES}/list",
        "batches.list",
        list_batches,
        Permission.READ,
        BUCKET,
        rate=RateClass.DATA,
        query=PagingQuery,
        answers={200: BatchList},
    ),
    Route(
        "GET",
        _BATCHES,
        "batches.list_by_get",
        list_batches,
        Permission.READ,
        BUCKET,
        rate=RateClass.DATA,
        query=PagingQuery,
        answers={200: BatchList},
    ),
    Route(
        "GET",
        f"{_BATCHES}/<batch_id>",
        "batches.get",
        get_batch,
        Permission.READ,
        BUCKET,
        rate=RateClass.DATA,
        answers={200: BatchView},
    ),
    Route(
        "POST",
        f"{_BATCHES}/<batch_id>/submit",
        "batches.submit",
        submit_batch,
        Permission.WRITE,
        BUCKET,
        operation=Operation.EXECUTE_JOB,
        rate=RateClass.COMPUTE,
        price=PriceClass.EXTRACTION,
        audit=AuditAction.BATCH_SUBMITTED,
        idempotent=True,
        answers={200: TaskView},
    ),
)
