"""The models as one execution may use them: whose key, what was used, and what it costs against the job's hold.

With a key of the organization's own the work is free. The platform's key is used only when no secret was named.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from core.credits.prices import llm_price
from core.errors import StageError
from core.plain_values import plain_text
from core.vault.references import reference_of
from core.vault.resolved import NO_SECRETS, ResolvedSecrets
from pipelines.llm.errors import BudgetExhaustedError, LlmError, LlmFailure
from pipelines.llm.provider import Completion, LlmRequest, Usage
from pipelines.llm.providers import LlmSettings, ProviderPool
from pipelines.llm.retrying import ask
from pipelines.llm.structured import structured

_BYTES_PER_TOKEN = 3
_TOKENS_AROUND = 100
"""What providers add to a prompt: roles, tools, a schema's words."""


@dataclass(frozen=True)
class ModelChoice:
    """Which model a stage asks, with whose key."""

    provider: str
    model: str
    api_key: str | None
    """a reference to a secret; None for the organization's default, or else the platform's key"""


@dataclass(frozen=True)
class _Key:
    value: str
    is_own: bool


class Llm:
    """One execution's way to the models. Safe to use from several threads. It is never printed with what it holds."""

    def __init__(
        self,
        pool: ProviderPool,
        settings: LlmSettings,
        secrets: ResolvedSecrets = NO_SECRETS,
        budget: int = 0,
    ) -> None:
        """`budget` is what the job's hold leaves for models, in milli-credits."""
        self._pool = pool
        self._settings = settings
        self._secrets = secrets
        self._budget = budget
        self._spent = 0
        self._reserved = 0
        self._usage = Usage()
        self._lock = threading.Lock()
        self.stopping = threading.Event()
        """set when the stage at hand ends early: none of its calls is tried again then"""

    def begin_stage(self) -> None:
        """The stage before may have failed and been skipped: what stops its calls does not stop those of the next."""
        self.stopping = threading.Event()

    @property
    def usage(self) -> Usage:
        """What all calls used so far, whoever paid."""
        return self._usage

    @property
    def charge(self) -> int:
        """Milli-credits for the calls with the platform's key, never more than the budget."""
        return min(self._spent, self._budget)

    @property
    def platform_keys(self) -> Sequence[str]:
        """What a call may send that names no secret, for the redactor alone."""
        return self._settings.platform_keys

    @property
    def most_concurrent(self) -> int:
        """Calls that may be under way at once."""
        return self._settings.most_concurrent

    def complete(self, choice: ModelChoice, request: LlmRequest) -> Completion:
        """The model's answer, fitting the request's schema if it has one.

        Raises LlmError, SecretUnusableError, and BudgetExhaustedError before a call that the hold may not cover.
        """
        settings = self._settings.providers.get(choice.provider)
        if settings is None:
            raise StageError(f"The provider {choice.provider!r} is not available.")
        key = self._key(choice, urlsplit(settings.base_url).hostname or "")
        provider, stopping = self._pool.get(choice.provider, settings.base_url), self.stopping

        def ask_once(asked: LlmRequest) -> Completion:
            with self._reservation(asked, key) as paid:
                answer = ask(provider, asked, key.value, self._settings.timeout_seconds, stopping)
                paid(answer.usage if answer.usage.tokens else _estimated(asked, answer))
                return replace(answer, text=plain_text(answer.text))

        return structured(ask_once, replace(request, model=choice.model))

    def _key(self, choice: ModelChoice, host: str) -> _Key:
        if choice.api_key is not None:
            if reference_of(choice.api_key) is None:
                raise StageError("api_key must name a secret of the vault, as {{secrets.name}}.")
            return _Key(self._secrets.meant_by(choice.api_key).for_host(host), is_own=True)
        platform = self._settings.providers[choice.provider].platform_key
        if platform is None:
            raise LlmError(
                LlmFailure.UNAUTHORIZED, f"There is no API key for {choice.provider}: name a secret in api_key."
            )
        return _Key(platform.get_secret_value(), is_own=False)

    @contextmanager
    def _reservation(self, request: LlmRequest, key: "_Key") -> "Iterator[_Paid]":
        """Keep what the call may cost free while it is under way. Raises BudgetExhaustedError."""
        amount = 0 if key.is_own else llm_price(request.model, likely_tokens(request))
        with self._lock:
            if amount and self._spent + self._reserved + amount > self._budget:
                raise BudgetExhaustedError
            self._reserved += amount
        try:
            yield _Paid(self, request.model, key.is_own)
        finally:
            with self._lock:
                self._reserved -= amount

    def _count(self, model: str, usage: Usage, is_own: bool) -> None:
        with self._lock:
            self._usage += usage
            if not is_own:
                self._spent += llm_price(model, usage.tokens)


@dataclass(frozen=True)
class _Paid:
    """Writes one call's use down."""

    llm: Llm
    model: str
    is_own: bool

    def __call__(self, usage: Usage) -> None:
        self.llm._count(self.model, usage, self.is_own)


def _estimated(request: LlmRequest, answer: Completion) -> Usage:
    """What a call used whose provider does not say it, as some that speak OpenAI's protocol do not."""
    written = len(answer.text.encode("utf-8", "replace"))
    return Usage(1, -(-_bytes_read(request) // _BYTES_PER_TOKEN), -(-written // _BYTES_PER_TOKEN))


def likely_tokens(request: LlmRequest) -> int:
    """The most tokens that a call is expected to use: what it reads, by its bytes, and all that it may write."""
    return _bytes_read(request) // _BYTES_PER_TOKEN + _TOKENS_AROUND + request.max_tokens


def _bytes_read(request: LlmRequest) -> int:
    return len(request.prompt.encode()) + len(request.system.encode())
