"""The parameters of the stages that find, filter, order and cut lists of documents. Pure."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    ValidationInfo,
    model_validator,
)

from core.retrievers.filters import Expression, FilterRefusedError, parse_filter
from core.retrievers.parameter_types import NotYet, Parameters, templates_stand
from core.retrievers.templates import is_templated
from core.strict_types import Whole

TEXT_FEATURE: Final = "mixpeek://text_extractor@v1/text_embedding"
_TEXT_FEATURE_NAMES: Final = frozenset(
    f"mixpeek://text_extractor@v1/{output}"
    for output in ("text_embedding", "embedding", "multilingual_e5_large_instruct_v1")
)
"""Published pages name the output of the text extractor in three ways."""
MOST_DOCUMENTS: Final = 5000
"""The longest list of documents that a stage makes."""


def _feature(value: str, info: ValidationInfo) -> str:
    if value in _TEXT_FEATURE_NAMES:
        return TEXT_FEATURE
    if templates_stand(info) and is_templated(value):
        return value
    raise ValueError(f"no such feature; use {TEXT_FEATURE}")


def _direction(value: Any) -> Any:
    return (
        {"ascending": "asc", "descending": "desc"}.get(value.lower(), value.lower())
        if isinstance(value, str)
        else value
    )


FeatureUri = Annotated[str, AfterValidator(_feature)]
Direction = Annotated[Literal["asc", "desc"], BeforeValidator(_direction)]


class SearchQuery(Parameters):
    """What a search looks for: text, or a vector of the embedder's own dimension."""

    input_mode: Literal["text", "content", "vector"] = "text"
    value: str | list[float]

    @model_validator(mode="after")
    def _value_fits_mode(self) -> Self:
        if (self.input_mode == "vector") is isinstance(self.value, str) and not is_templated(self.value):
            raise ValueError("value: a vector is a list of numbers, text and content are a string")
        if self.input_mode == "content" and str(self.value).startswith(("http://", "https://", "data:")):
            raise ValueError("value: content is text in this version, not a link to it")
        if not self.value:
            raise ValueError("value: nothing to search for")
        return self


def _plain_text_is_a_query(value: Any) -> Any:
    return {"input_mode": "text", "value": value} if isinstance(value, str) else value


class Search(Parameters):
    """One ranking of a feature search."""

    feature_uri: FeatureUri
    query: Annotated[SearchQuery, BeforeValidator(_plain_text_is_a_query)]
    top_k: Whole = Field(100, ge=1, le=MOST_DOCUMENTS)
    min_score: float | None = None
    weight: float = Field(1.0, ge=0)
    lexical: bool = False
    """rank by BM25 over the words, instead of by meaning"""
    collection_identifiers: list[str] | None = None

    @model_validator(mode="after")
    def _words_are_text(self) -> Self:
        if self.lexical and self.query.input_mode == "vector":
            raise ValueError("query: a lexical search needs text")
        return self


class FeatureSearch(Parameters):
    """`feature_search`: several rankings fused to one."""

    searches: list[Search] = Field(min_length=1, max_length=10)
    final_top_k: Whole = Field(25, ge=1, le=MOST_DOCUMENTS)
    fusion: Literal["rrf"] | None = None
    facets: NotYet = None
    group_by: NotYet = None


class AttributeFilter(Parameters):
    """`attribute_filter`: keeps documents whose fields fit."""

    field: str | None = None
    operator: str = "eq"
    value: Any = None
    conditions: Any = None
    case_insensitive: bool = False
    natural_language: NotYet = None

    @model_validator(mode="after")
    def _is_one_filter(self, info: ValidationInfo) -> Self:
        beside = "operator" in self.model_fields_set or self.value is not None
        if (self.field is None) is (self.conditions is None) or (self.conditions is not None and beside):
            raise ValueError("give either field, operator and value, or conditions")
        self._parsed(templates=templates_stand(info))
        return self

    @property
    def expression(self) -> Expression:
        """The filter, its placeholders filled in."""
        return self._parsed(templates=False)

    def _parsed(self, templates: bool) -> Expression:
        if self.conditions is None:
            # published clients write a stage's defaults without its value
            return parse_filter({"field": self.field, "operator": self.operator, "value": self.value}, templates)
        try:
            return parse_filter(self.conditions, templates)
        except FilterRefusedError as error:
            raise FilterRefusedError(("conditions", *error.place), error.message) from None


class SortRelevance(Parameters):
    """`sort_relevance`: orders by score."""

    score_field: str = "score"
    direction: Direction = "desc"
    missing_score: float | Literal["bottom", "top", "preserve"] = "bottom"
    """the score of a document without one, or where it comes: last, first, or where it stood"""
    feature_address: NotYet = None


class SortAttribute(Parameters):
    """`sort_attribute`: orders by a field."""

    field: str = Field(validation_alias=AliasChoices("field", "sort_field"), min_length=1)
    direction: Direction = Field("asc", validation_alias=AliasChoices("direction", "order"))
    nulls_last: bool = True


class Limit(Parameters):
    """`limit`: keeps a window of the list."""

    limit: Whole = Field(10, ge=0, le=MOST_DOCUMENTS)
    offset: Whole = Field(0, ge=0)
