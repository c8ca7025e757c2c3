"""Results of retriever executions in MongoDB. A job's decision points at the one that counts."""

from collections.abc import Mapping
from typing import Any

from core.clock import now
from core.errors import PayloadTooLargeError, StageError
from core.ids import Prefix
from core.storage.failures import tried_twice
from core.storage.handles import Handles
from core.storage.scope import NamespaceScope


def execution_id_of(job_id: str) -> str:
    """The execution that a retriever job is: the same text under another prefix, so that either finds the other."""
    return Prefix.EXECUTION + job_id.removeprefix(Prefix.TASK)


def job_id_of(execution_id: str) -> str:
    """The job that an execution is."""
    return Prefix.TASK + execution_id.removeprefix(Prefix.EXECUTION)


class ExecutionStore:
    """The stored results of a namespace's executions."""

    def __init__(self, handles: Handles) -> None:
        self._handles = handles

    @tried_twice
    def save(self, scope: NamespaceScope, execution_doc_id: str, execution: Mapping[str, Any]) -> None:
        """Store a result (`documents`, `stage_statistics`, …) under an id of one claim; the same again overwrites.

        Raises StageError when it is too large to keep.
        """
        document = {**execution, "_id": execution_doc_id, "created_at": now()}
        try:
            self._handles.namespace(scope)["executions"].replace_many([document])
        except PayloadTooLargeError:
            raise StageError("The result is larger than can be stored: ask for fewer documents.") from None

    def get(self, scope: NamespaceScope, execution_doc_id: str) -> dict[str, Any] | None:
        """A stored result, or None when it is gone."""
        found = self._handles.namespace(scope)["executions"].find_one({"_id": execution_doc_id})
        return {name: value for name, value in found.items() if name not in _HIDDEN} if found else None


_HIDDEN = frozenset({"_id", "internal_id", "namespace_id"})
