"""Every published stage id with its category, and the older names. Which of them exist here, `parameters.py` says."""

from enum import StrEnum
from typing import Final


class StageCategory(StrEnum):
    """What a stage does to the list of documents."""

    FILTER = "filter"
    SORT = "sort"
    REDUCE = "reduce"
    APPLY = "apply"
    ENRICH = "enrich"


_BY_CATEGORY: Final = {
    StageCategory.FILTER: "feature_search attribute_filter llm_filter query_expand agent_search",
    StageCategory.SORT: "sort_relevance sort_attribute mmr rerank score_normalize maxsim_rerank",
    StageCategory.REDUCE: (
        "limit deduplicate sample aggregate summarize temporal score_threshold moment_group group_by cluster"
    ),
    StageCategory.APPLY: (
        "json_transform rag_prepare api_call sql_lookup external_web_search external_reverse_image web_scrape"
        " cross_compare unwind"
    ),
    StageCategory.ENRICH: "code_execution llm_enrich taxonomy_enrich document_enrich agentic_enrich",
}

CATALOGUE: Final = {
    stage_id: category for category, stage_ids in _BY_CATEGORY.items() for stage_id in stage_ids.split()
}
"""Stage id to category."""

OLDER_NAMES: Final = {
    "semantic_search": "feature_search",
    "hybrid_search": "feature_search",
    "structured_filter": "attribute_filter",
    "sort_by_field": "sort_attribute",
    "llm_enrichment": "llm_enrich",
    "learned_rerank": "rerank",
}
"""Stage ids of earlier pages, and what they are called now."""
