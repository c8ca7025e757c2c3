"""`feature_search`: finds documents by meaning, by words, or by several of both fused to one ranking."""

import numpy as np

from core.errors import StageError
from core.retrievers.parameters import FeatureSearch, Search
from core.storage.vectors.bm25 import query_vector
from core.storage.vectors.filters import All, AnyOf
from core.storage.vectors.store import DenseVector, SparseVector, VectorSearch
from pipelines.stage import StageContext, StageInput, StageOutput, document_of


def feature_search(stage: StageInput[FeatureSearch], context: StageContext) -> StageOutput:
    """The best documents of the retriever's collections; after another stage, the best of its documents."""
    earlier = stage.documents
    among = (AnyOf("document_id", tuple(found["document_id"] for found in earlier)),) if earlier is not None else ()
    asked = [
        VectorSearch(
            vector=_query_vector(search, context),
            limit=search.top_k,
            filter=All((AnyOf("collection_id", _collections(search, context)), *among)),
            min_score=search.min_score,
            weight=search.weight,
        )
        for search in stage.parameters.searches
    ]
    hits = context.vectors.search(context.namespace_id, asked, stage.parameters.final_top_k)
    return StageOutput([document_of(hit.payload, hit.score) for hit in hits])


def _query_vector(search: Search, context: StageContext) -> DenseVector | SparseVector:
    value = search.query.value
    if isinstance(value, list):
        dimension = context.embedder.dimension
        if len(value) != dimension:
            raise StageError(f"The query vector has {len(value)} numbers; the feature has {dimension}.")
        return np.array(value, np.float32)
    if search.lexical:
        return query_vector(value)
    vector: DenseVector = context.embedder.embed([value])[0]
    return vector


def _collections(search: Search, context: StageContext) -> tuple[str, ...]:
    wanted = search.collection_identifiers
    if wanted is None:
        return context.collection_ids
    if foreign := [name for name in wanted if name not in context.collection_ids]:
        raise StageError(f"{foreign[0]!r} is not the id of one of this retriever's collections.")
    return tuple(wanted)
