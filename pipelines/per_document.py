"""Work on each document of a stage, a few at a time: which are skipped, what fails, and when all of it stops.

Documents keep their order. A failure that the next document would meet too is never counted as one document's.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any, TypeVar, cast

from core.errors import EgressDeniedError, KeystageError, SecretUnusableError, StageError
from core.retrievers.parameter_types import OnError
from pipelines.llm.errors import BudgetExhaustedError, LlmError
from pipelines.stage import Document, StageOutput

_LOOK_SECONDS = 0.1
"""How soon a running stage sees that it was cancelled."""
_REASONS = 5
"""Failed documents whose reasons a stage's statistics say."""


@dataclass(frozen=True)
class Manner:
    """How a stage goes over its documents."""

    at_once: int
    on_error: OnError
    check_cancelled: Callable[[], None]
    stopping: Event
    """set when the stage ends early, for work that waits"""


class _OutOfCredits:
    """Stands for documents that the credits did not reach."""


_OUT_OF_CREDITS = _OutOfCredits()
Value = TypeVar("Value")
Result = Document | None
"""The document as the work leaves it; None takes it out."""


def per_document(documents: Sequence[Document], work: Callable[[Document], Result], manner: Manner) -> StageOutput:
    """The documents after the work. Raises StageError, and what `check_cancelled` raises."""
    results = at_once([partial(_one, work, document, manner) for document in documents], manner)
    pairs = list(zip(documents, results, strict=True))
    failed = [(document, result) for document, result in pairs if isinstance(result, KeystageError)]
    kept: list[Document] = []
    for document, result in pairs:
        if isinstance(result, KeystageError):
            if manner.on_error == "skip":
                kept.append(document)
        elif isinstance(result, _OutOfCredits):
            kept.append(document)
        elif result is not None:
            kept.append(result)
    return StageOutput(
        kept,
        facts=failure_facts(failed),
        exhausted=any(isinstance(result, _OutOfCredits) for result in results),
    )


def failure_facts(failed: Sequence[tuple[Document, KeystageError]]) -> dict[str, Any]:
    """What a stage's statistics say of documents that failed alone: how many, and why the first ones did."""
    if not failed:
        return {}
    first = [{"document_id": found.get("document_id"), "error": error.message} for found, error in failed[:_REASONS]]
    return {"failed_documents": len(failed), "failures": first}


def at_once(works: Sequence[Callable[[], Value]], manner: Manner) -> list[Value]:
    """What each gives, in their order. Raises the first failure, and what `check_cancelled` raises."""
    pool = ThreadPoolExecutor(max(1, min(manner.at_once, len(works))), "documents")
    has_failed = Event()
    running = [pool.submit(_unless, has_failed, work) for work in works]
    try:
        _wait_for(running, manner)
        return [future.result() for future in running]
    except BaseException:
        manner.stopping.set()
        raise
    finally:
        # what is under way ends by its own deadline, and nobody waits for it
        pool.shutdown(wait=False, cancel_futures=True)


def _unless(has_failed: Event, work: Callable[[], Value]) -> Value:
    """The work's value. After a failure none is begun: whoever began them may not have heard of it yet."""
    if has_failed.is_set():
        # of works one of which failed, no value is read
        return cast(Value, None)
    try:
        return work()
    except BaseException:
        has_failed.set()
        raise


def _wait_for(running: Sequence[Future[Any]], manner: Manner) -> None:
    """Until all are done. Raises the first failure that ends the stage."""
    waiting = set(running)
    while waiting:
        manner.check_cancelled()
        done, waiting = wait(waiting, _LOOK_SECONDS, FIRST_COMPLETED)
        for future in done:
            future.result()


def _one(
    work: Callable[[Document], Result], document: Document, manner: Manner
) -> Result | KeystageError | _OutOfCredits:
    try:
        return work(document)
    except BudgetExhaustedError:
        return _OUT_OF_CREDITS
    except (StageError, EgressDeniedError) as error:
        if manner.on_error == "raise" or _concerns_all(error):
            raise as_stage_error(error) from None
        return error


def _concerns_all(error: KeystageError) -> bool:
    return isinstance(error, SecretUnusableError) or (isinstance(error, LlmError) and error.concerns_the_key)


def as_stage_error(error: KeystageError) -> StageError:
    """The error as one of the stage, with its own code."""
    if isinstance(error, StageError):
        return error
    failed = StageError(error.message)
    failed.code = error.code  # type: ignore[misc]  # the code of what refused it
    return failed
