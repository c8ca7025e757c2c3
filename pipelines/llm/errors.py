"""What a call of a model can fail with, told without a word of what the provider answered: some repeat the key."""

from datetime import UTC, datetime
from enum import StrEnum

from core.egress.retry_after import retry_after
from core.errors import StageError
from pipelines.llm.accounts import asked_wait, has_no_credit, refuses_the_key, refuses_the_prompt


class LlmFailure(StrEnum):
    """The codes."""

    RATE_LIMITED = "llm_rate_limited"
    UNAUTHORIZED = "llm_unauthorized"
    QUOTA_EXHAUSTED = "llm_quota_exhausted"
    """the account behind the key cannot pay, or may use no more today"""
    REFUSED = "llm_refused"
    EMPTY = "llm_empty"
    """an answer without text"""
    TRUNCATED = "llm_truncated"
    """an answer that was cut where a part of it is worth nothing"""
    INVALID_OUTPUT = "llm_invalid_output"
    UNREADABLE = "llm_unreadable"
    """an answer that came, and would come again, in a form that is not read"""
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

    @property
    def concerns_the_key(self) -> bool:
        """Whether any request with the same key fails as this one did."""
        return self.failure in {LlmFailure.UNAUTHORIZED, LlmFailure.QUOTA_EXHAUSTED}

    def with_key(self, whose: str) -> "LlmError":
        """The error, which says whose key it was where that matters."""
        if not self.concerns_the_key:
            return self
        return LlmError(self.failure, f"{self.message} {whose}", self.retry_after)


class BudgetExhaustedError(StageError):
    """The credits held for this job do not cover the next call of a model."""

    code = "budget_exhausted"


_BUSY = frozenset({408, 409, 425})


def refused(provider: str, model: str, status: int, wait: str | None = None, body: object = None) -> LlmError:
    """The error for an HTTP status of a provider; `wait` is its Retry-After header, `body` its JSON."""
    if has_no_credit(status, body):
        return LlmError(
            LlmFailure.QUOTA_EXHAUSTED,
            f"{provider} answers no more for this key: its account has no credit or quota left.",
        )
    if status == 429:
        asked = wait or asked_wait(body)
        return LlmError(LlmFailure.RATE_LIMITED, f"{provider} allows no more requests now.", _seconds(asked))
    if status == 401 or (status == 403 and not refuses_the_prompt(body)) or (status == 400 and refuses_the_key(body)):
        return LlmError(LlmFailure.UNAUTHORIZED, f"{provider} refused the API key: HTTP {status}.")
    if status >= 500 or status in _BUSY:
        return LlmError(LlmFailure.UNAVAILABLE, f"{provider} does not answer: HTTP {status}.", _seconds(wait))
    return LlmError(LlmFailure.REFUSED, f"{provider} refused the request for model {model!r}: HTTP {status}.")


def unreachable(provider: str, error: BaseException) -> LlmError:
    """The error for a provider that gave no readable answer."""
    return LlmError(LlmFailure.UNAVAILABLE, f"{provider} gave no answer: {type(error).__name__}.")


def _seconds(header: str | None) -> float | None:
    asked = retry_after(header, datetime.now(UTC))
    return None if asked is None else asked.total_seconds()
