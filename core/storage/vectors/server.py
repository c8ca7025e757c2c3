"""Vectors on a Qdrant server: one collection per namespace. Also runs on the client's local mode, for tests.

Each call has one deadline; what a server that is away does is told apart from what it says of a call
(`docs/backends.md`). Nothing is tried again here.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from core.backends.absence import absence_in_error, absence_in_status
from core.backends.backend import Backend
from core.egress.transport import deadline, remaining_seconds
from core.errors import BackendAwayError, ConflictError, UnavailableError
from core.recent import Recent
from core.storage.vectors.filters import EVERYTHING, Equals, Filter, compile_filter
from core.storage.vectors.http import DeadlineTransport
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

_READ_SECONDS = 10.0
_WRITE_SECONDS = 30.0
_PROBE_SECONDS = 2.0
"""How long one call may take as a whole, from the look-up of the server's name to the last byte."""
_PART_AWAY = (
    b"status: Unavailable",
    b"enough active replicas",
    b"Waiting for consensus operation commit failed",
)
"""What a server of a cluster says in a 500 while another server of it is away."""
_PROBED = "keystage-probe"
"""The name of no collection."""
_MOST_KNOWN = 10_000
"""Collections that are remembered, some 2 MB; one that was forgotten costs a few calls."""


def connect_qdrant(url: str, api_key: str | None, ca_file: Path | None = None) -> "ServerVectorStore":
    """A store on the server at `url`, which `ca_file` (or a CA that the machine knows) vouches for."""
    transport = DeadlineTransport(ca_file)
    return ServerVectorStore(QdrantClient(url=url, api_key=api_key, check_compatibility=False, transport=transport))


class ServerVectorStore:
    """All namespaces of one server."""

    def __init__(self, client: QdrantClient) -> None:
        self._client = client
        self._known = Recent[str, bool](_MOST_KNOWN)
        self._dimensions = Recent[str, int](_MOST_KNOWN)
        self._lock = threading.Lock()

    def ensure(self, namespace_id: str, dimension: int) -> None:
        """Make the namespace's collection. Raises ConflictError when it holds vectors of another dimension."""
        name = collection_name(namespace_id)
        present = self._dimensions.get(name, 0)
        if not present:
            with _within(_WRITE_SECONDS), self._alone():
                present = self._dimensions.get(name, 0) or self._prepare(name, dimension)
                self._dimensions.put(name, present)
        if present != dimension:
            raise ConflictError(f"The namespace holds vectors of {present} dimensions, the embedder gives {dimension}.")

    def upsert(self, namespace_id: str, points: Sequence[Point]) -> None:
        """Store points durably. Raises ValueError for a point of another namespace."""
        check_points(namespace_id, points)
        with _within(_WRITE_SECONDS):
            self._client.upsert(collection_name(namespace_id), [_server_point(point) for point in points], wait=True)

    def search(self, namespace_id: str, searches: Sequence[VectorSearch], limit: int) -> list[Hit]:
        """The best `limit` points over all searches."""
        name = collection_name(namespace_id)
        with _within(_READ_SECONDS):
            if not self._exists(name):
                return []
            requests = [_query(namespace_id, search) for search in searches]
            answers = self._client.query_batch_points(name, requests)
        rankings = [
            [Hit(str(point.id), point.score, point.payload or {}) for point in answer.points] for answer in answers
        ]
        return ranked(rankings, searches, limit)

    def scroll(self, namespace_id: str, filter: Filter, limit: int) -> list[Hit]:
        """Up to `limit` points that match, in the order of their ids."""
        name = collection_name(namespace_id)
        with _within(_READ_SECONDS):
            if not self._exists(name):
                return []
            records, _ = self._client.scroll(name, _compiled(namespace_id, filter), limit=limit, with_payload=True)
        return [Hit(str(record.id), 0.0, record.payload or {}) for record in records]

    def read_on(self, namespace_id: str, start: str | None, limit: int) -> tuple[list[Hit], str | None]:
        """Up to `limit` points from the id `start` on, in the order of their ids, and the id where the next begin."""
        name = collection_name(namespace_id)
        with _within(_READ_SECONDS):
            if not self._exists(name):
                return [], None
            inside = _compiled(namespace_id, EVERYTHING)
            records, following = self._client.scroll(name, inside, limit=limit, offset=start, with_payload=True)
        hits = [Hit(str(record.id), 0.0, record.payload or {}) for record in records]
        return hits, None if following is None else str(following)

    def replace_sparse(self, namespace_id: str, vectors: Sequence[TextVector]) -> None:
        """Give points other sparse vectors, durably; one that is gone or holds another text is passed over."""
        updates = [_sparse_update(namespace_id, vector) for vector in vectors]
        with _within(_WRITE_SECONDS):
            if not self._exists(collection_name(namespace_id)):
                return
            # the server ends a request at a point that is gone: then each goes alone
            if not self._updated(namespace_id, updates):
                for update in updates:
                    self._updated(namespace_id, [update])

    def _updated(self, namespace_id: str, updates: Sequence[models.UpdateOperation]) -> bool:
        """False when a point of the updates is gone, or all of them are."""
        try:
            self._client.batch_update_points(collection_name(namespace_id), updates, wait=True)
        except UnexpectedResponse as error:
            if error.status_code != HTTPStatus.NOT_FOUND:
                raise
            return False
        except KeyError:
            # as the client's local mode says it
            return False
        return True

    def delete(self, namespace_id: str, filter: Filter) -> None:
        """Remove the points that match, durably."""
        name = collection_name(namespace_id)
        with _within(_WRITE_SECONDS):
            if self._exists(name):
                selected = models.FilterSelector(filter=_compiled(namespace_id, filter))
                self._client.delete(name, selected, wait=True)

    def drop(self, namespace_id: str) -> bool:
        """Remove the namespace's collection; False when there was none."""
        name = collection_name(namespace_id)
        with _within(_WRITE_SECONDS), self._alone():
            self._known.drop(name)
            self._dimensions.drop(name)
            return self._client.collection_exists(name) and self._client.delete_collection(name)

    def probe(self) -> None:
        """Ask the server for next to nothing. Raises BackendAwayError; any answer will do, a refusal, too."""
        try:
            with _within(_PROBE_SECONDS):
                self._client.collection_exists(_PROBED)
        except BackendAwayError:
            raise
        except UnavailableError:
            return

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One thread at a time. Raises BackendAwayError when the one before waits for the server for too long."""
        if not self._lock.acquire(timeout=max(remaining_seconds(), 0)):
            raise BackendAwayError(Backend.VECTORS)
        try:
            yield
        finally:
            self._lock.release()

    def _exists(self, name: str) -> bool:
        """Whether the collection is there; asked once for each that is."""
        exists = self._known.get(name, False) or self._client.collection_exists(name)
        if exists:
            self._known.put(name, True)
        return exists

    def _prepare(self, name: str, dimension: int) -> int:
        """Create what is missing of the collection; its dimension. Safe to run from several processes at once."""
        if not self._exists(name):
            self._create(name, dimension)
        tenant = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
        self._client.create_payload_index(name, "namespace_id", tenant)
        for field in INDEXED_FIELDS:
            self._client.create_payload_index(name, field, models.PayloadSchemaType.KEYWORD)
        vectors = self._client.get_collection(name).config.params.vectors
        if not isinstance(vectors, dict):
            raise ConflictError("The namespace's collection was not made by Keystage.")
        return vectors[DENSE].size

    def _create(self, name: str, dimension: int) -> None:
        try:
            self._client.create_collection(
                name,
                vectors_config={DENSE: models.VectorParams(size=dimension, distance=models.Distance.COSINE)},
                sparse_vectors_config={SPARSE: models.SparseVectorParams(modifier=models.Modifier.IDF)},
            )
        except UnexpectedResponse as error:
            # another process created it between our look and our call
            if error.status_code != HTTPStatus.CONFLICT:
                raise


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Around one call: its deadline, and what its failure means."""
    try:
        with deadline(seconds):
            yield
    except ResponseHandlingException as error:
        away = absence_in_error(Backend.VECTORS, error.source)
        raise away or _failed(type(error.source).__name__) from error
    except UnexpectedResponse as error:
        raise _refused(error.status_code or 0, error.content) from error
    except QdrantException as error:
        # of a 429: its other errors are of calls that we do not make
        raise UnavailableError("The vector database is busy.") from error
    except (ApiException, OSError) as error:
        raise _failed(type(error).__name__) from error


def _refused(status: int, content: bytes) -> UnavailableError:
    """What an answer with another status than success means. A 408 says that the call itself took too long."""
    if away := absence_in_status(Backend.VECTORS, status):
        return away
    if status == HTTPStatus.INTERNAL_SERVER_ERROR and any(sign in content for sign in _PART_AWAY):
        return BackendAwayError(Backend.VECTORS, "lacks a part of its cluster")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return UnavailableError("The vector database is busy.")
    return _failed(f"HTTP {status}")


def _failed(how: str) -> UnavailableError:
    return UnavailableError(f"The vector database failed: {how}")


def _compiled(namespace_id: str, filter: Filter) -> models.Filter:
    compiled: models.Filter = compile_filter(within_namespace(namespace_id, filter), models)
    return compiled


def _server_sparse(vector: SparseVector) -> models.SparseVector:
    return models.SparseVector(indices=list(vector.indices), values=list(vector.values))


def _server_point(point: Point) -> models.PointStruct:
    vectors: models.VectorStruct = {DENSE: point.dense.tolist(), SPARSE: _server_sparse(point.sparse)}
    return models.PointStruct(id=point.id, vector=vectors, payload=dict(point.payload))


def _sparse_update(namespace_id: str, vector: TextVector) -> models.UpdateVectorsOperation:
    return models.UpdateVectorsOperation(
        update_vectors=models.UpdateVectors(
            points=[models.PointVectors(id=vector.id, vector={SPARSE: _server_sparse(vector.sparse)})],
            update_filter=_compiled(namespace_id, Equals("text", vector.text)),
        )
    )


def _query(namespace_id: str, search: VectorSearch) -> models.QueryRequest:
    sparse = isinstance(search.vector, SparseVector)
    return models.QueryRequest(
        query=_server_sparse(search.vector) if isinstance(search.vector, SparseVector) else search.vector.tolist(),
        using=SPARSE if sparse else DENSE,
        limit=search.limit,
        filter=_compiled(namespace_id, search.filter),
        score_threshold=search.min_score,
        with_payload=True,
    )
