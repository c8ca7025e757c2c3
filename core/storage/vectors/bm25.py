"""Texts as BM25 sparse vectors, by Qdrant's own tokenizer, stop words and stemmer; the same for every engine.

The inverse document frequency is not in them: the engine adds it from the namespace's own texts.
"""

from functools import cache

from qdrant_edge import Bm25

from core.storage.vectors.store import SparseVector


def document_vector(text: str) -> SparseVector:
    """A text to be found: saturated term frequencies."""
    vector = _model().embed_document(text)
    return SparseVector(tuple(vector.indices), tuple(vector.values))


def query_vector(text: str) -> SparseVector:
    """A text to search with: each term counts once."""
    vector = _model().embed_query(text)
    return SparseVector(tuple(vector.indices), tuple(vector.values))


@cache
def _model() -> Bm25:
    return Bm25()
