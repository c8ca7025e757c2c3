"""The engine in process keeps a bounded number of namespaces open, and loses nothing by closing the others."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from core.ids import Prefix, point_id, random_id
from core.storage.vectors.bm25 import document_vector
from core.storage.vectors.edge import EdgeVectorStore
from core.storage.vectors.store import Point
from tests.points import point_count

OPEN_AT_MOST = 2
NAMESPACES = [random_id(Prefix.NAMESPACE) for _ in range(5)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EdgeVectorStore]:
    store = EdgeVectorStore(tmp_path, patience_seconds=10, open_at_most=OPEN_AT_MOST)
    yield store
    store.close()


def write(store: EdgeVectorStore, namespace_id: str, number: int) -> None:
    store.ensure(namespace_id, 4)
    payload = {"namespace_id": namespace_id, "text": "bread"}
    vector = np.ones(4, dtype=np.float32)
    store.upsert(namespace_id, [Point(point_id(namespace_id, str(number)), vector, document_vector("bread"), payload)])


def open_shards(directory: Path) -> set[str]:
    """The namespaces of which this process has a file open."""
    files = (Path(file.path) for file in psutil.Process().open_files())
    return {file.relative_to(directory).parts[0] for file in files if file.is_relative_to(directory)}


def test_a_namespace_that_was_closed_is_opened_again_with_all_it_had(store: EdgeVectorStore, tmp_path: Path) -> None:
    for turn in range(2):
        for namespace_id in NAMESPACES:
            write(store, namespace_id, turn)
            assert len(open_shards(tmp_path)) <= OPEN_AT_MOST
    assert [point_count(store, namespace_id) for namespace_id in NAMESPACES] == [2] * len(NAMESPACES)


def test_a_shard_is_not_closed_while_it_is_in_use(store: EdgeVectorStore, tmp_path: Path) -> None:
    write(store, NAMESPACES[0], 0)
    with store._opened(NAMESPACES[0]) as shard:
        for namespace_id in NAMESPACES[1:]:
            write(store, namespace_id, 0)
        assert shard is not None
        assert shard.info().points_count == 1


def test_threads_that_ask_for_more_namespaces_than_may_be_open_all_get_theirs(store: EdgeVectorStore) -> None:
    together = threading.Barrier(8)

    def work(thread: int) -> None:
        together.wait()
        for turn in range(6):
            write(store, NAMESPACES[(thread + turn) % len(NAMESPACES)], thread * 10 + turn)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert sum(point_count(store, namespace_id) for namespace_id in NAMESPACES) == 8 * 6


def test_a_namespace_can_be_removed_while_others_open_and_close(store: EdgeVectorStore) -> None:
    for namespace_id in NAMESPACES:
        write(store, namespace_id, 0)
    assert store.drop(NAMESPACES[0])
    assert not store.drop(NAMESPACES[0])
    assert [point_count(store, namespace_id) for namespace_id in NAMESPACES] == [0, 1, 1, 1, 1]
