"""How much of an index is rewritten at once: so many points, and fewer when their texts are long."""

import uuid
from pathlib import Path

import numpy as np

from core.ids import Prefix, random_id
from core.storage.vectors.bm25 import document_vector, query_vector
from core.storage.vectors.edge import EdgeVectorStore
from core.storage.vectors.store import Point, VectorSearch
from pipelines.index_rebuild import RebuiltPage, rebuild_page


def _filled(store: EdgeVectorStore, texts: list[str]) -> str:
    namespace = random_id(Prefix.NAMESPACE)
    store.ensure(namespace, 4)
    points = [
        Point(
            id=str(uuid.UUID(int=number)),
            dense=np.ones(4, np.float32),
            sparse=document_vector("before"),
            payload={"namespace_id": namespace, "document_id": str(number), "text": text},
        )
        for number, text in enumerate(texts, 1)
    ]
    store.upsert(namespace, points)
    return namespace


def _pages(store: EdgeVectorStore, namespace: str) -> list[RebuiltPage]:
    pages = [rebuild_page(store, namespace, None)]
    while pages[-1].following is not None:
        pages.append(rebuild_page(store, namespace, pages[-1].following))
    return pages


def test_short_texts_are_one_page_of_five_hundred(tmp_path: Path) -> None:
    store = EdgeVectorStore(tmp_path)
    namespace = _filled(store, ["harbor"] * 510)
    assert [page.points for page in _pages(store, namespace)] == [500, 10]
    assert len(store.search(namespace, [VectorSearch(query_vector("harbor"), 1000)], 1000)) == 510
    assert store.search(namespace, [VectorSearch(query_vector("before"), 9)], 9) == []
    store.close()


def test_a_page_of_long_texts_ends_early(tmp_path: Path) -> None:
    store = EdgeVectorStore(tmp_path)
    namespace = _filled(store, ["harbor" + " " * 1024 * 1024] * 42)
    assert [page.points for page in _pages(store, namespace)] == [20, 20, 2]
    store.close()
