"""Feature searches as stages need them: within the retriever's collections, and among documents of an earlier stage."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import StageError
from core.retrievers.parameters_search import FeatureSearch, Search
from core.storage.vectors.bm25 import query_vector
from core.storage.vectors.filters import All, AnyOf
from core.storage.vectors.store import DenseVector, Hit, SparseVector, VectorSearch
from pipelines.search_warnings import search_warnings
from pipelines.stage import Document, StageContext


@dataclass(frozen=True)
class Found:
    """The best hits, and what of the searches did not count."""

    hits: list[Hit]
    warnings: list[str]


def find(parameters: FeatureSearch, among: Sequence[Document] | None, context: StageContext) -> Found:
    """The best hits, of `among` only unless that is None. Raises StageError."""
    known = (AnyOf("document_id", tuple(found["document_id"] for found in among)),) if among is not None else ()
    asked = [
        VectorSearch(
            vector=_query_vector(search, context),
            limit=search.top_k,
            filter=All((AnyOf("collection_id", _collections(search, context)), *known)),
            min_score=search.min_score,
            weight=search.weight,
        )
        for search in parameters.searches
    ]
    hits = context.vectors.search(context.namespace_id, asked, parameters.final_top_k)
    return Found(hits, search_warnings(parameters.searches, [one.vector for one in asked], context.embedder))


def _query_vector(search: Search, context: StageContext) -> DenseVector | SparseVector:
    value = search.query.value
    if isinstance(value, list):
        dimension = context.embedder.dimension
        if len(value) != dimension:
            raise StageError(f"The query vector has {len(value)} numbers; the feature has {dimension}.")
        return np.array(value, np.float32)
    if search.lexical:
        return query_vector(value, context.index_form)
    vector: DenseVector = context.embedder.embed([value])[0]
    return vector


def _collections(search: Search, context: StageContext) -> tuple[str, ...]:
    wanted = search.collection_identifiers
    if wanted is None:
        return context.collection_ids
    if foreign := [name for name in wanted if name not in context.collection_ids]:
        raise StageError(f"{foreign[0]!r} is not the id of one of this retriever's collections.")
    return tuple(wanted)
