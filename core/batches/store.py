"""Batches in MongoDB. It never starts one: that is `core/jobs/submission.py`."""

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.errors import DuplicateKeyError

from core.batches.batch import Batch
from core.clock import now
from core.errors import NotFoundError
from core.storage.handles import Handles, ScopedCollection
from core.storage.mongo import Document
from core.storage.paging import Page, PageRequest, read_page
from core.storage.scope import NamespaceScope


class BatchStore:
    """The batches of a namespace."""

    def __init__(self, handles: Handles) -> None:
        self._handles = handles

    def create(
        self,
        scope: NamespaceScope,
        batch_id: str,
        bucket_id: str,
        *,
        object_ids: Sequence[str],
        collection_ids: Sequence[str],
        batch_name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Batch:
        """A new batch, not submitted; the same id again gives the one that stands."""
        document = {
            "_id": batch_id,
            "bucket_id": bucket_id,
            "object_ids": list(object_ids),
            "collection_ids": list(collection_ids),
            "batch_name": batch_name,
            "metadata": dict(metadata or {}),
            "created_at": now(),
        }
        try:
            self._batches(scope).insert_one(document)
        except DuplicateKeyError:
            return self.get(scope, bucket_id, batch_id)
        return _batch(document)

    def get(self, scope: NamespaceScope, bucket_id: str, batch_id: str) -> Batch:
        """One batch of a bucket. Raises NotFoundError."""
        found = self._batches(scope).find_one({"_id": batch_id, "bucket_id": bucket_id})
        if found is None:
            raise NotFoundError("The batch was not found.")
        return _batch(found)

    def list(self, scope: NamespaceScope, bucket_id: str, request: PageRequest) -> Page[Batch]:
        """Batches of a bucket, newest first."""
        return read_page(self._batches(scope), {"bucket_id": bucket_id}, request).map(_batch)

    def _batches(self, scope: NamespaceScope) -> ScopedCollection:
        return self._handles.namespace(scope)["batches"]


def _batch(found: Document) -> Batch:
    return Batch(
        batch_id=found["_id"],
        bucket_id=found["bucket_id"],
        object_ids=tuple(found["object_ids"]),
        collection_ids=tuple(found["collection_ids"]),
        batch_name=found["batch_name"],
        metadata=found["metadata"],
        created_at=found["created_at"],
    )
