"""Texts as BM25 sparse vectors: our words under Qdrant's stop words, English stemmer and weights, on every engine.

The inverse document frequency is not in them: the engine adds it from the namespace's own texts.
"""

from collections.abc import Iterable
from functools import cache

from qdrant_edge import Bm25, Bm25Config, TokenizerType

from core.storage.vectors.store import SparseVector
from core.words import INDEX_FORM, document_words, query_words


def document_vector(text: str) -> SparseVector:
    """A text to be found: saturated term frequencies."""
    vector = _model().embed_document(" ".join(document_words(text)))
    return SparseVector(tuple(vector.indices), tuple(vector.values))


def query_vector(text: str, index_form: int = INDEX_FORM) -> SparseVector:
    """A text to search with: each term counts once. With an `index_form` of before, the terms of both forms.

    Empty when the text has no words, or none but stop words.
    """
    terms = _terms(_model(), " ".join(query_words(text)))
    if index_form != INDEX_FORM:
        terms |= _terms(_first_model(), text)
    return SparseVector(tuple(sorted(terms)), (1.0,) * len(terms))


def _terms(model: Bm25, text: str) -> set[int]:
    indices: Iterable[int] = model.embed_query(text).indices
    return set(indices)


@cache
def _model() -> Bm25:
    # the words are cut already
    return Bm25(Bm25Config(tokenizer=TokenizerType.Whitespace, lowercase=False))


@cache
def _first_model() -> Bm25:
    """As indexes of the first form were written."""
    return Bm25()
