"""The extractors that a collection can name, and the parameters of each. Intake validates with them; Ray reads them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, Field, model_validator

from core.strict_types import STRICT, Whole


class SplitBy(StrEnum):
    """Where a text may be cut."""

    CHARACTERS = "characters"
    WORDS = "words"
    SENTENCES = "sentences"
    PARAGRAPHS = "paragraphs"
    NONE = "none"


class TextExtractorParameters(BaseModel):
    """How `text_extractor` cuts a text into documents."""

    model_config = STRICT

    split_by: Annotated[SplitBy, Field(strict=False)] = SplitBy.SENTENCES
    chunk_size: Whole = Field(default=1000, ge=50, le=10_000)
    """characters in one document, at most"""
    chunk_overlap: Whole = Field(default=0, ge=0, le=5000)
    """characters that a document repeats of the one before it"""

    @model_validator(mode="after")
    def _overlap_is_smaller(self) -> Self:
        if self.chunk_overlap >= self.chunk_size:
            raise ValueError("chunk_overlap must be smaller than chunk_size")
        return self


EXTRACTORS: Final[Mapping[tuple[str, str], type[BaseModel]]] = {("text_extractor", "v1"): TextExtractorParameters}
"""(name, version) → its parameters."""

EXTRACTOR_INPUTS: Final[Mapping[str, tuple[str, ...]]] = {"text_extractor": ("text",)}
"""What an extractor reads, by its name: a collection may say which property of its objects each of them is."""

OUTPUT_SCHEMAS: Final[Mapping[str, Mapping[str, Any]]] = {
    "text_extractor": {"text": {"type": "text", "description": "The piece of text that was embedded."}}
}
"""Fields that an extractor adds to a document, by extractor name."""
