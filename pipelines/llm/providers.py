"""Which providers exist: one line each. A provider's client is imported by the first call that needs it."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import SecretStr

from core.language_models.catalogue import NO_OVERRIDES, Catalogue, catalogue
from pipelines.llm.provider import Provider


@dataclass(frozen=True)
class ProviderSettings:
    """How the operator reaches a provider."""

    base_url: str
    platform_key: SecretStr | None = None


@dataclass(frozen=True)
class LlmSettings:
    """What a worker hands to the actor with each call, so that no node of Ray keeps the platform's keys for models."""

    providers: Mapping[str, ProviderSettings] = field(default_factory=dict)
    timeout_seconds: float = 60.0
    most_concurrent: int = 8
    model_overrides: str = NO_OVERRIDES
    """the operator's own entries of models"""

    @property
    def models(self) -> Catalogue:
        """All models, the operator's own entries among them."""
        return catalogue(self.model_overrides)

    @property
    def platform_keys(self) -> list[str]:
        """The platform's keys, for the redactor alone."""
        keys = [provider.platform_key for provider in self.providers.values()]
        return [key.get_secret_value() for key in keys if key is not None]


def _openai(base_url: str) -> Provider:
    from pipelines.llm.openai import OpenAi

    return OpenAi(base_url)


def _anthropic(base_url: str) -> Provider:
    from pipelines.llm.anthropic import Anthropic

    return Anthropic(base_url)


def _google(base_url: str) -> Provider:
    from pipelines.llm.google import Google

    return Google(base_url)


PROVIDERS: Final[Mapping[str, Callable[[str], Provider]]] = {
    "openai": _openai,
    "anthropic": _anthropic,
    "google": _google,
}
"""Provider → makes its client for a base URL."""


class ProviderPool:
    """The clients of one process, with their kept connections. They hold no key."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], Provider] = {}
        self._lock = threading.Lock()

    def get(self, name: str, base_url: str) -> Provider:
        """The client of a provider, made on first use."""
        with self._lock:
            if (name, base_url) not in self._made:
                self._made[name, base_url] = PROVIDERS[name](base_url)
            return self._made[name, base_url]

    def close(self) -> None:
        """Close all kept connections."""
        with self._lock:
            for provider in self._made.values():
                provider.close()
            self._made.clear()
