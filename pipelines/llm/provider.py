"""What every provider of models offers. Types only; the clients are imported by the first call that needs them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from config.language_models import LanguageModel
from core.retrievers.parameters_llm import MOST_OUTPUT_TOKENS

_TAKES_ALL: Final = LanguageModel(provider="openai")


@dataclass(frozen=True)
class Usage:
    """What calls used."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def __post_init__(self) -> None:
        """Raises TypeError for what is no count: it is charged by, and a provider may write anything there."""
        for count in (self.calls, self.input_tokens, self.output_tokens):
            if type(count) is not int or count < 0:
                raise TypeError("no count of tokens")

    @property
    def tokens(self) -> int:
        """Read and written."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.calls + other.calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
        )

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(
            self.calls - other.calls,
            self.input_tokens - other.input_tokens,
            self.output_tokens - other.output_tokens,
        )


@dataclass(frozen=True)
class LlmRequest:
    """One question to a model."""

    model: str
    prompt: str
    max_tokens: int
    system: str = ""
    temperature: float | None = None
    schema: Mapping[str, Any] | None = None
    """the JSON schema that the answer must fit; None for free text"""
    most_read: int | None = None
    """tokens that the prompt was cut to, where it was"""
    takes: LanguageModel = _TAKES_ALL
    """what a request to this model may carry"""

    @property
    def most_output(self) -> int:
        """The largest `max_tokens` that this model can be asked with."""
        return min(MOST_OUTPUT_TOKENS, self.takes.output or MOST_OUTPUT_TOKENS)

    def within_bounds(self) -> "LlmRequest":
        """The request, which asks for no more than the model can write."""
        return replace(self, max_tokens=min(self.max_tokens, self.most_output))


@dataclass(frozen=True)
class Completion:
    """A model's answer."""

    text: str
    usage: Usage
    model: str
    """as the provider names it"""
    value: Any = None
    """the answer as JSON, when a schema was asked for"""

    def __post_init__(self) -> None:
        """Raises TypeError when a provider wrote something else than text."""
        if not isinstance(self.text, str):
            raise TypeError("no text")


class Provider(Protocol):
    """One provider. It keeps connections and no key, and does not try again by itself."""

    def complete(self, request: LlmRequest, key: str) -> Completion:
        """Ask once. Raises LlmError."""

    def close(self) -> None:
        """Close the kept connections."""
