"""Vectors by Qdrant's engine in this process: one shard per namespace in one directory, owned by one process.

A second process that opens the same shard is refused by the engine; so there is exactly one owner.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import qdrant_edge
from qdrant_edge import EdgeShard, UpdateOperation
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from core.errors import ConflictError, UnavailableError
from core.storage.vectors.filters import EVERYTHING, Equals, Filter, compile_filter
from core.storage.vectors.open_shards import OpenShards
from core.storage.vectors.store import (
    DENSE,
    INDEXED_FIELDS,
    SPARSE,
    Hit,
    Point,
    SparseVector,
    TextVector,
    VectorSearch,
    check_points,
    collection_name,
    ranked,
    within_namespace,
)

_OPEN_AT_MOST: Final = 32
_BEING_MADE: Final = ".new"
"""Suffix of a shard that is not complete yet."""
_BEING_REMOVED: Final = ".dropped"
"""Suffix of a shard that is on its way out."""


class _Types:
    """The engine's filter classes under the names that `compile_filter` uses."""

    Filter = qdrant_edge.Filter
    FieldCondition = qdrant_edge.FieldCondition
    MatchValue = qdrant_edge.MatchValue
    MatchAny = qdrant_edge.MatchAny
    Range = qdrant_edge.RangeFloat
    DatetimeRange = qdrant_edge.RangeDateTime


class EdgeVectorStore:
    """All namespaces of one directory. Safe to use from several threads of the owning process."""

    def __init__(self, directory: Path, patience_seconds: float = 0.0, open_at_most: int = _OPEN_AT_MOST) -> None:
        """Own `directory`; wait up to `patience_seconds` for an owner before us that is still letting go.

        Of the namespaces, `open_at_most` are kept open; opening another one takes some 100 ms.
        """
        self._directory = directory
        self._patience = patience_seconds
        self._shards = OpenShards(open_at_most, self._load)
        directory.mkdir(parents=True, exist_ok=True)

    def ensure(self, namespace_id: str, dimension: int) -> None:
        """Make the namespace's shard. Raises ConflictError when it holds vectors of another dimension."""
        if not self._path(namespace_id).exists():
            with self._shards.alone(collection_name(namespace_id)), _engine_errors():
                # another thread may have been first
                if not self._path(namespace_id).exists():
                    self._create(namespace_id, dimension)
        present = self._dimension(namespace_id)
        if present != dimension:
            raise ConflictError(f"The namespace holds vectors of {present} dimensions, the embedder gives {dimension}.")

    def upsert(self, namespace_id: str, points: Sequence[Point]) -> None:
        """Store points durably. Raises ValueError for a point of another namespace."""
        check_points(namespace_id, points)
        with self._opened(namespace_id) as shard:
            if shard is None:
                raise ValueError("upsert before ensure")
            shard.update(UpdateOperation.upsert_points([_engine_point(point) for point in points]))
            shard.flush()

    def search(self, namespace_id: str, searches: Sequence[VectorSearch], limit: int) -> list[Hit]:
        """The best `limit` points over all searches."""
        requests = [_query(namespace_id, search) for search in searches]
        with self._opened(namespace_id) as shard:
            if shard is None:
                return []
            rankings = shard.query_batch(qdrant_edge.QueryBatchRequest(requests))
        return ranked([[_hit(point) for point in ranking] for ranking in rankings], searches, limit)

    def scroll(self, namespace_id: str, filter: Filter, limit: int) -> list[Hit]:
        """Up to `limit` points that match, in the order of their ids."""
        request = qdrant_edge.ScrollRequest(limit=limit, filter=_compiled(namespace_id, filter), with_payload=True)
        with self._opened(namespace_id) as shard:
            if shard is None:
                return []
            records, _ = shard.scroll(request)
        return [Hit(str(record.id), 0.0, record.payload or {}) for record in records]

    def read_on(self, namespace_id: str, start: str | None, limit: int) -> tuple[list[Hit], str | None]:
        """Up to `limit` points from the id `start` on, in the order of their ids, and the id where the next begin."""
        inside = _compiled(namespace_id, EVERYTHING)
        request = qdrant_edge.ScrollRequest(offset=start, limit=limit, filter=inside, with_payload=True)
        with self._opened(namespace_id) as shard:
            if shard is None:
                return [], None
            records, following = shard.scroll(request)
        hits = [Hit(str(record.id), 0.0, record.payload or {}) for record in records]
        return hits, None if following is None else str(following)

    def replace_sparse(self, namespace_id: str, vectors: Sequence[TextVector]) -> None:
        """Give points other sparse vectors, durably; one that is gone or holds another text is passed over."""
        with self._opened(namespace_id) as shard:
            if shard is None:
                return
            for vector in vectors:
                _replace_sparse(shard, namespace_id, vector)
            shard.flush()

    def delete(self, namespace_id: str, filter: Filter) -> None:
        """Remove the points that match, durably."""
        with self._opened(namespace_id) as shard:
            if shard is None:
                return
            shard.update(UpdateOperation.delete_points_by_filter(_compiled(namespace_id, filter)))
            shard.flush()

    def drop(self, namespace_id: str) -> bool:
        """Remove the namespace's shard; False when there was none."""
        path = self._path(namespace_id)
        dropped = path.with_name(path.name + _BEING_REMOVED)
        with self._shards.closed(path.name), _engine_errors():
            # what a kill left behind
            shutil.rmtree(dropped, ignore_errors=True)
            if not path.exists():
                return False
            # moved first, so that a kill never leaves half of a shard in its place
            path.rename(dropped)
            shutil.rmtree(dropped)
        return True

    def close(self) -> None:
        """Close every shard."""
        self._shards.close()

    @contextmanager
    def _opened(self, namespace_id: str) -> Iterator[EdgeShard | None]:
        """The shard, open for the block; None while the namespace has none."""
        with _engine_errors(), self._shards.using(collection_name(namespace_id)) as shard:
            yield shard

    def _path(self, namespace_id: str) -> Path:
        return self._directory / collection_name(namespace_id)

    def _load(self, name: str) -> EdgeShard | None:
        path = self._directory / name
        if not path.exists():
            return None
        again = Retrying(
            retry=retry_if_exception(_is_owned),
            stop=stop_after_delay(self._patience),
            wait=wait_fixed(0.1),
            reraise=True,
        )
        shard: EdgeShard = again(EdgeShard.load, str(path))
        return shard

    def _dimension(self, namespace_id: str) -> int:
        config = json.loads((self._path(namespace_id) / "edge_config.json").read_text())
        return int(config["vectors"][DENSE]["size"])

    def _create(self, namespace_id: str, dimension: int) -> None:
        """Make the shard beside its place and move it there, so that a kill never leaves half of one."""
        path = self._path(namespace_id)
        unfinished = path.with_name(path.name + _BEING_MADE)
        shutil.rmtree(unfinished, ignore_errors=True)
        shard = EdgeShard.create(str(unfinished), _config(dimension))
        tenant = qdrant_edge.KeywordIndexParams(is_tenant=True)
        shard.update(UpdateOperation.create_field_index("namespace_id", tenant))
        for field in INDEXED_FIELDS:
            shard.update(UpdateOperation.create_field_index(field, qdrant_edge.PayloadSchemaType.Keyword))
        shard.flush()
        shard.close()
        unfinished.rename(path)


@contextmanager
def _engine_errors() -> Iterator[None]:
    """The engine raises bare `Exception`: hand its message on under a type of ours."""
    try:
        yield
    except Exception as error:
        if type(error) is Exception:
            raise UnavailableError(f"The vector engine failed: {error}") from error
        raise


def _replace_sparse(shard: EdgeShard, namespace_id: str, vector: TextVector) -> None:
    update = UpdateOperation.update_vectors(
        [qdrant_edge.PointVectors(vector.id, {SPARSE: _engine_sparse(vector.sparse)})],
        _compiled(namespace_id, Equals("text", vector.text)),
    )
    try:
        shard.update(update)
    except Exception as error:
        if "No point with id" not in str(error):
            raise


def _is_owned(error: BaseException) -> bool:
    """Whether the engine says that another process has the shard open."""
    return "WouldBlock" in str(error)


def _config(dimension: int) -> Any:
    dense = qdrant_edge.EdgeVectorParams(size=dimension, distance=qdrant_edge.Distance.Cosine)
    sparse = qdrant_edge.EdgeSparseVectorParams(modifier=qdrant_edge.Modifier.Idf)
    # one search thread a shard: concurrency comes from the callers, and namespaces are many
    return qdrant_edge.EdgeConfig(vectors={DENSE: dense}, sparse_vectors={SPARSE: sparse}, max_search_threads=1)


def _compiled(namespace_id: str, filter: Filter) -> Any:
    return compile_filter(within_namespace(namespace_id, filter), _Types)


def _engine_point(point: Point) -> Any:
    vectors = {DENSE: point.dense.tolist(), SPARSE: _engine_sparse(point.sparse)}
    return qdrant_edge.Point(id=point.id, vector=vectors, payload=dict(point.payload))


def _engine_sparse(vector: SparseVector) -> Any:
    return qdrant_edge.SparseVector(list(vector.indices), list(vector.values))


def _query(namespace_id: str, search: VectorSearch) -> Any:
    query = (
        qdrant_edge.Query.Nearest(_engine_sparse(search.vector), using=SPARSE)
        if isinstance(search.vector, SparseVector)
        else qdrant_edge.Query.Nearest(search.vector.tolist(), using=DENSE)
    )
    return qdrant_edge.QueryRequest(
        limit=search.limit,
        query=query,
        filter=_compiled(namespace_id, search.filter),
        score_threshold=search.min_score,
        with_payload=True,
    )


def _hit(point: Any) -> Hit:
    return Hit(str(point.id), float(point.score), point.payload or {})
