"""One call of a model, tried again while it may pass: Retry-After is honoured, and one deadline covers it all."""

from collections.abc import Callable
from threading import Event

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from core.egress.transport import deadline, remaining_seconds
from pipelines.llm.errors import LlmError, LlmFailure
from pipelines.llm.provider import Completion, LlmRequest, Provider

_TRIES = 4
_LONGEST_WAIT = 30.0
"""A provider that asks for more patience than this is not waited for."""
_backoff = wait_random_exponential(multiplier=0.5, max=8)


def ask(provider: Provider, request: LlmRequest, key: str, seconds: float, stopping: Event) -> Completion:
    """The answer. Raises the last LlmError when the tries or the time are used up, or `stopping` is set."""
    if stopping.is_set():
        # another look at an answer that did not fit, of a stage that nobody waits for
        raise LlmError(LlmFailure.UNAVAILABLE, "The stage ended before the model was asked.")
    with deadline(seconds):
        again = Retrying(
            stop=stop_after_attempt(_TRIES),
            wait=_wait,
            retry=retry_if_exception(lambda error: _is_worth_another(error, stopping)),
            sleep=_sleep_unless(stopping),
            reraise=True,
        )
        answer: Completion = again(provider.complete, request, key)
        return answer


def _is_worth_another(error: BaseException, stopping: Event) -> bool:
    if not isinstance(error, LlmError) or not error.may_pass or stopping.is_set():
        return False
    asked = error.retry_after or 0.0
    return asked <= _LONGEST_WAIT and asked < remaining_seconds()


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, LlmError) else None
    return max(asked or 0.0, 0.0 if asked else _backoff(state))


def _sleep_unless(stopping: Event) -> Callable[[float], None]:
    def sleep(seconds: float) -> None:
        stopping.wait(min(seconds, max(0.0, remaining_seconds())))

    return sleep
