"""The models as one execution may use them: whose key, what was used, and what it costs against the job's hold.

With a key of the organization's own the work is free. The platform's key is used only when no secret was named.
"""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from urllib.parse import urlsplit

import structlog

from core.clock import now
from core.credits.prices import ModelClass, llm_price
from core.errors import StageError
from core.language_models.catalogue import AskedModel, Catalogue
from core.plain_values import plain_text
from core.retrievers.estimate import call_tokens, repair_reads, tokens_of
from core.vault.references import reference_of
from core.vault.resolved import NO_SECRETS, ResolvedSecrets
from pipelines.llm.errors import BudgetExhaustedError, LlmError, LlmFailure
from pipelines.llm.provider import Completion, End, LlmRequest, Usage
from pipelines.llm.providers import LlmSettings, ProviderPool
from pipelines.llm.retrying import ask
from pipelines.llm.structured import structured

log = structlog.get_logger(__name__)

_KEY = re.compile(r"[!-~]+")
_NOT_IN_KEYS = "a space, a line feed or a letter beyond ASCII in it"
"""Pasted along, most often; such a key cannot be sent at all."""
_MOST_CHARACTERS = 1024 * 1024
"""Of one answer, as of one rendering: several times what the largest bound on tokens allows."""


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
    value: str = field(repr=False)
    is_own: bool
    whose: str
    """said where a key is refused"""


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
        if not _KEY.fullmatch(key.value):
            raise LlmError(LlmFailure.UNAUTHORIZED, f"No API key is empty, or has {_NOT_IN_KEYS}.").with_key(key.whose)
        provider, stopping = self._pool.get(choice.provider, settings.base_url), self.stopping
        model = self.models.asked(choice.model, choice.provider, self._today())
        self.asked = model
        # the price goes by the name that the stage gives: what was held for must not depend on the day
        kind = self.models.price_class(choice.model)
        first = replace(request, model=model.name, takes=model.takes).within_bounds()

        def ask_once(asked: LlmRequest) -> Completion:
            reserved = llm_price(kind, likely_tokens(asked, first))
            with self._reservation(reserved, kind, key) as paid:
                try:
                    answer = ask(provider, asked, key.value, self._settings.timeout_seconds, stopping)
                except LlmError as error:
                    if error.concerns_the_key and not key.is_own:
                        log.error("llm.platform_key_fails", provider=choice.provider, code=error.code)
                    raise error.with_key(key.whose) from None
                # an answer is paid whatever it says, as providers want it
                paid(answer.usage)
                return _bounded(answer)

        return structured(ask_once, first)

    def _key(self, choice: ModelChoice, host: str) -> _Key:
        if choice.api_key is not None:
            if reference_of(choice.api_key) is None:
                raise StageError("api_key must name a secret of the vault, as {{secrets.name}}.")
            whose = f"The key is the secret {reference_of(choice.api_key)!r}."
            return _Key(self._secrets.meant_by(choice.api_key).for_host(host), True, whose)
        platform = self._settings.providers[choice.provider].platform_key
        if platform is None:
            raise LlmError(
                LlmFailure.UNAUTHORIZED, f"There is no API key for {choice.provider}: name a secret in api_key."
            )
        return _Key(platform.get_secret_value(), False, "The key is the platform's own: its operator has to act.")

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


def _bounded(answer: Completion) -> Completion:
    """The answer as a text that can be kept."""
    text, end = plain_text(answer.text), answer.end
    if len(text) > _MOST_CHARACTERS:
        text, end = text[:_MOST_CHARACTERS], End.TOO_LONG if end is End.WHOLE else end
    return replace(answer, text=text, end=end)


def likely_tokens(request: LlmRequest, first: LlmRequest) -> int:
    """The most tokens that a call is expected to use: what it reads, by its bytes, and all that it may write.

    `first` is the question that this one asks again, or this one itself.
    """
    reads = _reads(first)
    if request is not first:
        reads = min(tokens_of(request.bytes_read), repair_reads(reads, first.max_tokens))
    return call_tokens(reads, request.max_tokens)


def _reads(request: LlmRequest) -> int:
    reads = tokens_of(request.bytes_read)
    return reads if request.most_read is None else min(reads, request.most_read)
