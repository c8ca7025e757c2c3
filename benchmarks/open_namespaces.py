"""`python -m benchmarks.open_namespaces`: what namespaces cost the owner of the vectors, all open or a few."""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import psutil

from core.ids import point_id
from core.storage.vectors.bm25 import document_vector
from core.storage.vectors.edge import EdgeVectorStore
from core.storage.vectors.store import Point

_DIMENSION = 384


def main(namespaces: int, open_at_most: int) -> None:
    """Write one point into each namespace, with every namespace kept open and with so many."""
    for kept in (namespaces, open_at_most):
        with tempfile.TemporaryDirectory(prefix="ks-namespaces-") as directory:
            store = EdgeVectorStore(Path(directory), open_at_most=kept)
            for number in range(namespaces):
                _write(store, f"ns_{number}")
            process = psutil.Process()
            memory = process.memory_full_info().uss / 2**20
            print(f"{namespaces} namespaces, {kept} open: {memory:.0f} MB, {process.num_threads()} threads", flush=True)
            store.close()


def _write(store: EdgeVectorStore, namespace_id: str) -> None:
    payload = {"namespace_id": namespace_id, "text": "bread"}
    vector = np.ones(_DIMENSION, dtype=np.float32)
    store.ensure(namespace_id, _DIMENSION)
    store.upsert(namespace_id, [Point(point_id(namespace_id), vector, document_vector("bread"), payload)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--namespaces", type=int, default=60)
    parser.add_argument("--open", type=int, default=8)
    given = parser.parse_args()
    main(given.namespaces, given.open)
