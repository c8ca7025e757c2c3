"""Runs a retriever's stages one after the other, in one process. It knows nothing of Ray, and keeps nothing."""

import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import structlog
from pydantic import BaseModel

from core.errors import BackendAwayError, KeystageError, SecretUnusableError, StageError, StageUnavailableError
from core.language_models.catalogue import AskedModel
from core.retrievers.document_counts import Step, most_wanted
from core.retrievers.parameters import filled_parameters
from core.retrievers.secret_places import LLM_STAGES
from core.retrievers.stages import StageSpec
from core.storage.vectors.filters import AnyOf
from core.vault.redaction import Redactor
from core.vault.references import reference_of, references_in
from core.vault.resolved import ResolvedSecrets
from core.vault.secret import MIN_VALUE_CHARACTERS
from pipelines.llm.errors import BudgetExhaustedError
from pipelines.llm.provider import Usage
from pipelines.registry import FINDING_STAGES, READING_STAGES, STAGES
from pipelines.remote import CallCancelledError
from pipelines.stage import Document, StageContext, StageInput, document_of

_NEVER_SKIPPED = (SecretUnusableError, CallCancelledError)
"""What ends the execution although its stage may be skipped: a missing secret is no detail."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ChainResult:
    """What came out of a chain of stages."""

    documents: list[Document]
    stage_statistics: dict[str, dict[str, Any]]
    """stage name → input_count, output_count, duration_ms, efficiency (output / input); `left_out` where
    documents could not be shown any more; `requested_model`, `asked_model`, `llm_calls`, `tokens_used`, `input_tokens`,
    `output_tokens` where a model was asked; and `error` or `truncated`"""
    llm_charge: int = 0
    """milli-credits for models asked with the platform's key, never more than the budget"""
    exhausted: bool = False
    """whether the credits ended before the stages did: these documents are as far as it came"""


def run_stages(
    stages: Sequence[StageSpec],
    inputs: Mapping[str, Any],
    context: StageContext,
    limit: int,
    check_cancelled: Callable[[], None],
) -> ChainResult:
    """The first `limit` documents that the stages give. Raises StageError and what `check_cancelled` raises.

    No key that was sent is in what it gives, raises or logs.
    """
    _refuse_what_cannot_run(stages, context.secrets)
    redactor = _redactor_for(stages, context)
    try:
        with _masked_errors(redactor):
            return _run_all(stages, inputs, replace(context, check_cancelled=check_cancelled), limit, redactor)
    except (StageError, BackendAwayError) as error:
        error.spent = context.llm.charge
        raise


def _redactor_for(stages: Sequence[StageSpec], context: StageContext) -> Redactor:
    """Masks what the stages may send: secrets, and the platform's keys where a model is asked with one."""
    asks = any(
        stage.stage_id in LLM_STAGES and reference_of(stage.parameters.get("api_key")) is None for stage in stages
    )
    keys = context.llm.platform_keys if asks else []
    # a word such as "none", for a server of the operator's own that wants no key, stands in innocent text too
    return Redactor([*context.secrets.values, *(key for key in keys if len(key) >= MIN_VALUE_CHARACTERS)])


@contextmanager
def _masked_errors(redactor: Redactor) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if redactor.is_idle:
            raise
        if not isinstance(error, KeystageError):
            # where it came from does not go with it
            log.error("chain.broken", fault=redactor.text(traceback.format_exc()))
        raise redactor.error(error) from None


def _run_all(
    stages: Sequence[StageSpec], inputs: Mapping[str, Any], context: StageContext, limit: int, redactor: Redactor
) -> ChainResult:
    documents = _first_documents(stages[0], context, min(limit, context.most_found))
    statistics: dict[str, dict[str, Any]] = {}
    filled = [_filled(stage, inputs, context) for stage in stages]
    for stage, parameters, wanted in zip(stages, filled, _most_wanted(stages, filled, limit), strict=True):
        context.check_cancelled()
        context.llm.begin_stage()
        documents, left_out = _first_of(documents, wanted)
        started, used, incoming = time.perf_counter(), context.llm.usage, len(documents or [])
        output = _run_or_skip(stage, parameters, inputs, documents, context, redactor)
        # before the next stage can turn a value that came back into something that nobody recognises, or send it on
        documents, uncounted = _first_of(redactor.json(output.documents), context.most_found)
        outgoing = len(documents or [])
        statistics[stage.stage_name] = {
            "input_count": incoming,
            "output_count": outgoing,
            "duration_ms": round((time.perf_counter() - started) * 1000, 2),
            "efficiency": round(outgoing / incoming, 4) if incoming else 1.0,
            **({"left_out": left_out} if left_out else {}),
            **_model_facts(context.llm.usage - used, context.llm.asked),
            **({"truncated": True} if output.truncated or uncounted else {}),
            **redactor.json(output.facts),
        }
        if output.exhausted:
            break
    # a result that nobody waits for any more would be lost together with what it cost
    context.check_cancelled()
    return ChainResult((documents or [])[:limit], statistics, context.llm.charge, output.exhausted)


def _filled(stage: StageSpec, inputs: Mapping[str, Any], context: StageContext) -> BaseModel | StageError:
    """A stage's parameters, or what is wrong with them: that is raised when the stage is reached."""
    try:
        return filled_parameters(stage.stage_id, stage.stage_name, stage.parameters, inputs, context.llm.models)
    except StageError as error:
        return error


def _most_wanted(stages: Sequence[StageSpec], filled: Sequence[BaseModel | StageError], limit: int) -> list[int | None]:
    steps = [
        Step(parameters if isinstance(parameters, BaseModel) else None, stage.on_error == "skip")
        for stage, parameters in zip(stages, filled, strict=True)
    ]
    return most_wanted(steps, limit)


def _first_of(documents: list[Document] | None, wanted: int | None) -> tuple[list[Document] | None, int]:
    """The documents that can still be shown, and how many are left out: work on these would be paid for in vain."""
    if documents is None or wanted is None or len(documents) <= wanted:
        return documents, 0
    return documents[:wanted], len(documents) - wanted


def _run_or_skip(
    stage: StageSpec,
    parameters: BaseModel | StageError,
    inputs: Mapping[str, Any],
    documents: list[Document] | None,
    context: StageContext,
    redactor: Redactor,
) -> "_Output":
    try:
        if isinstance(parameters, StageError):
            raise parameters
        work = StageInput(parameters, documents, inputs, stage.stage_name)
        output = STAGES[stage.stage_id](work, context)
        facts = {**output.facts, **({"error": BudgetExhaustedError().message} if output.exhausted else {})}
        return _Output(output.documents, output.truncated, facts, output.exhausted)
    except BudgetExhaustedError as error:
        return _Output(documents, False, {"error": error.message}, exhausted=True)
    except _NEVER_SKIPPED:
        raise
    except StageError as error:
        if stage.on_error == "error":
            raise
        log.info("stage.skipped", stage=stage.stage_name, error=redactor.text(error.message))
        return _Output(documents, False, {"error": error.message}, exhausted=False)


@dataclass(frozen=True)
class _Output:
    """A stage's output; the documents are None when no stage has found any yet."""

    documents: list[Document] | None
    truncated: bool
    facts: Mapping[str, Any]
    exhausted: bool


def _model_facts(used: Usage, asked: AskedModel | None) -> dict[str, Any]:
    if not used.calls or asked is None:
        return {}
    return {
        "requested_model": asked.requested,
        "asked_model": asked.name,
        "llm_calls": used.calls,
        "tokens_used": used.tokens,
        "input_tokens": used.input_tokens,
        "output_tokens": used.output_tokens,
    }


def _refuse_what_cannot_run(stages: Sequence[StageSpec], secrets: ResolvedSecrets) -> None:
    """Before anything is done, so that no work is paid for in vain."""
    for stage in stages:
        if stage.stage_id not in STAGES:
            raise StageUnavailableError(f"The stage {stage.stage_id} is not available in this version of Keystage.")
        for reference in references_in(stage.parameters):
            secrets.meant_by(reference.name)
    if stages[0].stage_id not in FINDING_STAGES | READING_STAGES:
        raise StageError(
            f"{stages[0].stage_id} has no documents to work on: begin with {' or '.join(sorted(FINDING_STAGES))}."
        )


def _first_documents(first: StageSpec, context: StageContext, limit: int) -> list[Document] | None:
    """What the first stage begins with: nothing, or the first documents of the collections, by their ids."""
    if first.stage_id in FINDING_STAGES:
        return None
    if not context.collection_ids:
        return []
    hits = context.vectors.scroll(context.namespace_id, AnyOf("collection_id", context.collection_ids), limit)
    return [document_of(hit.payload, hit.score) for hit in hits]
