"""How much the models of a retriever may cost at most with the platform's key, before anything has run. Pure.

Each stage's documents are bounded by what the stages before it can give on; what really was used is charged later.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from core.credits.prices import llm_price
from core.retrievers.llm_providers import DEFAULT_MODELS, LlmProvider, named_model, provider_of
from core.retrievers.parameters_llm import MOST_OUTPUT_TOKENS
from core.retrievers.parameters_search import MOST_DOCUMENTS
from core.retrievers.secret_places import LLM_STAGES
from core.retrievers.templates import is_templated

FILTER_OUTPUT_TOKENS: Final = 256
"""The most that `llm_filter` lets a model write about one document."""
EXPANSION_TOKENS: Final = 80
"""The most that `query_expand` lets a model write for one wording."""
_READ_TOKENS = 2000
"""Read for one document, the prompt apart: a long chunk of text and its fields."""
_BYTES_PER_TOKEN = 3


def asks_with_default_key(stages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a stored stage asks a model and names no key of its own."""
    return any(_asks(stage) and not stage["config"]["parameters"].get("api_key") for stage in stages)


def llm_hold(stages: Sequence[Mapping[str, Any]], limit: int, own_keys: Collection[str]) -> int:
    """Milli-credits for all model calls of stored stages; `own_keys` are providers that the organization pays itself.

    `limit` is the most documents that the execution gives, and begins with when nothing is searched for.
    """
    total, documents = 0, None
    for stage in stages:
        stage_id, parameters = stage["config"]["stage_id"], stage["config"]["parameters"]
        incoming = limit if documents is None else documents
        if _asks(stage) and not parameters.get("api_key") and not _has_own_key(parameters, own_keys):
            total += _stage_price(stage_id, parameters, incoming)
        documents = _documents_after(stage_id, parameters, documents, limit)
    return total


def _asks(stage: Mapping[str, Any]) -> bool:
    return stage["config"]["stage_id"] in LLM_STAGES


def _stage_price(stage_id: str, parameters: Mapping[str, Any], documents: int) -> int:
    model = _model(parameters)
    prompt = len(str(parameters.get("prompt") or parameters.get("criteria") or "").encode()) // _BYTES_PER_TOKEN
    match stage_id:
        case "llm_enrich":
            calls, read, written = documents, prompt + _READ_TOKENS, _number(parameters, 512, "max_tokens")
        case "llm_filter":
            calls, read, written = documents, prompt + _READ_TOKENS, FILTER_OUTPUT_TOKENS
        case "summarize":
            calls = documents if _makes_many(parameters) else 1
            read = prompt + _number(parameters, 8000, "max_input_tokens")
            written = _number(parameters, 1024, "max_output_tokens", "max_tokens")
        case _:
            calls, read = 1, _READ_TOKENS
            written = EXPANSION_TOKENS * _number(parameters, 3, "num_expansions")
    # an answer that does not fit its schema is asked for again, with the first one in the prompt
    tries = 2 if parameters.get("schema") or parameters.get("output_schema") or stage_id in _STRUCTURED else 1
    return calls * llm_price(model, tries * (read + written) + (tries - 1) * written)


_STRUCTURED = frozenset({"llm_filter", "query_expand"})


def _has_own_key(parameters: Mapping[str, Any], own_keys: Collection[str]) -> bool:
    # whose model an input will name is not known yet
    known = parameters.get("provider") or not is_templated(named_model(parameters))
    return bool(known) and provider_of(parameters) in own_keys


def _model(parameters: Mapping[str, Any]) -> str:
    provider = provider_of(parameters)
    return named_model(parameters) or (DEFAULT_MODELS[LlmProvider(provider)] if provider in _PROVIDERS else "")


_PROVIDERS = frozenset(LlmProvider)


def _documents_after(stage_id: str, parameters: Mapping[str, Any], documents: int | None, limit: int) -> int:
    before = limit if documents is None else documents
    match stage_id:
        case "feature_search":
            return min(_number(parameters, 25, "final_top_k"), MOST_DOCUMENTS if documents is None else documents)
        case "query_expand":
            search = parameters.get("feature_search_config")
            # the whole search may be a placeholder
            return _number(search, 25, "final_top_k") if isinstance(search, Mapping) else MOST_DOCUMENTS
        case "attribute_filter":
            return MOST_DOCUMENTS if documents is None else documents
        case "limit":
            return min(_number(parameters, 10, "limit"), before)
        case "summarize":
            return before if _makes_many(parameters) else 1
    return before


def _makes_many(summarize: Mapping[str, Any]) -> bool:
    """Whether there may be as many summaries as documents. A placeholder may stand for any mode."""
    return bool(summarize.get("group_by")) or (summarize.get("mode") or "aggregate") != "aggregate"


def _number(parameters: Mapping[str, Any], default: int, *names: str) -> int:
    """A whole number among the parameters; a placeholder may stand for the most there is."""
    value = next((parameters[name] for name in names if parameters.get(name) is not None), default)
    most = MOST_DOCUMENTS if default <= 25 else MOST_OUTPUT_TOKENS
    return value if isinstance(value, int) else most
