"""The providers of language models by name, and the model of each that is taken when none is named. Pure."""

from enum import StrEnum
from typing import Final


class LlmProvider(StrEnum):
    """Who runs a model."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GOOGLE = "google"


DEFAULT_MODELS: Final = {
    LlmProvider.OPENAI: "gpt-4o-mini",
    LlmProvider.ANTHROPIC: "claude-3-haiku",
    LlmProvider.GOOGLE: "gemini-2.0-flash",
}
"""The model of a stage that names none."""
