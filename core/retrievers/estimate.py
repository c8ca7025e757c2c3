"""How much the models of a retriever may cost at most with the platform's key, before anything has run. Pure.

`tokens_of`, `schema_size`, `call_tokens`, `repair_reads` and `summary_reads` are the arithmetic of both sides: what an
execution holds for its calls, and what each call takes of it while it is under way. What was used is charged later.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from core.credits.prices import llm_price
from core.errors import StageError
from core.language_models.catalogue import Catalogue
from core.retrievers.document_counts import Step, most_documents
from core.retrievers.parameters import STAGE_PARAMETERS, filled_parameters
from core.retrievers.parameters_llm import Asking, LlmEnrich, LlmFilter, QueryExpand, Summarize
from core.retrievers.parameters_search import MOST_DOCUMENTS
from core.retrievers.secret_places import LLM_STAGES

FILTER_OUTPUT_TOKENS: Final = 256
"""The most that `llm_filter` lets a model write about one document."""
EXPANSION_TOKENS: Final = 80
"""The most that `query_expand` lets a model write for one wording."""
DOCUMENT_BYTES: Final = 6000
"""What is held for that a prompt takes of one document: 2,000 tokens."""
_BYTES_PER_TOKEN: Final = 3
_TOKENS_AROUND: Final = 100
"""What providers add to a prompt: roles, tools, their own words about a schema."""
_REPAIR_TOKENS: Final = 100
"""What is said about an answer that does not fit, when it is asked for again."""
_OWN_WORDS_BYTES: Final = 600
"""What a stage adds to a prompt in words of its own, or in a schema of its own."""


def tokens_of(size: int) -> int:
    """The tokens that so many bytes of text are taken for."""
    return -(-size // _BYTES_PER_TOKEN)


def call_tokens(reads: int, writes: int) -> int:
    """The most tokens that one call is expected to use."""
    return reads + _TOKENS_AROUND + writes


def repair_reads(reads: int, writes: int) -> int:
    """What a call reads that asks for a better answer: all that the first one read, and what that wrote."""
    return reads + writes + _REPAIR_TOKENS


def schema_size(schema: Mapping[str, Any] | None) -> int:
    """The bytes of a schema, which a model reads too."""
    return 0 if schema is None else len(json.dumps(schema).encode())


def summary_reads(parameters: Summarize, around: int) -> int:
    """What a summary reads: the bytes `around` the documents, and the documents as often as the prompt names them.

    They are cut to tokens that are counted, so their bytes do not matter.
    """
    mentions = max(1, parameters.prompt.count("DOCUMENTS"))
    asked = around + schema_size(parameters.output_schema) + _OWN_WORDS_BYTES
    return tokens_of(asked) + parameters.max_input_tokens * mentions


def asks_with_default_key(stages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a stored stage asks a model and names no key of its own."""
    return any(_asks(stage) and not stage["config"]["parameters"].get("api_key") for stage in stages)


def llm_hold(
    stages: Sequence[Mapping[str, Any]],
    limit: int,
    own_keys: Collection[str],
    inputs: Mapping[str, Any],
    models: Catalogue,
    most_found: int = MOST_DOCUMENTS,
) -> int:
    """Milli-credits for all model calls of stored stages; `own_keys` are providers that the organization pays itself.

    `limit` is the most documents that the execution gives, and begins with when nothing is searched for; there are no
    more than `most_found`.
    """
    return sum(
        _most_price(parameters, documents, inputs, models)
        for parameters, documents in _paid(stages, limit, own_keys, inputs, models, most_found)
    )


def documents_asked_about(
    stages: Sequence[Mapping[str, Any]],
    limit: int,
    own_keys: Collection[str],
    inputs: Mapping[str, Any],
    models: Catalogue,
) -> int:
    """The most documents that a stage asks a model about with the platform's key: so many are worth counting."""
    paid = _paid(stages, limit, own_keys, inputs, models, MOST_DOCUMENTS)
    return max((_calls(parameters, documents, inputs)[0] for parameters, documents in paid), default=0)


def _paid(
    stages: Sequence[Mapping[str, Any]],
    limit: int,
    own_keys: Collection[str],
    inputs: Mapping[str, Any],
    models: Catalogue,
    most_found: int,
) -> list[tuple[Asking, int]]:
    """The stages that ask with the platform's key, with the most documents that each can get."""
    if not any(_asks(stage) for stage in stages):
        return []
    steps = [_step(stage, inputs, models) for stage in stages]
    return [
        (step.parameters, documents)
        for step, documents in zip(steps, most_documents(steps, limit, most_found), strict=True)
        if isinstance(step.parameters, Asking)
        and step.parameters.api_key is None
        and step.parameters.provider not in own_keys
    ]


def _asks(stage: Mapping[str, Any]) -> bool:
    return stage["config"]["stage_id"] in LLM_STAGES


def _step(stage: Mapping[str, Any], inputs: Mapping[str, Any], models: Catalogue) -> Step:
    stage_id, parameters = stage["config"]["stage_id"], stage["config"]["parameters"]
    may_be_skipped = stage.get("on_error") == "skip"
    if stage_id not in STAGE_PARAMETERS:
        return Step(None, may_be_skipped)
    try:
        return Step(filled_parameters(stage_id, "", parameters, inputs, models), may_be_skipped)
    except StageError:
        # it fails when it is reached, and asks nobody
        return Step(None, may_be_skipped)


def _most_price(parameters: Asking, documents: int, inputs: Mapping[str, Any], models: Catalogue) -> int:
    """All calls of one stage."""
    calls, reads, writes = _calls(parameters, documents, inputs)
    kind = models.price_class(parameters.model)
    each = llm_price(kind, call_tokens(reads, writes))
    if has_schema(parameters):
        each += llm_price(kind, call_tokens(repair_reads(reads, writes), writes))
    return calls * each


def has_schema(parameters: Asking) -> bool:
    """Whether the answers must fit a schema: one that does not is asked for again."""
    match parameters:
        case LlmEnrich() | Summarize():
            return parameters.output_schema is not None
    return True


def _calls(parameters: Asking, documents: int, inputs: Mapping[str, Any]) -> tuple[int, int, int]:
    """The most calls of a stage, and what each of them reads and writes at most."""
    match parameters:
        case LlmEnrich():
            prompts = _rendered(parameters.prompt, inputs) + _rendered(parameters.system_prompt or "", inputs)
            asked = prompts + schema_size(parameters.output_schema) + _OWN_WORDS_BYTES
            return documents, tokens_of(asked + DOCUMENT_BYTES), parameters.max_tokens
        case LlmFilter():
            calls = documents if parameters.criteria.strip() else 0
            asked = _rendered(parameters.criteria, inputs) + _OWN_WORDS_BYTES
            return calls, tokens_of(asked + DOCUMENT_BYTES), FILTER_OUTPUT_TOKENS
        case Summarize():
            many = parameters.mode == "per_document" or parameters.group_by is not None
            around = _rendered(parameters.prompt, inputs)
            if "DOC." in parameters.prompt or "DOC[" in parameters.prompt or "GROUP_VALUE" in parameters.prompt:
                around += DOCUMENT_BYTES
            calls = documents if many else min(1, documents)
            return calls, summary_reads(parameters, around), parameters.max_output_tokens
        case QueryExpand():
            texts = [str(search.query.value) for search in parameters.feature_search_config.searches]
            query = max(len(text.encode("utf-8", "replace")) for text in texts)
            return 1, tokens_of(query + _OWN_WORDS_BYTES), EXPANSION_TOKENS * parameters.num_expansions
    raise TypeError(f"nothing is known of what {type(parameters).__name__} asks")


def _rendered(text: str, inputs: Mapping[str, Any]) -> int:
    """The most bytes that a template comes to, its documents apart, unless it goes over an input several times."""
    mentions = text.upper().count("INPUT")
    return len(text.encode()) + (mentions * len(str(inputs).encode()) if mentions else 0)
