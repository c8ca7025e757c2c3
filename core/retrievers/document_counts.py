"""How many documents each stage of a chain gets, before anything has run. Pure.

What is held for models and what the chain hands on go by the same functions, so neither can differ from the other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from core.retrievers.parameters_apply import JsonTransform
from core.retrievers.parameters_llm import Asking, LlmEnrich, LlmFilter, QueryExpand, Summarize
from core.retrievers.parameters_search import MOST_DOCUMENTS, AttributeFilter, FeatureSearch, Limit


@dataclass(frozen=True)
class Step:
    """One stage, as far as it decides about numbers of documents."""

    parameters: BaseModel | None
    """None when they cannot be read: the stage fails as soon as it is reached"""
    may_be_skipped: bool
    """whether the next stage gets this one's documents when it fails"""


def most_wanted(steps: Sequence[Step], limit: int) -> list[int | None]:
    """For each stage how many of its first documents can be among the `limit` that are shown, or change them.

    None where all can, and for stages that ask no model: their work is not paid for.
    """
    wanted: int | None = limit
    found: list[int | None] = []
    for step in reversed(steps):
        wanted = _wanted_before(step.parameters, wanted)
        found.append(wanted if isinstance(step.parameters, Asking) else None)
    return found[::-1]


def most_documents(steps: Sequence[Step], limit: int, most_found: int = MOST_DOCUMENTS) -> list[int]:
    """For each stage the most documents that it can get; the first one begins with `limit` unless it finds its own.

    `most_found` is the most that there are to be found.
    """
    return list(_incoming(steps, limit, most_found))


def _incoming(steps: Sequence[Step], limit: int, most_found: int) -> Iterator[int]:
    found, may_find = min(limit, most_found), True
    for step, wanted in zip(steps, most_wanted(steps, limit), strict=True):
        incoming = found if wanted is None else min(found, wanted)
        yield incoming
        found = min(most_found, _given_on(step.parameters, incoming, may_find))
        finds = isinstance(step.parameters, FeatureSearch | QueryExpand | AttributeFilter)
        if step.may_be_skipped and not (may_find and finds):
            found = max(found, incoming)
        # one that was skipped leaves it to the next to find something
        may_find = may_find and step.may_be_skipped and (finds or step.parameters is None)


def _wanted_before(parameters: BaseModel | None, after: int | None) -> int | None:
    """How many documents a stage needs so that its first `after` are right."""
    match parameters:
        case LlmEnrich(on_error="remove"):
            return None
        case LlmEnrich() | Summarize(mode="per_document") | JsonTransform(fail_on_error=True):
            # document for document, in their order
            return after
        case LlmFilter() if not parameters.criteria.strip():
            return after
        case Limit():
            return parameters.offset + (parameters.limit if after is None else min(parameters.limit, after))
    # filters and sorting choose among all, summaries read all, and whom `api_call` calls may do something with each
    return None


def _given_on(parameters: BaseModel | None, incoming: int, may_find: bool) -> int:
    """The most documents that a stage gives on. The first one that may find some looks for its own."""
    match parameters:
        case FeatureSearch():
            found = min(parameters.final_top_k, sum(search.top_k for search in parameters.searches))
            return found if may_find else min(found, incoming)
        case QueryExpand():
            found = parameters.feature_search_config.final_top_k
            return found if may_find else min(found, incoming)
        case AttributeFilter():
            return MOST_DOCUMENTS if may_find else incoming
        case Limit():
            return min(parameters.limit, max(0, incoming - parameters.offset))
        case Summarize(mode="aggregate", group_by=None):
            return min(1, incoming)
    return incoming
