"""Retrievers in MongoDB, and a memory of those this process has seen: a stored retriever never changes."""

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.errors import DuplicateKeyError

from core.clock import now
from core.errors import AlreadyExistsError, NotFoundError
from core.recent import Recent
from core.retrievers.retriever import Retriever
from core.retrievers.secret_places import secret_names
from core.storage.handles import Handles, ScopedCollection
from core.storage.mongo import Document
from core.storage.paging import Page, PageRequest, read_page
from core.storage.scope import NamespaceScope
from core.storage.selection import Selection, narrowed

_REMEMBERED = 1000
"""Retrievers kept in memory; the one unused for longest goes first."""

_CacheKey = tuple[NamespaceScope, str]


class RetrieverStore:
    """The retrievers of a namespace."""

    def __init__(self, handles: Handles) -> None:
        self._handles = handles
        self._seen = Recent[_CacheKey, Retriever](_REMEMBERED)

    def create(
        self,
        scope: NamespaceScope,
        retriever_id: str,
        retriever_name: str,
        *,
        stages: Sequence[Mapping[str, Any]],
        collection_ids: Sequence[str],
        input_schema: Mapping[str, Mapping[str, Any]],
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        tags: Sequence[str] = (),
    ) -> Retriever:
        """A new retriever; the same id again gives the one that stands. Raises AlreadyExistsError for a taken name."""
        moment = now()
        document = {
            "_id": retriever_id,
            "retriever_name": retriever_name,
            "description": description,
            "collection_ids": list(collection_ids),
            "stages": [dict(stage) for stage in stages],
            # looked for when somebody asks what uses a secret
            "secret_names": secret_names(stages),
            "input_schema": {name: dict(declared) for name, declared in input_schema.items()},
            "metadata": dict(metadata or {}),
            "tags": list(tags),
            "created_at": moment,
            "updated_at": moment,
        }
        try:
            self._retrievers(scope).insert_one(document)
        except DuplicateKeyError as error:
            standing = self._retrievers(scope).find_one({"_id": retriever_id})
            if standing is None:
                raise AlreadyExistsError(f"A retriever called {retriever_name!r} exists already.") from error
            return _retriever(standing)
        return _retriever(document)

    def get(self, scope: NamespaceScope, id_or_name: str) -> Retriever:
        """A retriever by id or name, from memory when it was asked for before. Raises NotFoundError."""
        key = (NamespaceScope(scope.internal_id, scope.namespace_id), id_or_name)
        if seen := self._seen.get(key, None):
            return seen
        retrievers = self._retrievers(scope)
        found = retrievers.find_one({"_id": id_or_name}) or retrievers.find_one({"retriever_name": id_or_name})
        if found is None:
            raise NotFoundError("The retriever was not found.")
        retriever = _retriever(found)
        self._seen.put(key, retriever)
        return retriever

    def list(self, scope: NamespaceScope, request: PageRequest, only: Selection | None = None) -> Page[Retriever]:
        """Retrievers, newest first, as far as `only` includes them."""
        return read_page(self._retrievers(scope), narrowed(only, "_id", "retriever_name"), request).map(_retriever)

    def using_secret(self, scope: NamespaceScope, secret_name: str) -> tuple[str, ...]:
        """The ids of the namespace's retrievers that name this secret, in order."""
        found = self._retrievers(scope).find({"secret_names": secret_name}, {"_id": 1})
        return tuple(sorted(row["_id"] for row in found))

    def _retrievers(self, scope: NamespaceScope) -> ScopedCollection:
        return self._handles.namespace(scope)["retrievers"]


def _retriever(found: Document) -> Retriever:
    return Retriever(
        retriever_id=found["_id"],
        retriever_name=found["retriever_name"],
        description=found["description"],
        collection_ids=tuple(found["collection_ids"]),
        stages=tuple(found["stages"]),
        input_schema=found["input_schema"],
        metadata=found["metadata"],
        tags=tuple(found["tags"]),
        created_at=found["created_at"],
        updated_at=found["updated_at"],
    )
