"""What a stage is given and gives back. Types only; a stage holds no secret, no settings and no tenant state."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from core.storage.vectors.store import VectorStore
from pipelines.embedders.embedder import Embedder

Document: TypeAlias = dict[str, Any]
"""document_id, collection_id, score, text, and the fields that its object brought."""

P = TypeVar("P")


@dataclass(frozen=True)
class StageContext:
    """What one execution works with."""

    namespace_id: str
    collection_ids: tuple[str, ...]
    """the retriever's collections; a stage that finds documents stays within them"""
    vectors: VectorStore
    embedder: Embedder


@dataclass(frozen=True)
class StageInput(Generic[P]):
    """The stage's parameters, placeholders filled in, and the documents of the stage before."""

    parameters: P
    documents: list[Document] | None
    """None for the first stage: it has to find its documents itself"""


@dataclass(frozen=True)
class StageOutput:
    """The documents for the next stage."""

    documents: list[Document]
    truncated: bool = False
    """whether more documents fitted than a stage may give on"""


Stage: TypeAlias = Callable[[StageInput[P], StageContext], StageOutput]
"""A stage is one function. It raises StageError when it cannot do its work."""


def document_of(payload: Any, score: float) -> Document:
    """A found point as a document."""
    return {**{name: value for name, value in payload.items() if name != "namespace_id"}, "score": score}
