"""What every vector store must do: on the engine in process, on the client's local mode, a server if one is named."""

import os
import uuid
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import qdrant_edge
from qdrant_client import QdrantClient, models

from core.errors import ConflictError, UnavailableError
from core.ids import Prefix, random_id
from core.retrievers.parameters_search import AttributeFilter
from core.storage.vectors.bm25 import document_vector, query_vector
from core.storage.vectors.edge import EdgeVectorStore
from core.storage.vectors.filters import AnyOf, Between, Equals, Filter, Not, Some
from core.storage.vectors.server import ServerVectorStore
from core.storage.vectors.store import (
    DENSE,
    SPARSE,
    Point,
    TextVector,
    VectorSearch,
    VectorStore,
    collection_name,
)
from pipelines.embedders.embedder import Embedder
from pipelines.stage import StageContext, StageInput
from pipelines.stages.attribute_filter import attribute_filter
from tests.filter_table import rows, stored_values
from tests.points import point_count
from tests.unit.retrievers.test_filters import IN_ORDER

# what the local mode says of itself: it has no indexes, and it is one process's own
pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")

DIMENSION = 4
SERVER = os.environ.get("KEYSTAGE_QDRANT_URL")

Smuggle = Callable[[str, Point], None]
"""Writes a point into a namespace's place by the raw engine, past our store."""


@pytest.fixture(
    params=[
        "edge",
        "local",
        pytest.param("server", marks=pytest.mark.skipif(not SERVER, reason="no KEYSTAGE_QDRANT_URL")),
    ]
)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[VectorStore, Smuggle]]:
    """A store, and a way round it."""
    if request.param == "edge":
        edge = EdgeVectorStore(tmp_path)
        yield edge, lambda name, point: _smuggle_edge(edge, name, point)
        edge.close()
    else:
        client = QdrantClient(url=SERVER) if request.param == "server" else QdrantClient(":memory:")
        server = ServerVectorStore(client)
        yield server, lambda name, point: _smuggle_server(client, name, point)
        server.close()


@pytest.fixture
def store(engine: tuple[VectorStore, Smuggle]) -> VectorStore:
    """The store alone."""
    return engine[0]


@pytest.fixture
def namespace() -> str:
    """A namespace nobody else uses."""
    return random_id(Prefix.NAMESPACE)


def point(namespace: str, number: int, text: str = "", **payload: Any) -> Point:
    """A point whose dense vector leans towards axis `number` and whose sparse vector is of `text`."""
    dense = np.full(DIMENSION, 0.1, np.float32)
    dense[number % DIMENSION] = 1.0
    fields = {"namespace_id": namespace, "number": number, "text": text, **payload}
    return Point(str(uuid.UUID(int=number)), dense, document_vector(text), fields)


def axis(number: int) -> Any:
    """The dense query that points along one axis."""
    vector = np.zeros(DIMENSION, np.float32)
    vector[number] = 1.0
    return vector


def numbers(hits: Any) -> list[int]:
    """Which points these are."""
    return [hit.payload["number"] for hit in hits]


def test_a_namespace_without_vectors_is_empty_not_an_error(store: VectorStore, namespace: str) -> None:
    assert store.search(namespace, [VectorSearch(axis(0), 5)], 5) == []
    assert store.scroll(namespace, Equals("text", "x"), 5) == []
    assert point_count(store, namespace) == 0
    store.delete(namespace, Equals("text", "x"))


def test_dense_search_ranks_by_cosine(store: VectorStore, namespace: str) -> None:
    store.ensure(namespace, DIMENSION)
    store.upsert(namespace, [point(namespace, number) for number in range(4)])
    hits = store.search(namespace, [VectorSearch(axis(2), 4)], 4)
    assert numbers(hits)[0] == 2
    assert hits[0].score == pytest.approx(1 / np.sqrt(1.03), abs=1e-5)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert hits[0].id == str(uuid.UUID(int=2))


def test_min_score_and_limit_bound_a_ranking(store: VectorStore, namespace: str) -> None:
    store.ensure(namespace, DIMENSION)
    store.upsert(namespace, [point(namespace, number) for number in range(4)])
    assert numbers(store.search(namespace, [VectorSearch(axis(1), 4, min_score=0.9)], 4)) == [1]
    assert len(store.search(namespace, [VectorSearch(axis(1), 3)], 2)) == 2


def test_sparse_search_weighs_rare_words_more(store: VectorStore, namespace: str) -> None:
    store.ensure(namespace, DIMENSION)
    texts = ["common rotation", "common words", "common speech", "common vault"]
    store.upsert(namespace, [point(namespace, number, text) for number, text in enumerate(texts)])
    hits = store.search(namespace, [VectorSearch(query_vector("common vaults"), 4)], 4)
    assert numbers(hits)[0] == 3
    # without the inverse document frequency the two words of the best hit would count alike
    assert hits[0].score > 3 * hits[1].score
    assert store.search(namespace, [VectorSearch(query_vector("unheard"), 4)], 4) == []


def test_several_searches_are_fused_by_reciprocal_rank(store: VectorStore, namespace: str) -> None:
    store.ensure(namespace, DIMENSION)
    store.upsert(namespace, [point(namespace, 0, "alpha"), point(namespace, 1, "beta"), point(namespace, 2, "gamma")])
    dense, sparse = VectorSearch(axis(0) + axis(1) / 2, 2), VectorSearch(query_vector("beta"), 2, weight=3.0)
    hits = store.search(namespace, [dense, sparse], 3)
    scores = {hit.payload["number"]: hit.score for hit in hits}
    assert scores[1] == pytest.approx(3 / 61 + 1 / 62)
    assert scores[0] == pytest.approx(1 / 61)
    assert numbers(hits) == [1, 0]


def test_the_same_id_overwrites(store: VectorStore, namespace: str) -> None:
    store.ensure(namespace, DIMENSION)
    store.upsert(namespace, [point(namespace, 1, "old")])
    store.upsert(namespace, [point(namespace, 1, "new")])
    assert point_count(store, namespace) == 1
    assert store.scroll(namespace, Equals("text", "new"), 5)[0].payload["text"] == "new"
    assert store.search(namespace, [VectorSearch(query_vector("old"), 4)], 4) == []


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (Equals("color", "red"), {0, 3}),
        (Equals("color", "blue"), {1, 3}),
        (AnyOf("color", ("green", "blue")), {1, 2, 3}),
        (Between("price", at_least=2.0, below=4.5), {2, 3}),
        (Between("price", above=2.0, at_most=4.5), {3}),
        (Not(Equals("color", "red")), {1, 2}),
        (Not(Equals("missing", "x")), {0, 1, 2, 3}),
        (Some((Equals("color", "green"), Between("price", at_most=1.0))), {0, 1, 2}),
        (Equals("author.name", "Ada"), {1}),
        (Not(Some((Equals("color", "red"), Equals("color", "green")))), {1}),
    ],
)
def test_filters_choose_points(store: VectorStore, namespace: str, filter: Filter, expected: set[int]) -> None:
    store.ensure(namespace, DIMENSION)
    fields: list[dict[str, Any]] = [
        {"color": "red", "price": 0},
        {"color": "blue", "price": 1.0, "author": {"name": "Ada"}},
        {"color": "green", "price": 2},
        {"color": ["red", "blue"], "price": 4.5 - 0.25},
    ]
    store.upsert(namespace, [point(namespace, number, **extra) for number, extra in enumerate(fields)])
    assert set(numbers(store.scroll(namespace, filter, 10))) == expected
    assert set(numbers(store.search(namespace, [VectorSearch(axis(0), 10, filter)], 10))) == expected
    assert point_count(store, namespace, filter) == len(expected)
    store.delete(namespace, filter)
    assert point_count(store, namespace) == 4 - len(expected)


def passed(store: VectorStore, namespace: str, condition: dict[str, Any], found: Any = None) -> set[int]:
    """Numbers of the documents that an attribute_filter finds, or keeps of those that were found."""
    context = StageContext(namespace, ("col_1",), store, cast(Embedder, None))
    given = StageInput(AttributeFilter.model_validate({"conditions": condition}), found)
    return {document["number"] for document in attribute_filter(given, context).documents}


def test_the_table_of_the_documentation_holds_on_every_path(store: VectorStore, namespace: str) -> None:
    store.ensure(namespace, DIMENSION)
    fields = [{"collection_id": "col_1", **document} for document in stored_values()]
    store.upsert(namespace, [point(namespace, number, **extra) for number, extra in enumerate(fields)])
    documents = [{"number": number, **extra} for number, extra in enumerate(fields)]
    for condition, expected in rows():
        if None not in expected:
            wanted = {number for number, passes in enumerate(expected) if passes}
            assert passed(store, namespace, condition) == wanted, condition
            assert passed(store, namespace, condition, documents) == wanted, condition
            others = set(range(len(fields))) - wanted
            assert passed(store, namespace, {"NOT": condition}) == others, condition
            assert passed(store, namespace, {"OR": [condition, condition]}) == wanted, condition


@pytest.mark.parametrize("asked", ["x", 1])
def test_a_path_goes_into_objects_and_not_into_lists_on_every_path(
    store: VectorStore, namespace: str, asked: str | int
) -> None:
    store.ensure(namespace, DIMENSION)
    values: list[Any] = [
        {"a": asked},
        [{"a": asked}],
        {"a": [asked, None]},
        {"a": [[asked]]},
        [],
        {"a": {"a": asked}},
        "x",
    ]
    fields = [{"f": value, "collection_id": "col_1"} for value in values]
    store.upsert(namespace, [point(namespace, number, **extra) for number, extra in enumerate(fields)])
    for operator, wanted in (("eq", {0, 2}), ("ne", {1, 3, 4, 5, 6})):
        condition = {"field": "f.a", "operator": operator, "value": asked}
        assert passed(store, namespace, condition) == wanted
        assert passed(store, namespace, {"NOT": condition}) == set(range(len(values))) - wanted
    within = {"field": "f.a", "operator": "in", "value": [asked, "other"]}
    assert passed(store, namespace, within) == {0, 2}


def test_narrowing_by_the_engine_loses_no_date(
    store: VectorStore, namespace: str, request: pytest.FixtureRequest
) -> None:
    local = request.node.callspec.params["engine"] == "local"
    # the local mode is Python's, which has no leap seconds; the engine and the server share theirs
    texts = [text for row in IN_ORDER for text in row if not (local and ":60" in text)]
    store.ensure(namespace, DIMENSION)
    store.upsert(namespace, [point(namespace, n, f=[text], collection_id="col_1") for n, text in enumerate(texts)])
    documents = [{"number": number, "f": [text]} for number, text in enumerate(texts)]
    for operator, asked in product(("eq", "ne", "gt", "gte", "lt", "lte"), texts):
        condition = {"field": "f", "operator": operator, "value": asked}
        wanted = passed(store, namespace, condition, documents)
        assert passed(store, namespace, condition) == wanted, condition
        assert passed(store, namespace, {"NOT": [condition]}) == set(range(len(texts))) - wanted, condition


def test_scroll_goes_by_id_up_to_its_limit(store: VectorStore, namespace: str) -> None:
    store.ensure(namespace, DIMENSION)
    store.upsert(namespace, [point(namespace, number) for number in (3, 1, 2)])
    assert numbers(store.scroll(namespace, Between("number", at_least=0), 2)) == [1, 2]


def test_all_points_are_read_in_pages_by_their_ids(store: VectorStore, namespace: str) -> None:
    assert store.read_on(namespace, None, 2) == ([], None)
    store.ensure(namespace, DIMENSION)
    store.upsert(namespace, [point(namespace, number) for number in (5, 1, 3)])
    first, then = store.read_on(namespace, None, 2)
    assert (numbers(first), then) == ([1, 3], str(uuid.UUID(int=5)))
    store.delete(namespace, Between("number", at_least=5))
    store.upsert(namespace, [point(namespace, 7)])
    last, end = store.read_on(namespace, then, 2)
    assert (numbers(last), end) == ([7], None)


def test_a_sparse_vector_is_replaced_only_where_its_text_still_stands(
    engine: tuple[VectorStore, Smuggle], namespace: str
) -> None:
    store, smuggle = engine
    store.replace_sparse(namespace, [TextVector(str(uuid.UUID(int=1)), "old", query_vector("new"))])
    store.ensure(namespace, DIMENSION)
    foreign = random_id(Prefix.NAMESPACE)
    store.upsert(namespace, [point(namespace, 1, "first"), point(namespace, 2, "changed since")])
    smuggle(namespace, point(foreign, 4, "fourth"))
    before = store.search(namespace, [VectorSearch(axis(1), 9)], 9)
    texts = {1: "first", 2: "second", 3: "deleted since", 4: "fourth"}
    store.replace_sparse(
        namespace, [TextVector(str(uuid.UUID(int=n)), text, document_vector("rewritten")) for n, text in texts.items()]
    )
    assert numbers(store.search(namespace, [VectorSearch(query_vector("rewritten"), 9)], 9)) == [1]
    assert store.search(namespace, [VectorSearch(query_vector("first"), 9)], 9) == []
    assert numbers(store.search(namespace, [VectorSearch(query_vector("changed"), 9)], 9)) == [2]
    # to the last bit, and no payload either
    assert store.search(namespace, [VectorSearch(axis(1), 9)], 9) == before


def test_a_point_of_another_namespace_is_never_seen_counted_or_deleted(
    engine: tuple[VectorStore, Smuggle], namespace: str
) -> None:
    store, smuggle = engine
    foreign = random_id(Prefix.NAMESPACE)
    store.ensure(namespace, DIMENSION)
    store.upsert(namespace, [point(namespace, 1, "harbor")])
    smuggle(namespace, point(foreign, 2, "lighthouse"))
    rankings = [VectorSearch(axis(2), 10), VectorSearch(query_vector("lighthouse harbor"), 10)]
    everything = Not(Equals("text", "nothing"))
    for searches in ([rankings[0]], [rankings[1]], rankings):
        assert numbers(store.search(namespace, searches, 10)) == [1]
    assert numbers(store.scroll(namespace, everything, 10)) == [1]
    assert numbers(store.read_on(namespace, None, 10)[0]) == [1]
    assert point_count(store, namespace) == 1
    store.delete(namespace, Some((Equals("text", "lighthouse"), Equals("namespace_id", foreign))))
    smuggle(namespace, point(namespace, 3, "witness"))
    assert set(numbers(store.scroll(namespace, everything, 10))) == {1, 3}


def test_a_filter_cannot_open_the_second_lock(engine: tuple[VectorStore, Smuggle], namespace: str) -> None:
    store, smuggle = engine
    foreign = random_id(Prefix.NAMESPACE)
    store.ensure(namespace, DIMENSION)
    smuggle(namespace, point(foreign, 2, "lighthouse"))
    opened = Some((Equals("namespace_id", foreign), Equals("namespace_id", namespace)))
    assert store.scroll(namespace, opened, 10) == []
    assert store.search(namespace, [VectorSearch(axis(2), 10, opened)], 10) == []


def test_one_namespace_does_not_see_the_other(store: VectorStore, namespace: str) -> None:
    other = random_id(Prefix.NAMESPACE)
    for name, number in ((namespace, 1), (other, 2)):
        store.ensure(name, DIMENSION)
        store.upsert(name, [point(name, number)])
    assert numbers(store.search(other, [VectorSearch(axis(1), 10)], 10)) == [2]
    assert point_count(store, namespace) == 1


def test_a_point_that_says_another_namespace_is_refused(store: VectorStore, namespace: str) -> None:
    store.ensure(namespace, DIMENSION)
    with pytest.raises(ValueError, match="namespace_id"):
        store.upsert(namespace, [point(random_id(Prefix.NAMESPACE), 1)])


def test_a_dropped_namespace_is_empty_and_can_be_made_anew(store: VectorStore, namespace: str) -> None:
    other = random_id(Prefix.NAMESPACE)
    assert not store.drop(namespace)
    for name in (namespace, other):
        store.ensure(name, DIMENSION)
        store.upsert(name, [point(name, 1)])
    assert store.drop(namespace)
    assert not store.drop(namespace)
    assert (point_count(store, namespace), point_count(store, other)) == (0, 1)
    assert store.search(namespace, [VectorSearch(axis(1), 10)], 10) == []
    store.ensure(namespace, DIMENSION + 1)
    assert point_count(store, namespace) == 0


def test_another_dimension_is_refused(store: VectorStore, namespace: str) -> None:
    store.ensure(namespace, DIMENSION)
    store.ensure(namespace, DIMENSION)
    with pytest.raises(ConflictError, match="4 dimensions"):
        store.ensure(namespace, DIMENSION + 1)


def test_a_shard_survives_its_owner_and_is_owned_by_one(tmp_path: Path, namespace: str) -> None:
    first = EdgeVectorStore(tmp_path)
    first.ensure(namespace, DIMENSION)
    first.upsert(namespace, [point(namespace, 1, "kept")])
    second = EdgeVectorStore(tmp_path)
    with pytest.raises(UnavailableError):
        point_count(second, namespace)
    first.close()
    assert point_count(second, namespace) == 1
    second.close()


def test_half_made_shards_are_made_again(tmp_path: Path, namespace: str) -> None:
    (tmp_path / (collection_name(namespace) + ".new") / "segments").mkdir(parents=True)
    store = EdgeVectorStore(tmp_path)
    store.ensure(namespace, DIMENSION)
    assert point_count(store, namespace) == 0
    store.close()


def test_a_drop_that_was_killed_is_ended_by_the_next(tmp_path: Path, namespace: str) -> None:
    half = tmp_path / (collection_name(namespace) + ".dropped")
    (half / "segments").mkdir(parents=True)
    store = EdgeVectorStore(tmp_path)
    assert point_count(store, namespace) == 0
    assert not store.drop(namespace)
    assert not half.exists()
    store.close()


def test_a_server_that_is_away_is_unavailable(namespace: str) -> None:
    store = ServerVectorStore(QdrantClient(url="http://127.0.0.1:9", check_compatibility=False, timeout=1))
    with pytest.raises(UnavailableError):
        point_count(store, namespace)
    store.close()


def _smuggle_edge(store: EdgeVectorStore, namespace: str, foreign: Point) -> None:
    vectors = {
        DENSE: foreign.dense.tolist(),
        SPARSE: qdrant_edge.SparseVector(list(foreign.sparse.indices), list(foreign.sparse.values)),
    }
    raw = qdrant_edge.Point(id=foreign.id, vector=vectors, payload=dict(foreign.payload))
    with store._opened(namespace) as shard:
        assert shard is not None
        shard.update(qdrant_edge.UpdateOperation.upsert_points([raw]))


def _smuggle_server(client: QdrantClient, namespace: str, foreign: Point) -> None:
    sparse = models.SparseVector(indices=list(foreign.sparse.indices), values=list(foreign.sparse.values))
    raw = models.PointStruct(
        id=foreign.id, vector={DENSE: foreign.dense.tolist(), SPARSE: sparse}, payload=dict(foreign.payload)
    )
    client.upsert(collection_name(namespace), [raw])
