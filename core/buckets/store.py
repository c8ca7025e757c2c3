"""Buckets and objects in MongoDB, and their bytes in the object storage. It never looks into a blob."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from pymongo.errors import BulkWriteError, DuplicateKeyError

from core.buckets.bucket import Bucket, FieldType, NewBlob, NewObject, StoredBlob, StoredObject
from core.clock import now
from core.errors import AlreadyExistsError, NotFoundError
from core.storage.blobs import BlobStore
from core.storage.failures import is_duplicate
from core.storage.handles import Handles, NamespaceData, ScopedCollection
from core.storage.mongo import Document
from core.storage.paging import Page, PageRequest, read_page
from core.storage.scope import NamespaceScope
from core.storage.selection import Selection, narrowed


class BucketStore:
    """The buckets and objects of a namespace."""

    def __init__(self, handles: Handles, blobs: BlobStore) -> None:
        self._handles = handles
        self._blobs = blobs

    # Buckets ----------------------------------------------------------------------------------------

    def create(
        self,
        scope: NamespaceScope,
        bucket_id: str,
        bucket_name: str,
        *,
        properties: dict[str, dict[str, Any]],
        description: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Bucket:
        """A new bucket; the same id again gives the one that stands. Raises AlreadyExistsError for a taken name."""
        moment = now()
        document = {
            "_id": bucket_id,
            "bucket_name": bucket_name,
            "description": description,
            "properties": properties,
            "metadata": metadata or {},
            "object_count": 0,
            "total_size_bytes": 0,
            "created_at": moment,
            "updated_at": moment,
        }
        try:
            self._buckets(scope).insert_one(document)
        except DuplicateKeyError as error:
            standing = self._buckets(scope).find_one({"_id": bucket_id})
            if standing is None:
                raise AlreadyExistsError(f"A bucket called {bucket_name!r} exists already.") from error
            return _bucket(standing)
        return _bucket(document)

    def get(self, scope: NamespaceScope, id_or_name: str) -> Bucket:
        """A bucket by id or name. Raises NotFoundError."""
        buckets = self._buckets(scope)
        found = buckets.find_one({"_id": id_or_name}) or buckets.find_one({"bucket_name": id_or_name})
        if found is None:
            raise NotFoundError("The bucket was not found.")
        return _bucket(found)

    def get_many(self, scope: NamespaceScope, bucket_ids: Sequence[str]) -> Sequence[Bucket]:
        """Those of these buckets that still exist."""
        return [_bucket(row) for row in self._buckets(scope).find({"_id": {"$in": [*bucket_ids]}})]

    def list(self, scope: NamespaceScope, request: PageRequest, only: Selection | None = None) -> Page[Bucket]:
        """Buckets, newest first, as far as `only` includes them."""
        return read_page(self._buckets(scope), narrowed(only, "_id", "bucket_name"), request).map(_bucket)

    # Objects ----------------------------------------------------------------------------------------

    def add_objects(
        self, scope: NamespaceScope, bucket_id: str, objects: Sequence[NewObject]
    ) -> Sequence[StoredObject]:
        """Store objects, bytes first, so that no object lacks its bytes. An object id that stands is left as it is."""
        stored = {item.object_id: item for item in self._standing(scope, bucket_id, objects)}
        fresh = {new.object_id: new for new in reversed(objects) if new.object_id not in stored}
        documents = [self._write_blobs(scope, bucket_id, new) for new in fresh.values()]
        if not self._insert_counted(scope, bucket_id, documents):
            # another request has just stored one of them, which stands now with the bytes that it wrote
            standing = self.add_objects(scope, bucket_id, objects)
            kept = {blob.blob_key for item in standing for blob in item.blobs}
            for key in {blob["blob_key"] for document in documents for blob in document["blobs"]} - kept:
                self._blobs.delete(key)
            return standing
        stored |= {document["_id"]: _object(document) for document in documents}
        return [stored[new.object_id] for new in objects]

    def get_object(self, scope: NamespaceScope, bucket_id: str, object_id: str) -> StoredObject:
        """One object of a bucket. Raises NotFoundError."""
        found = self._objects(scope).find_one({"_id": object_id, "bucket_id": bucket_id})
        if found is None:
            raise NotFoundError("The object was not found.")
        return _object(found)

    def list_objects(self, scope: NamespaceScope, bucket_id: str, request: PageRequest) -> Page[StoredObject]:
        """Objects of a bucket, newest first."""
        return read_page(self._objects(scope), {"bucket_id": bucket_id}, request).map(_object)

    def delete_object(self, scope: NamespaceScope, bucket_id: str, object_id: str) -> None:
        """Remove an object's bytes, then the object. Documents made of it stay. Raises NotFoundError.

        In this order, because whoever is told that it failed asks again: bytes without an object nobody would find.
        """
        stored = self._objects(scope).find_one({"_id": object_id, "bucket_id": bucket_id})
        if stored is None:
            raise NotFoundError("The object was not found.")

        def remove(data: NamespaceData) -> None:
            _count(data, bucket_id, [stored], sign=-1)
            if not data["objects"].delete_one({"_id": object_id}):
                raise NotFoundError("The object was not found.")

        for blob in stored["blobs"]:
            self._blobs.delete(blob["blob_key"])
        self._handles.namespace(scope).all_or_nothing(remove)

    def object_references(
        self, scope: NamespaceScope, bucket_id: str, object_ids: Iterable[str]
    ) -> tuple[Sequence[StoredObject], Sequence[str]]:
        """The objects with these ids in the order asked for, and the ids that the bucket does not have."""
        wanted = list(dict.fromkeys(object_ids))
        if not wanted:
            return [], []
        found = {row["_id"]: row for row in self._objects(scope).find({"_id": {"$in": wanted}})}
        present = [name for name in wanted if name in found and found[name]["bucket_id"] == bucket_id]
        return [_object(found[name]) for name in present], [name for name in wanted if name not in set(present)]

    def missing_objects(self, scope: NamespaceScope, bucket_id: str, object_ids: Sequence[str]) -> Sequence[str]:
        """Which of these ids the bucket does not have."""
        rows = self._objects(scope).find({"_id": {"$in": list(object_ids)}}, {"bucket_id": 1})
        present = {row["_id"] for row in rows if row["bucket_id"] == bucket_id}
        return [name for name in object_ids if name not in present]

    # Inside -----------------------------------------------------------------------------------------

    def _insert_counted(self, scope: NamespaceScope, bucket_id: str, documents: Sequence[Document]) -> bool:
        """Insert objects and count them, both or neither. False when one of them stands already."""
        if not documents:
            return True

        def insert(data: NamespaceData) -> None:
            # first what two requests meet at, so that the later one has nothing to undo
            _count(data, bucket_id, documents, sign=1)
            data["objects"].insert_many(documents)

        try:
            self._handles.namespace(scope).all_or_nothing(insert)
        except BulkWriteError as error:
            if not is_duplicate(error):
                raise
            return False
        return True

    def _write_blobs(self, scope: NamespaceScope, bucket_id: str, new: NewObject) -> Document:
        moment = now()
        blobs = []
        for number, blob in enumerate(new.blobs):
            sha256 = hashlib.sha256(blob.content).hexdigest()
            # named by its content, so that of two requests with one object id each writes its own bytes
            key = f"{scope.namespace_id}/{bucket_id}/{new.object_id}/{number}-{sha256}"
            self._blobs.put(key, blob.content)
            blobs.append(_blob_document(blob, key, sha256))
        return {
            "_id": new.object_id,
            "bucket_id": bucket_id,
            "key_prefix": new.key_prefix,
            "blobs": blobs,
            "data": dict(new.data),
            "created_at": moment,
            "updated_at": moment,
        }

    def _standing(self, scope: NamespaceScope, bucket_id: str, objects: Sequence[NewObject]) -> Sequence[StoredObject]:
        return self.object_references(scope, bucket_id, [new.object_id for new in objects])[0]

    def _buckets(self, scope: NamespaceScope) -> ScopedCollection:
        return self._handles.namespace(scope)["buckets"]

    def _objects(self, scope: NamespaceScope) -> ScopedCollection:
        return self._handles.namespace(scope)["objects"]


def _count(data: NamespaceData, bucket_id: str, documents: Sequence[Document], sign: int) -> None:
    size = sum(blob["size_bytes"] for document in documents for blob in document["blobs"])
    change = {"object_count": sign * len(documents), "total_size_bytes": sign * size}
    data["buckets"].update_one({"_id": bucket_id}, {"$inc": change, "$set": {"updated_at": now()}})


def _blob_document(blob: NewBlob, key: str, sha256: str) -> Document:
    return {
        "property": blob.property,
        "type": blob.type.value,
        "blob_key": key,
        "content_type": blob.content_type,
        "size_bytes": len(blob.content),
        "sha256": sha256,
        "metadata": dict(blob.metadata),
    }


def _bucket(found: Document) -> Bucket:
    fields = {name: found[name] for name in Bucket.__dataclass_fields__ if name != "bucket_id"}
    return Bucket(bucket_id=found["_id"], **fields)


def _object(found: Document) -> StoredObject:
    return StoredObject(
        object_id=found["_id"],
        bucket_id=found["bucket_id"],
        key_prefix=found["key_prefix"],
        blobs=tuple(StoredBlob(**{**blob, "type": FieldType(blob["type"])}) for blob in found["blobs"]),
        data=found["data"],
        created_at=found["created_at"],
        updated_at=found["updated_at"],
    )
