"""The models as one execution may use them: whose key, what was used, and what it costs against the job's hold.

With a key of the organization's own the work is free. The platform's key is used only when no secret was named.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from urllib.parse import urlsplit

from core.clock import now
from core.credits.prices import ModelClass, llm_price
from core.errors import StageError
from core.language_models.catalogue import AskedModel, Catalogue
from core.plain_values import plain_text
from core.retrievers.estimate import call_tokens, repair_reads, schema_size, tokens_of
from core.vault.references import reference_of
from core.vault.resolved import NO_SECRETS, ResolvedSecrets
from pipelines.llm.errors import BudgetExhaustedError, LlmError, LlmFailure
from pipelines.llm.provider import Completion, LlmRequest, Usage
from pipelines.llm.providers import LlmSettings, ProviderPool
from pipelines.llm.retrying import ask
from pipelines.llm.structured import structured


def _today() -> date:
    return now().date()


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
        today: Callable[[], date] = _today,
    ) -> None:
        """`budget` is what the job's hold leaves for models, in milli-credits; `today` decides who has a successor."""
        self._pool = pool
        self._settings = settings
        self._secrets = secrets
        self._budget = budget
        self._today = today
        self._spent = 0
        self._reserved = 0
        self._usage = Usage()
        self._lock = threading.Lock()
        self.stopping = threading.Event()
        """set when the stage at hand ends early: none of its calls is tried again then"""
        self.asked: AskedModel | None = None
        """the model that the stage at hand asks, once it has asked"""

    def begin_stage(self) -> None:
        """The stage before may have failed and been skipped: what stops its calls does not stop those of the next."""
        self.stopping = threading.Event()
        self.asked = None

    @property
    def models(self) -> Catalogue:
        """All models that may be named."""
        return self._settings.models

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
        model = self.models.asked(choice.model, choice.provider, self._today())
        self.asked = model
        # the price goes by the name that the stage gives: what was held for must not depend on the day
        kind = self.models.price_class(choice.model)
        first = replace(request, model=model.name, takes=model.takes).within_bounds()

        def ask_once(asked: LlmRequest) -> Completion:
            reserved = llm_price(kind, likely_tokens(asked, first))
            with self._reservation(reserved, kind, key) as paid:
                answer = ask(provider, asked, key.value, self._settings.timeout_seconds, stopping)
                paid(answer.usage if answer.usage.tokens else _estimated(asked, answer))
                return replace(answer, text=plain_text(answer.text))

        return structured(ask_once, first)

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
    def _reservation(self, price: int, kind: ModelClass, key: "_Key") -> "Iterator[_Paid]":
        """Keep what the call may cost free while it is under way. Raises BudgetExhaustedError."""
        amount = 0 if key.is_own else price
        with self._lock:
            if amount and self._spent + self._reserved + amount > self._budget:
                raise BudgetExhaustedError
            self._reserved += amount
        try:
            yield _Paid(self, kind, key.is_own)
        finally:
            with self._lock:
                self._reserved -= amount

    def _count(self, kind: ModelClass, usage: Usage, is_own: bool) -> None:
        with self._lock:
            self._usage += usage
            if not is_own:
                self._spent += llm_price(kind, usage.tokens)


@dataclass(frozen=True)
class _Paid:
    """Writes one call's use down."""

    llm: Llm
    kind: ModelClass
    is_own: bool

    def __call__(self, usage: Usage) -> None:
        self.llm._count(self.kind, usage, self.is_own)


def _estimated(request: LlmRequest, answer: Completion) -> Usage:
    """What a call used whose provider does not say it, as some that speak OpenAI's protocol do not."""
    written = len(answer.text.encode("utf-8", "replace"))
    return Usage(1, tokens_of(_bytes_read(request)), tokens_of(written))


def likely_tokens(request: LlmRequest, first: LlmRequest) -> int:
    """The most tokens that a call is expected to use: what it reads, by its bytes, and all that it may write.

    `first` is the question that this one asks again, or this one itself.
    """
    reads = _reads(first)
    if request is not first:
        reads = min(tokens_of(_bytes_read(request)), repair_reads(reads, first.max_tokens))
    return call_tokens(reads, request.max_tokens)


def _reads(request: LlmRequest) -> int:
    reads = tokens_of(_bytes_read(request))
    return reads if request.most_read is None else min(reads, request.most_read)


def _bytes_read(request: LlmRequest) -> int:
    return len(request.prompt.encode()) + len(request.system.encode()) + schema_size(request.schema)
