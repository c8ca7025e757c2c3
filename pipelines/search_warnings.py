"""What of a query did not count: a search by words that has none, a text that is longer than the model reads. It finds
nothing itself; `docs/search.md` tells customers.
"""

from collections.abc import Iterator, Sequence

from core.retrievers.parameters_search import Search
from core.storage.vectors.store import DenseVector, SparseVector
from core.words import query_words
from pipelines.embedders.embedder import Embedder


def search_warnings(
    searches: Sequence[Search], vectors: Sequence[DenseVector | SparseVector], embedder: Embedder
) -> list[str]:
    """A sentence for each search of which a part, or all, did not count; each names the search by its place."""
    asked = list(enumerate(zip(searches, vectors, strict=True)))
    silent = {place for place, (_, vector) in asked if isinstance(vector, SparseVector) and not vector.indices}
    answering = ", ".join(_named(place, search) for place, (search, _) in asked if place not in silent)
    warnings: list[str] = []
    for place, (search, _) in asked:
        name, text = _named(place, search), search.query.value
        if place in silent:
            answered = f" The answer is that of {answering}." if answering else ""
            warnings.append(f"{name} found nothing: {_why_silent(str(text))}{answered}")
        elif isinstance(text, str) and not search.lexical:
            warnings += [f"{name} {fault}" for fault in _unread(text, embedder)]
    return warnings


def _named(place: int, search: Search) -> str:
    return f"searches[{place}] (by {'words' if search.lexical else 'meaning'})"


def _why_silent(text: str) -> str:
    but = " but stop words, such as 'the' and 'of'" if query_words(text) else ""
    return f"its query has no words{but}."


def _unread(text: str, embedder: Embedder) -> Iterator[str]:
    if not embedder.knows(text):
        yield f"ranks by nothing: {embedder.name} knows no part of its query."
    (read,) = embedder.characters_read([text])
    if read < len(text):
        yield f"read the first {read} of the {len(text)} characters of its query: {embedder.name} reads no more."
