"""Which stages exist: one line each. No discovery; a stage that is not here is not available."""

from collections.abc import Mapping
from typing import Any, Final

from pipelines.stage import Stage
from pipelines.stages.api_call import api_call
from pipelines.stages.attribute_filter import attribute_filter
from pipelines.stages.feature_search import feature_search
from pipelines.stages.json_transform import json_transform
from pipelines.stages.limit import limit
from pipelines.stages.llm_enrich import llm_enrich
from pipelines.stages.llm_filter import llm_filter
from pipelines.stages.query_expand import query_expand
from pipelines.stages.rag_prepare import rag_prepare
from pipelines.stages.sort_attribute import sort_attribute
from pipelines.stages.sort_relevance import sort_relevance
from pipelines.stages.summarize import summarize

STAGES: Final[Mapping[str, Stage[Any]]] = {
    "feature_search": feature_search,
    "attribute_filter": attribute_filter,
    "sort_relevance": sort_relevance,
    "sort_attribute": sort_attribute,
    "limit": limit,
    "llm_enrich": llm_enrich,
    "llm_filter": llm_filter,
    "summarize": summarize,
    "query_expand": query_expand,
    "api_call": api_call,
    "json_transform": json_transform,
    "rag_prepare": rag_prepare,
}
"""Stage id → the code. `core/retrievers/parameters.py` has the parameters of each."""

FINDING_STAGES: Final = frozenset({"feature_search", "attribute_filter", "query_expand"})
"""Stages that can come first: they find documents themselves."""

READING_STAGES: Final = frozenset(
    {"llm_enrich", "llm_filter", "summarize", "api_call", "json_transform", "rag_prepare"}
)
"""Stages that can come first too: they begin with the documents of the retriever's collections."""
