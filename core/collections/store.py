"""Collections and their documents in MongoDB. Vectors live elsewhere; this is what is read and listed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pymongo.errors import DuplicateKeyError

from core.clock import now
from core.collections.collection import Collection, Document, ExtractorConfig
from core.errors import AlreadyExistsError, NotFoundError
from core.storage.handles import Handles, ScopedCollection
from core.storage.mongo import Document as Found
from core.storage.paging import Page, PageRequest, read_page
from core.storage.scope import NamespaceScope
from core.storage.selection import Selection, narrowed

_MOST_PER_BUCKET = 1000
"""Collections that one batch goes through at most."""


class CollectionStore:
    """The collections of a namespace."""

    def __init__(self, handles: Handles) -> None:
        self._handles = handles

    def create(
        self,
        scope: NamespaceScope,
        collection_id: str,
        collection_name: str,
        *,
        bucket_ids: Sequence[str],
        extractor: ExtractorConfig,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Collection:
        """A new collection; the same id again gives the one that stands. Raises AlreadyExistsError for a taken name."""
        moment = now()
        document = {
            "_id": collection_id,
            "collection_name": collection_name,
            "description": description,
            "bucket_ids": list(bucket_ids),
            "extractor": {**asdict(extractor), "field_passthrough": list(extractor.field_passthrough)},
            "metadata": dict(metadata or {}),
            "created_at": moment,
            "updated_at": moment,
        }
        try:
            self._collections(scope).insert_one(document)
        except DuplicateKeyError as error:
            standing = self._collections(scope).find_one({"_id": collection_id})
            if standing is None:
                raise AlreadyExistsError(f"A collection called {collection_name!r} exists already.") from error
            return _collection(standing)
        return _collection(document)

    def get(self, scope: NamespaceScope, id_or_name: str) -> Collection:
        """A collection by id or name. Raises NotFoundError."""
        collections = self._collections(scope)
        found = collections.find_one({"_id": id_or_name}) or collections.find_one({"collection_name": id_or_name})
        if found is None:
            raise NotFoundError("The collection was not found.")
        return _collection(found)

    def list(self, scope: NamespaceScope, request: PageRequest, only: Selection | None = None) -> Page[Collection]:
        """Collections, newest first, as far as `only` includes them."""
        return read_page(self._collections(scope), narrowed(only, "_id", "collection_name"), request).map(_collection)

    def resolve(self, scope: NamespaceScope, ids_or_names: Sequence[str]) -> tuple[Sequence[Collection], Sequence[str]]:
        """The collections that these ids or names mean, in that order, and the ones that mean nothing."""
        if not ids_or_names:
            return [], []
        collections, wanted = self._collections(scope), list(dict.fromkeys(ids_or_names))
        by_id = {row["_id"]: row for row in collections.find({"_id": {"$in": wanted}})}
        by_name = {row["collection_name"]: row for row in collections.find({"collection_name": {"$in": wanted}})}
        meant = {name: by_id.get(name) or by_name.get(name) for name in wanted}
        found = {row["_id"]: _collection(row) for row in meant.values() if row}
        return list(found.values()), [name for name, row in meant.items() if row is None]

    def of_bucket(self, scope: NamespaceScope, bucket_id: str) -> Sequence[Collection]:
        """All collections that a bucket feeds."""
        found = self._collections(scope).find({"bucket_ids": bucket_id}).limit(_MOST_PER_BUCKET)
        return sorted(map(_collection, found), key=lambda collection: collection.created_at)

    # Documents --------------------------------------------------------------------------------------

    def replace_documents(
        self,
        scope: NamespaceScope,
        collection_id: str,
        document_counts: Mapping[str, int],
        documents: Iterable[Mapping[str, Any]],
    ) -> None:
        """Store what an extractor made of some objects, in place of what earlier runs made of them.

        `document_counts` names the objects, each with its number of documents. A document has `document_id`,
        `source_object_id` and `chunk_index`; all its other keys are its payload.
        """
        stored, moment = self._documents(scope), now()
        written = [_document_row(collection_id, document) | {"created_at": moment} for document in documents]
        stored.replace_many(written)
        current = {row["_id"] for row in written}
        earlier = stored.find(
            {"collection_id": collection_id, "source_object_id": {"$in": list(document_counts)}}, {"_id": 1}
        )
        if stale := [row["_id"] for row in earlier if row["_id"] not in current]:
            stored.delete_many({"_id": {"$in": stale}})

    def get_document(self, scope: NamespaceScope, collection_id: str, document_id: str) -> Document:
        """One document of a collection. Raises NotFoundError."""
        found = self._documents(scope).find_one({"_id": document_id, "collection_id": collection_id})
        if found is None:
            raise NotFoundError("The document was not found.")
        return _document(found)

    def list_documents(
        self, scope: NamespaceScope, collection_id: str, request: PageRequest, only: Selection | None = None
    ) -> Page[Document]:
        """Documents of a collection, newest first, as far as `only` includes them."""
        query = {"collection_id": collection_id, **narrowed(only, "_id")}
        return read_page(self._documents(scope), query, request).map(_document)

    def count_documents(self, scope: NamespaceScope, collection_ids: Iterable[str], most: int) -> int:
        """How many documents these collections have; no more than `most` are counted."""
        counted = 0
        for collection_id in collection_ids:
            left = most - counted
            if left > 0:
                counted += len(
                    list(self._documents(scope).find({"collection_id": collection_id}, {"_id": 1}).limit(left))
                )
        return counted

    def _collections(self, scope: NamespaceScope) -> ScopedCollection:
        return self._handles.namespace(scope)["collections"]

    def _documents(self, scope: NamespaceScope) -> ScopedCollection:
        return self._handles.namespace(scope)["documents"]


def _document_row(collection_id: str, document: Mapping[str, Any]) -> Found:
    lineage = {"document_id", "collection_id", "source_object_id", "chunk_index"}
    return {
        "_id": document["document_id"],
        "collection_id": collection_id,
        "source_object_id": document["source_object_id"],
        "chunk_index": document["chunk_index"],
        "payload": {name: value for name, value in document.items() if name not in lineage},
    }


def _collection(found: Found) -> Collection:
    extractor = found["extractor"]
    return Collection(
        collection_id=found["_id"],
        collection_name=found["collection_name"],
        description=found["description"],
        bucket_ids=tuple(found["bucket_ids"]),
        extractor=ExtractorConfig(**{**extractor, "field_passthrough": tuple(extractor["field_passthrough"])}),
        metadata=found["metadata"],
        created_at=found["created_at"],
        updated_at=found["updated_at"],
    )


def _document(found: Found) -> Document:
    return Document(
        document_id=found["_id"],
        collection_id=found["collection_id"],
        source_object_id=found["source_object_id"],
        chunk_index=found["chunk_index"],
        payload=found["payload"],
        created_at=found["created_at"],
    )
