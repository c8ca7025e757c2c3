"""Runs a retriever's stages one after the other, in one process. It knows nothing of Ray, and keeps nothing."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from pydantic import ValidationError

from core.errors import StageError, StageUnavailableError
from core.retrievers.parameters import STAGE_PARAMETERS
from core.retrievers.stages import StageSpec
from core.retrievers.templates import render
from pipelines.registry import FINDING_STAGES, STAGES
from pipelines.stage import Document, StageContext, StageInput, StageOutput

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ChainResult:
    """What came out of a chain of stages."""

    documents: list[Document]
    stage_statistics: dict[str, dict[str, Any]]
    """stage name → input_count, output_count, duration_ms, efficiency (output / input), and `error` or `truncated`"""


def run_stages(
    stages: Sequence[StageSpec],
    inputs: Mapping[str, Any],
    context: StageContext,
    limit: int,
    check_cancelled: Callable[[], None],
) -> ChainResult:
    """The first `limit` documents that the stages give. Raises StageError and what `check_cancelled` raises."""
    _refuse_what_cannot_run(stages)
    documents: list[Document] | None = None
    statistics: dict[str, dict[str, Any]] = {}
    for stage in stages:
        check_cancelled()
        started = time.perf_counter()
        incoming = len(documents or [])
        facts: dict[str, Any] = {}
        try:
            output = _run(stage, inputs, documents, context)
            documents = output.documents
            if output.truncated:
                facts["truncated"] = True
        except StageError as error:
            if stage.on_error == "error":
                raise
            log.info("stage.skipped", stage=stage.stage_name, error=error.message)
            facts["error"] = error.message
        outgoing = len(documents or [])
        statistics[stage.stage_name] = {
            "input_count": incoming,
            "output_count": outgoing,
            "duration_ms": round((time.perf_counter() - started) * 1000, 2),
            "efficiency": round(outgoing / incoming, 4) if incoming else 1.0,
            **facts,
        }
    return ChainResult((documents or [])[:limit], statistics)


def _refuse_what_cannot_run(stages: Sequence[StageSpec]) -> None:
    """Before anything is done, so that no work is paid for in vain."""
    for stage in stages:
        if stage.stage_id not in STAGES:
            raise StageUnavailableError(f"The stage {stage.stage_id} is not available in this version of Keystage.")
    if stages[0].stage_id not in FINDING_STAGES:
        raise StageError(
            f"{stages[0].stage_id} has no documents to work on: begin with {' or '.join(sorted(FINDING_STAGES))}."
        )


def _run(
    stage: StageSpec, inputs: Mapping[str, Any], documents: list[Document] | None, context: StageContext
) -> StageOutput:
    filled = render(dict(stage.parameters), inputs)
    try:
        parameters = STAGE_PARAMETERS[stage.stage_id].model_validate(filled)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in (stage.stage_name, *first["loc"]))
        raise StageError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
    return STAGES[stage.stage_id](StageInput(parameters, documents), context)
