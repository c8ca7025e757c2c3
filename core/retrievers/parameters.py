"""The parameters of each stage that exists, typed, with the published names and the older ones as aliases. Pure.

Placeholders are not filled in yet when a retriever is saved: `check_parameters` lets them stand for any value then.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from core.errors import FieldProblem, StageError
from core.language_models.catalogue import Catalogue
from core.retrievers.filters import FilterRefusedError
from core.retrievers.keys_in_clear import KEY_IN_CLEAR, keys_in_clear
from core.retrievers.parameter_types import is_own_template
from core.retrievers.parameters_apply import ApiCall, JsonTransform, RagPrepare
from core.retrievers.parameters_llm import LlmEnrich, LlmFilter, QueryExpand, Summarize
from core.retrievers.parameters_search import AttributeFilter, FeatureSearch, Limit, SortAttribute, SortRelevance
from core.retrievers.templates import is_placeholder, is_templated, render, unknown_placeholders
from core.unknown_keys import Location, UnknownKey, unknown_keys

STAGE_PARAMETERS: Final[Mapping[str, type[BaseModel]]] = {
    "feature_search": FeatureSearch,
    "attribute_filter": AttributeFilter,
    "sort_relevance": SortRelevance,
    "sort_attribute": SortAttribute,
    "limit": Limit,
    "llm_enrich": LlmEnrich,
    "llm_filter": LlmFilter,
    "summarize": Summarize,
    "query_expand": QueryExpand,
    "api_call": ApiCall,
    "json_transform": JsonTransform,
    "rag_prepare": RagPrepare,
}
"""The stages that exist: stage id to the type of its parameters."""
WITHOUT_EFFECT: Final = frozenset({"batch_size", "field_hints"})
"""Published keys of `attribute_filter` that choose no documents: the official client sends them."""


def check_parameters(
    stage_id: str, parameters: Mapping[str, Any], location: Location, models: Catalogue
) -> list[FieldProblem]:
    """What is wrong with the parameters of a stage as they are saved. Of a stage to come only its keys are checked."""
    keys = [FieldProblem((*location, *place), KEY_IN_CLEAR, "secret_in_clear") for place in keys_in_clear(parameters)]
    model = STAGE_PARAMETERS.get(stage_id)
    if model is None:
        return keys
    found = [*_unread_filters(model, parameters, location), *_model_problems(model, parameters, location, models)]
    said = {problem.location for problem in found}
    return [*(key for key in keys if key.location not in said), *found]


def unknown_parameters(stage_id: str, parameters: Mapping[str, Any], location: Location) -> list[UnknownKey]:
    """Keys, at any depth, that the stage does not know and will ignore."""
    model = STAGE_PARAMETERS.get(stage_id)
    return [] if model is None else unknown_keys(model, parameters, location)


def _unread_filters(model: type[BaseModel], parameters: Mapping[str, Any], location: Location) -> list[FieldProblem]:
    """Keys that are to keep documents out and that nobody reads: without them, more is found than was asked for."""
    return [
        FieldProblem(unknown.location, _no_filter(model, unknown), "unknown_filter_key")
        for unknown in unknown_keys(model, parameters, location)
        if _is_about_filtering(model, unknown, len(location))
    ]


def _is_about_filtering(model: type[BaseModel], unknown: UnknownKey, depth: int) -> bool:
    name = str(unknown.location[-1])
    own = model is AttributeFilter and len(unknown.location) == depth + 1 and name not in WITHOUT_EFFECT
    return own or is_filter_name(name)


def is_filter_name(name: str) -> bool:
    """Whether a key that nobody reads is to keep documents out, by its name."""
    return "filter" in name.lower() or name.lower() == "where"


def _no_filter(model: type[BaseModel], unknown: UnknownKey) -> str:
    if model is not AttributeFilter:
        return "nothing is filtered by this here: put an attribute_filter stage in its place"
    meant = f"did you mean {unknown.meant}?" if unknown.meant else f"use {', '.join(unknown.known)}"
    return f"no such key: {meant}"


def _model_problems(
    model: type[BaseModel], parameters: Mapping[str, Any], location: Location, models: Catalogue
) -> list[FieldProblem]:
    problems = [
        FieldProblem(location, f"{{{{{expression}}}}} cannot be filled in for this stage: use {{{{INPUT.name}}}}")
        for expression in unknown_placeholders(_filled_in_here(model, parameters))
    ]
    try:
        model.model_validate(parameters, context={"templates": True, "models": models})
    except ValidationError as error:
        problems += [
            _problem(found, location)
            for found in error.errors(include_url=False)
            if not _may_be_filled_in(found) or is_own_template(model, str(found["loc"][0]), found["input"])
        ]
    return problems


def _may_be_filled_in(found: ErrorDetails) -> bool:
    """Whether a placeholder stands where the error is, and what it becomes may be right."""
    if found["type"] in _NO_TEXT_FITS:
        # with more text around it, it becomes a text whatever the input is
        return is_placeholder(found["input"])
    return is_templated(found["input"])


_NO_TEXT_FITS: Final = frozenset({"int_type", "float_type", "bool_type", "list_type", "dict_type", "model_type"})


def _problem(found: ErrorDetails, location: Location) -> FieldProblem:
    cause = found.get("ctx", {}).get("error")
    inside: Location = cause.place if isinstance(cause, FilterRefusedError) else ()
    message = cause.message if isinstance(cause, FilterRefusedError) else found["msg"].removeprefix("Value error, ")
    return FieldProblem((*location, *found["loc"], *inside), message, found["type"])


def filled_parameters(
    stage_id: str, stage_name: str, parameters: Mapping[str, Any], inputs: Mapping[str, Any], models: Catalogue
) -> BaseModel:
    """The parameters as the stage gets them: placeholders filled in, checked and typed. Raises StageError."""
    filled = fill_in(stage_id, parameters, inputs)
    try:
        return STAGE_PARAMETERS[stage_id].model_validate(filled, context={"models": models})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in (stage_name, *first["loc"]))
        raise StageError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None


def fill_in(stage_id: str, parameters: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with their placeholders filled in; templates and references to secrets stay. Raises StageError."""
    model = STAGE_PARAMETERS[stage_id]
    filled: dict[str, Any] = render(_filled_in_here(model, parameters), inputs)
    return {**parameters, **filled}


def _filled_in_here(model: type[BaseModel], parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if not is_own_template(model, name, value)}
