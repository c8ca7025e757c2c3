"""What a call of a model can fail with, told without a word of what the provider answered: some repeat the key."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum

from core.egress.retry_after import retry_after
from core.errors import StageError


class LlmFailure(StrEnum):
    """The codes."""

    RATE_LIMITED = "llm_rate_limited"
    UNAUTHORIZED = "llm_unauthorized"
    REFUSED = "llm_refused"
    INVALID_OUTPUT = "llm_invalid_output"
    UNAVAILABLE = "llm_unavailable"


class LlmError(StageError):
    """A language model did not do its work."""

    def __init__(self, failure: LlmFailure, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.failure = failure
        self.code = failure.value  # type: ignore[misc]  # one class, a closed list of codes
        self.retry_after = retry_after
        """seconds that the provider asks to wait; None when it does not say"""

    def __reduce__(self) -> tuple[object, ...]:
        return (LlmError, (self.failure, self.message, self.retry_after), vars(self))

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed later."""
        return self.failure in {LlmFailure.RATE_LIMITED, LlmFailure.UNAVAILABLE}


class BudgetExhaustedError(StageError):
    """The credits held for this job do not cover the next call of a model."""

    code = "budget_exhausted"


_BUSY = frozenset({408, 409, 425})


def refused(provider: str, model: str, status: int, wait: str | None = None) -> LlmError:
    """The error for an HTTP status of a provider; `wait` is its Retry-After header."""
    if status == 429:
        return LlmError(LlmFailure.RATE_LIMITED, f"{provider} allows no more requests now.", _seconds(wait))
    if status in {401, 403}:
        return LlmError(LlmFailure.UNAUTHORIZED, f"{provider} refused the API key: HTTP {status}.")
    if status >= 500 or status in _BUSY:
        return LlmError(LlmFailure.UNAVAILABLE, f"{provider} does not answer: HTTP {status}.", _seconds(wait))
    return LlmError(LlmFailure.REFUSED, f"{provider} refused the request for model {model!r}: HTTP {status}.")


def unreachable(provider: str, error: Exception) -> LlmError:
    """The error for a provider that gave no readable answer."""
    return LlmError(LlmFailure.UNAVAILABLE, f"{provider} gave no answer: {type(error).__name__}.")


@contextmanager
def reading(provider: str) -> Iterator[None]:
    """Turns what goes wrong while an answer is read and taken apart into an LlmError: it only looked like the protocol.

    The providers' own clients are no more careful with it than that.
    """
    try:
        yield
    except (AttributeError, LookupError, TypeError, RecursionError) as error:
        raise unreachable(provider, error) from None


def withheld(provider: str, model: str) -> LlmError:
    """The error for a model that would not write."""
    return LlmError(LlmFailure.REFUSED, f"{provider}'s model {model!r} declined to answer.")


def _seconds(header: str | None) -> float | None:
    asked = retry_after(header, datetime.now(UTC))
    return None if asked is None else asked.total_seconds()
