"""Writes lexical vectors anew from the texts beside them, a page at a time. It leaves dense vectors as they are."""

from dataclasses import dataclass

from core.storage.vectors.bm25 import document_vector
from core.storage.vectors.store import TextVector, VectorStore

_POINTS_A_PAGE = 500
_POINTS_READ_AT_ONCE = 20
_CHARACTERS_A_PAGE = 8 * 1024 * 1024
"""A page ends behind them: a collection that does not split its texts has documents of megabytes."""


@dataclass(frozen=True)
class RebuiltPage:
    """What became of one page."""

    points: int
    following: str | None
    """where the next page begins; None after the last one"""


def rebuild_page(vectors: VectorStore, namespace_id: str, start: str | None) -> RebuiltPage:
    """Rewrite the points from `start` on. A document that changes or goes meanwhile is passed over: what is written now
    has the new form already."""
    points = characters = 0
    following = start
    rewritten: list[TextVector] = []
    while points < _POINTS_A_PAGE and characters < _CHARACTERS_A_PAGE:
        hits, following = vectors.read_on(namespace_id, following, _POINTS_READ_AT_ONCE)
        texts = [(hit.id, hit.payload.get("text")) for hit in hits]
        rewritten += [TextVector(id, text, document_vector(text)) for id, text in texts if isinstance(text, str)]
        points += len(hits)
        characters += sum(len(text) for _, text in texts if isinstance(text, str))
        if following is None:
            break
    vectors.replace_sparse(namespace_id, rewritten)
    return RebuiltPage(points, following)
