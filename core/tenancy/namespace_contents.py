"""What is in a namespace, all stores of records and blobs together, for the job that removes it. Vectors are Ray's."""

from collections.abc import Iterator
from itertools import islice

from core.jobs.job import JobKind
from core.storage.blobs import BlobStore
from core.storage.handles import Handles, ScopedCollection
from core.storage.schema import NAMESPACED
from core.storage.scope import NamespaceScope

_CHUNK = 500

BLOBS = "blobs"
"""The name under which removed blobs are counted, beside the names of the collections."""


class NamespaceContents:
    """The records and blobs of namespaces."""

    def __init__(self, handles: Handles, blobs: BlobStore) -> None:
        self._handles = handles
        self._blobs = blobs

    def remove(self, scope: NamespaceScope) -> Iterator[tuple[str, int]]:
        """Remove everything but the records of deletions, chunk by chunk; after each, its kind and how many it had."""
        data = self._handles.namespace(scope)
        for name in NAMESPACED:
            for chunk in _chunks(_ids_in(data[name])):
                data[name].delete_many({"_id": {"$in": chunk}})
                yield name, len(chunk)
        for chunk in _chunks(self._blobs.list_keys(f"{scope.namespace_id}/")):
            self._blobs.delete_many(chunk)
            yield BLOBS, len(chunk)


def _ids_in(collection: ScopedCollection) -> Iterator[str]:
    # one cursor over all: to ask for each chunk anew would cost a scan each time
    for found in collection.find({}, {"kind": 1}).batch_size(_CHUNK):
        if found.get("kind") != JobKind.NAMESPACE_DELETION.value:
            yield found["_id"]


def _chunks(items: Iterator[str]) -> Iterator[list[str]]:
    while chunk := list(islice(items, _CHUNK)):
        yield chunk
