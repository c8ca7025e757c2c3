"""The providers of language models by name, and under which name an organization's default key is resolved. Pure."""

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


def default_secret_name(provider: str) -> str:
    """Where a `ResolvedSecrets` holds the organization's default key for a provider.

    No secret can be called so, and no stage can name it: the key is for stages that name none.
    """
    return f"default:{provider}"
