"""Collections and the documents in them."""

from collections.abc import Sequence

from api.call import Call, Reply, refuse
from api.pagination import list_request
from api.route import COLLECTION, COLLECTIONS, DOCUMENT, DOCUMENTS, Route
from api.schemas.collections import (
    CollectionBody,
    CollectionList,
    CollectionView,
    DocumentList,
    DocumentView,
    SourceBody,
    extractor_config,
    ignored_settings,
    show_collection,
    show_document,
)
from api.schemas.paging import PagingQuery
from core.audit.actions import AuditAction
from core.buckets.bucket import Bucket
from core.collections.collection import Collection
from core.errors import NotFoundError, ValidationFailedError
from core.ids import Prefix
from core.limits.policy import RateClass
from core.tenancy.permissions import Permission, ResourceType
from core.vault.references import references_anywhere

_NAMED = 10
"""Missing collections that an error names."""


def create_collection(call: Call) -> Reply:
    """A new collection over buckets of this namespace."""
    body = call.parse(CollectionBody)
    if misplaced := references_anywhere(call.body, ()):
        raise ValidationFailedError(misplaced)
    extractor = extractor_config(body.feature_extractor)
    call.warn_of(ignored_settings(body.feature_extractor))
    buckets = _source_buckets(call, body.source)
    collection = call.services.collections.create(
        call.scope,
        call.new_id(Prefix.COLLECTION),
        body.collection_name,
        bucket_ids=[bucket.bucket_id for bucket in buckets],
        extractor=extractor,
        description=body.description,
        metadata=body.metadata,
    )
    return Reply(show_collection(collection, {bucket.bucket_id: bucket for bucket in buckets}))


def _source_buckets(call: Call, source: SourceBody) -> list[Bucket]:
    if source.type != "bucket":
        raise refuse("source", "only the source type 'bucket' is available yet")
    if not source.buckets:
        raise refuse("source", "name at least one bucket in bucket_ids")
    return [_source_bucket(call, name) for name in source.buckets]


def _source_bucket(call: Call, name: str) -> Bucket:
    """A bucket that the key may read. To a key that may not, one that exists is like one that does not."""
    try:
        bucket = call.services.buckets.get(call.scope, name)
    except NotFoundError:
        call.require_readable(ResourceType.BUCKET, name)
        raise refuse("source", "a bucket in bucket_ids was not found in this namespace") from None
    call.require_readable(ResourceType.BUCKET, bucket.bucket_id, bucket.bucket_name)
    return bucket


def get_collection(call: Call) -> Reply:
    """One collection, by id or name."""
    collection = collection_of(call)
    return Reply(show_collection(collection, _buckets_of(call, [collection])))


def list_collections(call: Call) -> Reply:
    """Collections, newest first."""
    page = call.services.collections.list(call.scope, list_request(call), call.visible)
    buckets = _buckets_of(call, page.records)
    return Reply(CollectionList.of(page, lambda collection: show_collection(collection, buckets)))


def _buckets_of(call: Call, collections: Sequence[Collection]) -> dict[str, Bucket]:
    bucket_ids = sorted({bucket_id for collection in collections for bucket_id in collection.bucket_ids})
    return {bucket.bucket_id: bucket for bucket in call.services.buckets.get_many(call.scope, bucket_ids)}


def get_document(call: Call) -> Reply:
    """One document."""
    collection_id = collection_of(call).collection_id
    return Reply(
        show_document(call.services.collections.get_document(call.scope, collection_id, call.path["document_id"]))
    )


def list_documents(call: Call) -> Reply:
    """Documents of a collection, newest first."""
    page = call.services.collections.list_documents(
        call.scope, collection_of(call).collection_id, list_request(call), call.visible
    )
    return Reply(DocumentList.of(page, show_document))


def collection_of(call: Call) -> Collection:
    """The collection that the path names. Raises NotFoundError."""
    return call.services.collections.get(call.scope, call.path["collection_id"])


def require_collections(call: Call, field: str, found: Sequence[Collection], missing: Sequence[str]) -> None:
    """Raises PermissionDeniedError for a collection of a body that the key may not read, and ValidationFailedError
    about `field` when some are `missing`."""
    for name in missing:
        # what is missing must not tell what is there
        call.require_readable(ResourceType.COLLECTION, name)
    if missing:
        raise refuse(field, f"not in this namespace: {', '.join(missing[:_NAMED])}")
    for collection in found:
        call.require_readable(ResourceType.COLLECTION, collection.collection_id, collection.collection_name)


_COLLECTION = "/v1/collections/<collection_id>"
_DOCUMENTS = f"{_COLLECTION}/documents"

ROUTES = (
    Route(
        "POST",
        "/v1/collections",
        "collections.create",
        create_collection,
        Permission.WRITE,
        COLLECTIONS,
        audit=AuditAction.COLLECTION_CREATED,
        idempotent=True,
        body=CollectionBody,
        answers={200: CollectionView},
    ),
    Route(
        "GET",
        "/v1/collections",
        "collections.list_by_get",
        list_collections,
        Permission.READ,
        COLLECTIONS,
        query=PagingQuery,
        answers={200: CollectionList},
    ),
    Route(
        "POST",
        "/v1/collections/list",
        "collections.list",
        list_collections,
        Permission.READ,
        COLLECTIONS,
        query=PagingQuery,
        answers={200: CollectionList},
    ),
    Route(
        "GET",
        _COLLECTION,
        "collections.get",
        get_collection,
        Permission.READ,
        COLLECTION,
        answers={200: CollectionView},
    ),
    Route(
        "POST",
        f"{_DOCUMENTS}/list",
        "documents.list",
        list_documents,
        Permission.READ,
        DOCUMENTS,
        rate=RateClass.DATA,
        query=PagingQuery,
        answers={200: DocumentList},
    ),
    Route(
        "GET",
        f"{_DOCUMENTS}/<document_id>",
        "documents.get",
        get_document,
        Permission.READ,
        DOCUMENT,
        rate=RateClass.DATA,
        answers={200: DocumentView},
    ),
)
