"""Which stages exist: one line each. No discovery; a stage that is not here is not available."""

from collections.abc import Mapping
from typing import Any, Final

from pipelines.stage import Stage
from pipelines.stages.attribute_filter import attribute_filter
from pipelines.stages.feature_search import feature_search
from pipelines.stages.limit import limit
from pipelines.stages.sort_attribute import sort_attribute
from pipelines.stages.sort_relevance import sort_relevance

STAGES: Final[Mapping[str, Stage[Any]]] = {
    "feature_search": feature_search,
    "attribute_filter": attribute_filter,
    "sort_relevance": sort_relevance,
    "sort_attribute": sort_attribute,
    "limit": limit,
}
"""Stage id → the code. `core/retrievers/parameters.py` has the parameters of each."""

FINDING_STAGES: Final = frozenset({"feature_search", "attribute_filter"})
"""Stages that can come first: they find documents themselves."""
