"""What every provider of models offers. Types only; the clients are imported by the first call that needs them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, Protocol

from config.language_models import LanguageModel
from core.retrievers.estimate import schema_size
from core.retrievers.parameters_llm import MOST_OUTPUT_TOKENS

_TAKES_ALL: Final = LanguageModel(provider="openai")


@dataclass(frozen=True)
class Usage:
    """What calls used."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def __post_init__(self) -> None:
        """Raises TypeError for what is no count: it is charged by."""
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

    @property
    def bytes_read(self) -> int:
        """What the model reads of the question, in bytes."""
        return len(self.prompt.encode()) + len(self.system.encode()) + schema_size(self.schema)


class End(StrEnum):
    """Why an answer ended. All but the first leave it incomplete, and stand in documents as the reason."""

    WHOLE = "whole"
    MAX_TOKENS = "max_tokens"
    """the bound that was asked for"""
    CONTEXT_WINDOW = "context_window"
    """the model's own bound"""
    CONTENT_FILTER = "content_filter"
    TOO_LONG = "too_long"
    """our bound for any answer"""
    INTERRUPTED = "interrupted"
    REFUSAL = "refusal"
    """the model declined, whatever it wrote before"""


@dataclass(frozen=True)
class Completion:
    """A model's answer. It may have no text."""

    text: str
    usage: Usage
    model: str
    """as the provider names it"""
    end: End = End.WHOLE
    value: Any = None
    """the answer as JSON, when a schema was asked for"""


class Provider(Protocol):
    """One provider. It keeps connections and no key, and does not try again by itself."""

    def complete(self, request: LlmRequest, key: str) -> Completion:
        """Ask once. Raises LlmError."""

    def close(self) -> None:
        """Close the kept connections."""
