"""How many points a vector store has of a namespace: what tests ask, and the product never does."""

from core.storage.vectors.filters import EVERYTHING, Filter
from core.storage.vectors.store import VectorStore

_MOST = 1000


def point_count(store: VectorStore, namespace_id: str, filter: Filter = EVERYTHING) -> int:
    """How many points of the namespace match; a thousand at most."""
    return len(store.scroll(namespace_id, filter, _MOST))
