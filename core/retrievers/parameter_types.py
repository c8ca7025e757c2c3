"""The types that parameters of several stages share: templates, references to secrets, schemas, conditions. Pure."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo, model_validator

from core.retrievers.filters import parse_filter
from core.retrievers.json_schemas import standing_alone
from core.retrievers.keys_in_clear import KEY_IN_CLEAR
from core.strict_types import STRICT
from core.templating.sandbox import TemplateRefusedError
from core.templating.template import template
from core.vault.references import reference_of

_FIELD = re.compile(r"[A-Za-z][\w-]*(\.[A-Za-z][\w-]*){0,7}", re.ASCII)
_KEPT_FIELDS = frozenset({"document_id", "collection_id", "namespace_id"})


def templates_stand(info: ValidationInfo) -> bool:
    """Whether placeholders are not filled in yet: the stage is being saved."""
    return bool((info.context or {}).get("templates"))


class Parameters(BaseModel):
    """The parameters of a stage."""

    model_config: ClassVar[ConfigDict] = STRICT

    own_templates: ClassVar[frozenset[str]] = frozenset()
    """parameters that the stage renders itself, for each document: whole templates, not placeholders"""
    literals: ClassVar[frozenset[str]] = frozenset()
    """parameters that are taken as they stand: references to secrets, and what no caller may choose"""
    own_nulls: ClassVar[frozenset[str]] = frozenset()
    """parameters for which null says something else than leaving them out"""

    @model_validator(mode="before")
    @classmethod
    def _null_is_the_default(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        return {name: value for name, value in given.items() if value is not None or name in cls.own_nulls}


def is_own_template(model: type[BaseModel], name: str, value: Any) -> bool:
    """Whether a parameter is left as it is until the stage renders it."""
    if not issubclass(model, Parameters):
        return False
    # a condition may be a filter, whose placeholders are filled in like those of any filter
    is_filter = name == "when" and not isinstance(value, str)
    return (name in model.own_templates and not is_filter) or name in model.literals


def template_text(more_names: frozenset[str]) -> AfterValidator:
    """Takes a template that may name these too."""
    return AfterValidator(partial(_compiles, more_names=more_names))


def _compiles(value: str, more_names: frozenset[str] = frozenset()) -> str:
    try:
        template(value, more_names)
    except TemplateRefusedError as error:
        raise ValueError(str(error)) from None
    return value


def _is_reference(value: str) -> str:
    if reference_of(value) is None:
        # the value is not repeated: it may well be the key itself
        raise ValueError(KEY_IN_CLEAR)
    return value


def _is_condition(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, str):
        return _compiles(value)
    if value is not None:
        parse_filter(value, templates_stand(info))
    return value


def _is_field(value: str) -> str:
    if not _FIELD.fullmatch(value) or value in _KEPT_FIELDS:
        raise ValueError("a field's name is letters, digits, - and _, with dots between levels, and not an id")
    return value


def _not_yet(value: Any) -> Any:
    if value:
        raise ValueError("not available in this version; leave it out")
    return value


NotYet = Annotated[Any, AfterValidator(_not_yet)]
TemplateText = Annotated[str, AfterValidator(_compiles)]
SecretReference = Annotated[str, AfterValidator(_is_reference)]
Condition = Annotated[Any, AfterValidator(_is_condition)]
JsonSchema = Annotated[dict[str, Any], AfterValidator(standing_alone)]
OutputField = Annotated[str, AfterValidator(_is_field)]
OnError = Literal["skip", "remove", "raise"]
