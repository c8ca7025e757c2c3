"""The vector engine in one actor that owns its files, and the vector store as all other actors see it.

Whoever calls the owner waits for it so long and no longer: silent or dead, it is a backend that is away.
"""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.backends.backend import Backend
from core.errors import ActorLostError, BackendAwayError, UnavailableError
from core.storage.vectors.filters import EVERYTHING, Filter
from core.storage.vectors.store import Hit, Point, TextVector, VectorSearch
from pipelines.remote import result_of, send

_PATIENCE_SECONDS = 20.0
"""How long a restarted owner waits for the one before it to let go of the files."""
READ_SECONDS = 10.0
WRITE_SECONDS = 30.0
"""How long an operation may take, a restart of the owner in the middle of it included."""
_MOST_DEATHS = 3
"""An operation under which the owner ended so often may be what ends it."""
_AGAIN_SECONDS = 0.2
_PROBED = "ns_selftest"


class VectorsActor:
    """The owner. Its calls may be repeated: the same points overwrite themselves."""

    def __init__(self, directory: Path, open_namespaces: int) -> None:
        # here, because Ray would try to ship the engine's classes along with this one
        from core.storage.vectors.edge import EdgeVectorStore

        self._store = EdgeVectorStore(directory, _PATIENCE_SECONDS, open_namespaces)

    def do(self, operation: str, *arguments: Any) -> Any:
        """One operation of the vector store."""
        return getattr(self._store, operation)(*arguments)

    def answers(self) -> None:
        """Read through the engine, for a probe."""
        self._store.scroll(_PROBED, EVERYTHING, 1)


class VectorsProxy:
    """A VectorStore whose operations run in the owner. Each call is named by its namespace.

    A name must not be unique: Ray keeps 2 KB for each distinct one for ever, in the caller and in the actor.
    Each operation raises BackendAwayError when the owner is silent for its time, or dead and not back by then.
    """

    _again = threading.Lock()
    """What the owner ended under is repeated one at a time, so that one operation cannot end it under all others."""

    def __init__(
        self, owner: Any, namespace_id: str, read_seconds: float = READ_SECONDS, write_seconds: float = WRITE_SECONDS
    ) -> None:
        self._owner = owner
        self._namespace_id = namespace_id
        self._read_seconds = read_seconds
        self._write_seconds = write_seconds

    def ensure(self, namespace_id: str, dimension: int) -> None:
        """As the owner's."""
        self._write("ensure", namespace_id, dimension)

    def upsert(self, namespace_id: str, points: Sequence[Point]) -> None:
        """As the owner's."""
        self._write("upsert", namespace_id, points)

    def search(self, namespace_id: str, searches: Sequence[VectorSearch], limit: int) -> list[Hit]:
        """As the owner's."""
        found: list[Hit] = self._read("search", namespace_id, searches, limit)
        return found

    def scroll(self, namespace_id: str, filter: Filter, limit: int) -> list[Hit]:
        """As the owner's."""
        found: list[Hit] = self._read("scroll", namespace_id, filter, limit)
        return found

    def read_on(self, namespace_id: str, start: str | None, limit: int) -> tuple[list[Hit], str | None]:
        """As the owner's."""
        found: tuple[list[Hit], str | None] = self._read("read_on", namespace_id, start, limit)
        return found

    def replace_sparse(self, namespace_id: str, vectors: Sequence[TextVector]) -> None:
        """As the owner's."""
        self._write("replace_sparse", namespace_id, vectors)

    def delete(self, namespace_id: str, filter: Filter) -> None:
        """As the owner's."""
        self._write("delete", namespace_id, filter)

    def drop(self, namespace_id: str) -> bool:
        """As the owner's."""
        return bool(self._write("drop", namespace_id))

    def _read(self, operation: str, *arguments: Any) -> Any:
        return self._call(self._read_seconds, operation, *arguments)

    def _write(self, operation: str, *arguments: Any) -> Any:
        return self._call(self._write_seconds, operation, *arguments)

    def _call(self, seconds: float, operation: str, *arguments: Any) -> Any:
        ends_at = time.monotonic() + seconds
        try:
            return self._once(ends_at, operation, *arguments)
        except ActorLostError:
            return self._alone(ends_at, operation, *arguments)

    def _alone(self, ends_at: float, operation: str, *arguments: Any) -> Any:
        if not self._again.acquire(timeout=max(0.0, ends_at - time.monotonic())):
            raise BackendAwayError(Backend.VECTORS, "ended, and others wait for it")
        try:
            for _ in range(1, _MOST_DEATHS):
                try:
                    return self._once(ends_at, operation, *arguments)
                except ActorLostError:
                    if time.monotonic() + _AGAIN_SECONDS > ends_at:
                        raise BackendAwayError(Backend.VECTORS, "ended, and is not back") from None
                    time.sleep(_AGAIN_SECONDS)
        finally:
            self._again.release()
        raise UnavailableError(f"The owner of the vectors ended {_MOST_DEATHS} times under this operation.")

    def _once(self, ends_at: float, operation: str, *arguments: Any) -> Any:
        options = self._owner.do.options(name=self._namespace_id, max_task_retries=0)
        return answer_of_owner(send(options, operation, *arguments), max(0.0, ends_at - time.monotonic()))


def answer_of_owner(reference: Any, seconds: float) -> Any:
    """What a call to the owner gives. Raises BackendAwayError of the vectors when it stays silent, ActorLostError when
    it ended under the call."""
    try:
        return result_of(reference, seconds)
    except BackendAwayError as error:
        if error.backend is not Backend.RAY:
            raise
        raise BackendAwayError(Backend.VECTORS, "did not answer in time", silent=error.silent) from error
