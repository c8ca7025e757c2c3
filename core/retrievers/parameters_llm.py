"""The parameters of the stages that ask a language model. Pure."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AliasChoices, Field, ValidationInfo, field_validator, model_validator

from core.language_models.catalogue import Catalogue, LlmProvider, catalogue
from core.retrievers.llm_providers import named_model, provider_of
from core.retrievers.parameter_types import (
    Condition,
    JsonSchema,
    NotYet,
    OnError,
    OutputField,
    Parameters,
    SecretReference,
    TemplateText,
    template_text,
)
from core.retrievers.parameters_search import FeatureSearch
from core.strict_types import Whole

MOST_OUTPUT_TOKENS = 32_768
SUMMARY_NAMES: Final = frozenset({"DOCUMENTS", "DOC_COUNT", "GROUP_VALUE"})
"""What the prompt of a summary may name beside the usual."""
PLACE_NAMES: Final = frozenset({"INDEX"})
"""What the template of one document among several may name beside the usual."""
_LEAVES_A_PATH: Final = frozenset("?#%&:;\\")
_MODEL = AliasChoices("model", "model_name")
_SCHEMA = AliasChoices("schema", "output_schema")


def models_of(info: ValidationInfo) -> Catalogue:
    """The models that a validation knows: those of its context, or else the published ones."""
    known = (info.context or {}).get("models")
    return known if isinstance(known, Catalogue) else catalogue()


def _require_name(model: str, in_a_path: bool) -> None:
    """Raise ValueError for what names no model. One that stands in a URL's path must not end it, or leave it."""
    if not model.isprintable() or model != model.strip():
        raise ValueError("a model's name has no spaces around it, and no control characters")
    if in_a_path and (_LEAVES_A_PATH & set(model) or ".." in model):
        raise ValueError("a name of Google's models has letters, digits and . - _ / only")


class Asking(Parameters):
    """What all of them have."""

    literals: ClassVar[frozenset[str]] = frozenset({"api_key"})
    own_nulls: ClassVar[frozenset[str]] = frozenset({"temperature"})

    provider: Annotated[LlmProvider, Field(strict=False)] = LlmProvider.OPENAI
    model: str = Field("", validation_alias=_MODEL, min_length=1, max_length=200)
    """the provider's default when none is named"""
    api_key: SecretReference | None = None
    temperature: float | None = Field(0.2, ge=0, le=2)
    """None sends none"""

    @model_validator(mode="before")
    @classmethod
    def _model_says_whose_it_is(cls, given: Any, info: ValidationInfo) -> Any:
        if not isinstance(given, Mapping):
            return given
        models = models_of(info)
        provider = provider_of(given, models)
        knows_one = named_model(given) or provider not in list(LlmProvider)
        return {**given, "provider": provider, **({} if knows_one else {"model": models.default(provider)})}

    @field_validator("model")
    @classmethod
    def _is_of_its_provider(cls, model: str, info: ValidationInfo) -> str:
        provider, family = info.data.get("provider"), models_of(info).family(model)
        _require_name(model, in_a_path=provider is LlmProvider.GOOGLE)
        # any model may stand behind a base URL that speaks OpenAI's protocol
        if provider not in (None, LlmProvider.OPENAI) and family not in (None, provider):
            raise ValueError(f"this is a model of {family} and not of the provider {provider}")
        return model


class LlmEnrich(Asking):
    """`llm_enrich`: one answer of a model for each document."""

    own_templates: ClassVar[frozenset[str]] = frozenset({"prompt", "system_prompt", "when"})

    prompt: TemplateText = Field(min_length=1)
    system_prompt: TemplateText | None = None
    output_field: OutputField = "summary"
    output_schema: JsonSchema | None = Field(None, validation_alias=_SCHEMA)
    max_tokens: Whole = Field(512, ge=1, le=MOST_OUTPUT_TOKENS)
    batch_size: Whole = Field(5, ge=1, le=25)
    """documents that are asked about at the same time"""
    when: Condition = None
    on_error: OnError = "raise"
    multimodal_inputs: NotYet = None


class LlmFilter(Asking):
    """`llm_filter`: keeps the documents that a model says meet the criteria."""

    own_templates: ClassVar[frozenset[str]] = frozenset({"criteria", "when"})

    criteria: TemplateText = ""
    """without any, every document passes"""
    temperature: float | None = Field(0.0, ge=0, le=2)
    include_reasoning: bool = Field(False, validation_alias=AliasChoices("include_reasoning", "explanation"))
    batch_size: Whole = Field(10, ge=1, le=25)
    when: Condition = None
    """documents for which it does not hold pass without being asked about"""
    on_error: OnError = "raise"
    include_media: NotYet = None


class Summarize(Asking):
    """`summarize`: one answer over all documents, or one for each group of them, or for each of them."""

    own_templates: ClassVar[frozenset[str]] = frozenset({"prompt", "document_template"})

    prompt: Annotated[str, template_text(SUMMARY_NAMES)] = "Summarize these documents."
    """followed by the documents, unless it says where they stand"""
    document_template: Annotated[str, template_text(PLACE_NAMES)] | None = None
    mode: Literal["aggregate", "per_document"] = "aggregate"
    group_by: str | None = Field(None, min_length=1, max_length=200)
    output_field: OutputField = "summary"
    max_input_tokens: Whole = Field(8000, ge=16, le=1_000_000)
    truncation_strategy: Literal["drop_last", "truncate_each", "smart"] = "smart"
    max_output_tokens: Whole = Field(
        1024, ge=1, le=MOST_OUTPUT_TOKENS, validation_alias=AliasChoices("max_output_tokens", "max_tokens")
    )
    output_schema: JsonSchema | None = Field(None, validation_alias=AliasChoices("output_schema", "schema"))

    @field_validator("group_by")
    @classmethod
    def _documents_are_no_groups(cls, group_by: str | None, info: ValidationInfo) -> str | None:
        if group_by is not None and info.data.get("mode") == "per_document":
            raise ValueError("a summary of each document has no groups: leave mode or group_by out")
        return group_by


class QueryExpand(Asking):
    """`query_expand`: a feature search by several wordings of its query, fused to one ranking."""

    feature_search_config: FeatureSearch
    num_expansions: Whole = Field(3, ge=1, le=10)
    model: str = Field(
        "",
        validation_alias=AliasChoices("expansion_model", "model", "model_name"),
        min_length=1,
        max_length=200,
    )
    temperature: float | None = Field(0.7, ge=0, le=2)
    include_original: bool = True
    rrf_k: Whole = Field(60, ge=1, le=1000)
    fusion_strategy: Literal["rrf"] = "rrf"
    deduplicate: bool = True
    """whether wordings that are the same but for case are searched once"""
