"""The vector engine in one actor that owns its files, and the vector store as all other actors see it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.storage.vectors.filters import Filter
from core.storage.vectors.store import Hit, Point, TextVector, VectorSearch
from pipelines.remote import result_of

_PATIENCE_SECONDS = 20.0
"""How long a restarted owner waits for the one before it to let go of the files."""


class VectorsActor:
    """The owner. Its calls may be repeated: the same points overwrite themselves."""

    def __init__(self, directory: Path, open_namespaces: int) -> None:
        # here, because Ray would try to ship the engine's classes along with this one
        from core.storage.vectors.edge import EdgeVectorStore

        self._store = EdgeVectorStore(directory, _PATIENCE_SECONDS, open_namespaces)

    def do(self, operation: str, *arguments: Any) -> Any:
        """One operation of the vector store."""
        return getattr(self._store, operation)(*arguments)


class VectorsProxy:
    """A VectorStore whose operations run in the owner. Each call is named by its namespace.

    A name must not be unique: Ray keeps 2 KB for each distinct one for ever, in the caller and in the actor.
    """

    def __init__(self, owner: Any, namespace_id: str) -> None:
        self._owner = owner
        self._namespace_id = namespace_id

    def ensure(self, namespace_id: str, dimension: int) -> None:
        """As the owner's."""
        self._call("ensure", namespace_id, dimension)

    def upsert(self, namespace_id: str, points: Sequence[Point]) -> None:
        """As the owner's."""
        self._call("upsert", namespace_id, points)

    def search(self, namespace_id: str, searches: Sequence[VectorSearch], limit: int) -> list[Hit]:
        """As the owner's."""
        found: list[Hit] = self._call("search", namespace_id, searches, limit)
        return found

    def scroll(self, namespace_id: str, filter: Filter, limit: int) -> list[Hit]:
        """As the owner's."""
        found: list[Hit] = self._call("scroll", namespace_id, filter, limit)
        return found

    def read_on(self, namespace_id: str, start: str | None, limit: int) -> tuple[list[Hit], str | None]:
        """As the owner's."""
        found: tuple[list[Hit], str | None] = self._call("read_on", namespace_id, start, limit)
        return found

    def replace_sparse(self, namespace_id: str, vectors: Sequence[TextVector]) -> None:
        """As the owner's."""
        self._call("replace_sparse", namespace_id, vectors)

    def delete(self, namespace_id: str, filter: Filter) -> None:
        """As the owner's."""
        self._call("delete", namespace_id, filter)

    def drop(self, namespace_id: str) -> bool:
        """As the owner's."""
        return bool(self._call("drop", namespace_id))

    def _call(self, operation: str, *arguments: Any) -> Any:
        return result_of(self._owner.do.options(name=self._namespace_id).remote(operation, *arguments))
