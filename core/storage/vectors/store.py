"""What a vector store offers, and the two locks on a namespace: where it lives, and the filter on every read and write.

Both stores go through `collection_name` and `within_namespace`; nothing else knows where a namespace's vectors are.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from core.storage.vectors.filters import EVERYTHING, All, Equals, Filter

DENSE = "text_embedding"
"""The dense vector of a point: cosine similarity."""
SPARSE = "text_bm25"
"""The sparse vector of a point: BM25 weights, completed by the engine's inverse document frequency."""
INDEXED_FIELDS = ("collection_id", "document_id", "source_object_id")
"""Payload fields with a keyword index, beside `namespace_id`."""
RRF_K = 60
"""The constant of reciprocal rank fusion, as in the paper: a first place counts 1 / (k + 1)."""

_NAMESPACE_ID = re.compile(r"ns_[0-9A-Za-z]+")

DenseVector: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SparseVector:
    """Weights at some of 2³² places."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Point:
    """One vector pair with its payload, stored under a UUID."""

    id: str
    dense: DenseVector
    sparse: SparseVector
    payload: Mapping[str, Any]


@dataclass(frozen=True)
class TextVector:
    """Another sparse vector for a point, and the text that it was made of."""

    id: str
    text: str
    sparse: SparseVector


@dataclass(frozen=True)
class Hit:
    """A point that was found. The score is 0 where nothing was ranked."""

    id: str
    score: float
    payload: Mapping[str, Any]


@dataclass(frozen=True)
class VectorSearch:
    """One ranking: the points nearest to `vector`, dense or sparse by its type."""

    vector: DenseVector | SparseVector
    limit: int
    filter: Filter = EVERYTHING
    min_score: float | None = None
    weight: float = 1.0
    """how much this ranking counts when several are fused"""


class VectorStore(Protocol):
    """Vectors of all namespaces. Every method raises UnavailableError when the engine does not answer."""

    def ensure(self, namespace_id: str, dimension: int) -> None:
        """Make room for a namespace. Raises ConflictError when it holds vectors of another dimension."""

    def upsert(self, namespace_id: str, points: Sequence[Point]) -> None:
        """Store points, replacing those of the same id; durable when it returns."""

    def search(self, namespace_id: str, searches: Sequence[VectorSearch], limit: int) -> list[Hit]:
        """The best `limit` points: of one ranking with its scores, of several fused by reciprocal rank."""

    def scroll(self, namespace_id: str, filter: Filter, limit: int) -> list[Hit]:
        """Up to `limit` points that match, in the order of their ids."""

    def read_on(self, namespace_id: str, start: str | None, limit: int) -> tuple[list[Hit], str | None]:
        """Up to `limit` points from the id `start` on, in the order of their ids, and the id where the next begin."""

    def replace_sparse(self, namespace_id: str, vectors: Sequence[TextVector]) -> None:
        """Give points other sparse vectors and leave all else as it is; durable when it returns.

        A point that is gone, or holds another text by now, is passed over.
        """

    def delete(self, namespace_id: str, filter: Filter) -> None:
        """Remove the points that match; durable when it returns."""

    def drop(self, namespace_id: str) -> bool:
        """Remove all that a namespace has here, its place included; False when it had none."""


def collection_name(namespace_id: str) -> str:
    """Where a namespace lives: `ns_` + its id. Raises ValueError for what is no namespace id."""
    if not _NAMESPACE_ID.fullmatch(namespace_id):
        raise ValueError("a vector store is asked with an ns_… id only")
    return f"ns_{namespace_id}"


def within_namespace(namespace_id: str, filter: Filter) -> Filter:
    """The second lock: `filter`, for points that say themselves that they belong to the namespace."""
    return All((Equals("namespace_id", namespace_id), filter))


def check_points(namespace_id: str, points: Sequence[Point]) -> None:
    """Refuse points that say they belong elsewhere. Raises ValueError."""
    if any(point.payload.get("namespace_id") != namespace_id for point in points):
        raise ValueError("a point must carry the namespace_id it is stored under")


def fuse(rankings: Sequence[Sequence[Hit]], weights: Sequence[float], limit: int, k: int = RRF_K) -> list[Hit]:
    """Reciprocal rank fusion: each hit scores the sum of weight / (k + rank), ranks from 1. Ties go by id."""
    scores: dict[str, float] = defaultdict(float)
    hits: dict[str, Hit] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, hit in enumerate(ranking, start=1):
            scores[hit.id] += weight / (k + rank)
            hits[hit.id] = hit
    best = sorted(scores, key=lambda id: (-scores[id], id))[:limit]
    return [Hit(id, scores[id], hits[id].payload) for id in best]


def ranked(rankings: Sequence[Sequence[Hit]], searches: Sequence[VectorSearch], limit: int) -> list[Hit]:
    """The answer to `searches`: one ranking keeps its scores, several are fused."""
    if len(rankings) == 1:
        return list(rankings[0][:limit])
    return fuse(rankings, [search.weight for search in searches], limit)
