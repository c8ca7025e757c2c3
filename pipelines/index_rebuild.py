"""Writes lexical vectors anew from the texts beside them, a page at a time. It leaves dense vectors as they are."""

from dataclasses import dataclass

from core.storage.vectors.bm25 import document_vector
from core.storage.vectors.store import TextVector, VectorStore

_POINTS_A_PAGE = 500


@dataclass(frozen=True)
class RebuiltPage:
    """What became of one page."""

    points: int
    following: str | None
    """where the next page begins; None after the last one"""


def rebuild_page(vectors: VectorStore, namespace_id: str, start: str | None) -> RebuiltPage:
    """Rewrite the points from `start` on. A document that changes or goes meanwhile is passed over: what is written now
    has the new form already."""
    hits, following = vectors.read_on(namespace_id, start, _POINTS_A_PAGE)
    texts = [(hit.id, hit.payload.get("text")) for hit in hits]
    rewritten = [TextVector(id, text, document_vector(text)) for id, text in texts if isinstance(text, str)]
    vectors.replace_sparse(namespace_id, rewritten)
    return RebuiltPage(len(hits), following)
