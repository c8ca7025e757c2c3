"""The vector store as the other actors see it when one actor owns the engine: each operation is a call to the owner."""

from collections.abc import Sequence
from typing import Any

from core.storage.vectors.filters import EVERYTHING, Filter
from core.storage.vectors.store import Hit, Point, VectorSearch
from pipelines.remote import result_of


class VectorsProxy:
    """A VectorStore whose operations run in the owner, named for one job."""

    def __init__(self, owner: Any, name: str) -> None:
        self._owner = owner
        self._name = name

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

    def delete(self, namespace_id: str, filter: Filter) -> None:
        """As the owner's."""
        self._call("delete", namespace_id, filter)

    def count(self, namespace_id: str, filter: Filter = EVERYTHING) -> int:
        """As the owner's."""
        return int(self._call("count", namespace_id, filter))

    def _call(self, operation: str, *arguments: Any) -> Any:
        method = getattr(self._owner, operation)
        return result_of(method.options(name=self._name).remote(*arguments))
