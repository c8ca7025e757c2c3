"""Buckets and the objects in them."""

from api.call import Call, Reply
from api.decode import BodyLimits
from api.pagination import list_request
from api.route import BUCKET, BUCKETS, MEBIBYTE, Route
from api.schemas.buckets import (
    BucketBody,
    BucketList,
    BucketView,
    CreatedObjectView,
    ObjectBody,
    ObjectList,
    ObjectsBody,
    ObjectsView,
    ObjectView,
    RefusedObjectView,
    new_object,
    object_warnings,
    show_bucket,
    show_created_object,
    show_numbered_object,
    show_object,
)
from api.schemas.paging import PagingQuery
from core.audit.actions import AuditAction
from core.backends.backend import Backend
from core.backends.needs import of_upload
from core.buckets.bucket import Bucket, NewObject
from core.errors import ValidationFailedError
from core.ids import Prefix
from core.limits.policy import RateClass
from core.tenancy.permissions import Permission


def create_bucket(call: Call) -> Reply:
    """A new bucket."""
    body = call.parse(BucketBody)
    schema = body.bucket_schema.properties
    bucket = call.services.buckets.create(
        call.scope,
        call.new_id(Prefix.BUCKET),
        body.bucket_name,
        properties={name: declared.model_dump(mode="json") for name, declared in schema.items()},
        description=body.description,
        metadata=body.metadata,
    )
    return Reply(show_bucket(bucket))


def get_bucket(call: Call) -> Reply:
    """One bucket, by id or name."""
    return Reply(show_bucket(bucket_of(call)))


def list_buckets(call: Call) -> Reply:
    """Buckets, newest first."""
    page = call.services.buckets.list(call.scope, list_request(call), call.visible)
    return Reply(BucketList.of(page, show_bucket))


def create_object(call: Call) -> Reply:
    """A new object. It is stored and nothing more: a batch processes it."""
    bucket = bucket_of(call)
    new = new_object(bucket, call.body, call.new_id)
    call.require(of_upload([new]))
    call.warn(object_warnings(call.body))
    stored = call.services.buckets.add_objects(call.scope, bucket.bucket_id, [new])
    return Reply(show_created_object(stored[0]))


def create_objects(call: Call) -> Reply:
    """Several objects at once; each is taken or refused by itself."""
    bucket = bucket_of(call)
    body = call.parse(ObjectsBody)
    accepted, failed = _accepted(call, bucket, body)
    call.require(of_upload(list(accepted.values())))
    stored = call.services.buckets.add_objects(call.scope, bucket.bucket_id, list(accepted.values()))
    succeeded = [show_numbered_object(item, index) for index, item in zip(accepted, stored, strict=True)]
    return Reply(
        ObjectsView(
            succeeded=succeeded,
            failed=failed,
            total_requested=len(body.objects),
            succeeded_count=len(succeeded),
            failed_count=len(failed),
        ),
    )


def _accepted(call: Call, bucket: Bucket, body: ObjectsBody) -> tuple[dict[int, NewObject], list[RefusedObjectView]]:
    accepted, failed, warnings = {}, [], []
    for index, item in enumerate(body.objects):
        try:
            accepted[index] = new_object(bucket, item, call.new_id)
            warnings += object_warnings(item, ("objects", index))
        except ValidationFailedError as error:
            failed.append(RefusedObjectView(object_index=index, error=error.message, error_type="ValidationError"))
    call.warn(warnings)
    return accepted, failed


def get_object(call: Call) -> Reply:
    """One object."""
    bucket = bucket_of(call)
    return Reply(show_object(call.services.buckets.get_object(call.scope, bucket.bucket_id, call.path["object_id"])))


def list_objects(call: Call) -> Reply:
    """Objects of a bucket, newest first."""
    page = call.services.buckets.list_objects(call.scope, bucket_of(call).bucket_id, list_request(call))
    return Reply(ObjectList.of(page, show_object))


def delete_object(call: Call) -> Reply:
    """Remove an object. Documents made of it stay."""
    call.require([Backend.BLOBS])
    call.services.buckets.delete_object(call.scope, bucket_of(call).bucket_id, call.path["object_id"])
    return Reply(status=204)


def bucket_of(call: Call) -> Bucket:
    """The bucket that the path names. Raises NotFoundError."""
    return call.services.buckets.get(call.scope, call.path["bucket_id"])


_BUCKET = "/v1/buckets/<bucket_id>"
_OBJECTS = f"{_BUCKET}/objects"
_BYTES = 16 * MEBIBYTE
"""Of a body with objects, and so of the text or base64 of one blob."""

ROUTES = (
    Route(
        "POST",
        "/v1/buckets",
        "buckets.create",
        create_bucket,
        Permission.WRITE,
        BUCKETS,
        audit=AuditAction.BUCKET_CREATED,
        idempotent=True,
        body=BucketBody,
        answers={200: BucketView},
    ),
    Route(
        "GET",
        "/v1/buckets",
        "buckets.list_by_get",
        list_buckets,
        Permission.READ,
        BUCKETS,
        query=PagingQuery,
        answers={200: BucketList},
    ),
    Route(
        "POST",
        "/v1/buckets/list",
        "buckets.list",
        list_buckets,
        Permission.READ,
        BUCKETS,
        query=PagingQuery,
        answers={200: BucketList},
    ),
    Route(
        "GET",
        _BUCKET,
        "buckets.get",
        get_bucket,
        Permission.READ,
        BUCKET,
        answers={200: BucketView},
    ),
    Route(
        "POST",
        _OBJECTS,
        "objects.create",
        create_object,
        Permission.WRITE,
        BUCKET,
        rate=RateClass.UPLOAD,
        audit=AuditAction.OBJECT_CREATED,
        idempotent=True,
        max_body_bytes=_BYTES,
        body_limits=BodyLimits(values=500_000, text_bytes=_BYTES),
        body=ObjectBody,
        answers={200: CreatedObjectView},
    ),
    Route(
        "POST",
        f"{_OBJECTS}/batch",
        "objects.create_batch",
        create_objects,
        Permission.WRITE,
        BUCKET,
        rate=RateClass.UPLOAD,
        audit=AuditAction.OBJECT_CREATED,
        idempotent=True,
        max_body_bytes=_BYTES,
        body_limits=BodyLimits(values=500_000, text_bytes=_BYTES),
        body=ObjectsBody,
        answers={200: ObjectsView},
    ),
    Route(
        "GET",
        _OBJECTS,
        "objects.list_by_get",
        list_objects,
        Permission.READ,
        BUCKET,
        rate=RateClass.DATA,
        query=PagingQuery,
        answers={200: ObjectList},
    ),
    Route(
        "POST",
        f"{_OBJECTS}/list",
        "objects.list",
        list_objects,
        Permission.READ,
        BUCKET,
        rate=RateClass.DATA,
        query=PagingQuery,
        answers={200: ObjectList},
    ),
    Route(
        "GET",
        f"{_OBJECTS}/<object_id>",
        "objects.get",
        get_object,
        Permission.READ,
        BUCKET,
        rate=RateClass.DATA,
        answers={200: ObjectView},
    ),
    Route(
        "DELETE",
        f"{_OBJECTS}/<object_id>",
        "objects.delete",
        delete_object,
        Permission.DELETE,
        BUCKET,
        rate=RateClass.DATA,
        audit=AuditAction.OBJECT_DELETED,
        answers={204: None},
    ),
)
