"""The parameters of each stage that exists, typed, with the published names and the older ones as aliases. Pure.

Placeholders are not filled in yet when a retriever is saved: `check_parameters` lets them stand for any value then.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import AliasChoices, BaseModel, ValidationError

from core.errors import FieldProblem, StageError
from core.language_models.catalogue import Catalogue
from core.retrievers.keys_in_clear import KEY_IN_CLEAR, keys_in_clear
from core.retrievers.parameter_types import is_own_template
from core.retrievers.parameters_apply import ApiCall, JsonTransform, RagPrepare
from core.retrievers.parameters_llm import LlmEnrich, LlmFilter, QueryExpand, Summarize
from core.retrievers.parameters_search import AttributeFilter, FeatureSearch, Limit, SortAttribute, SortRelevance
from core.retrievers.templates import is_templated, render, unknown_placeholders

Location = tuple[str | int, ...]

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


def check_parameters(
    stage_id: str, parameters: Mapping[str, Any], location: Location, models: Catalogue
) -> list[FieldProblem]:
    """What is wrong with the parameters of a stage as they are saved. Of a stage to come only its keys are checked."""
    keys = [FieldProblem((*location, *place), KEY_IN_CLEAR, "secret_in_clear") for place in keys_in_clear(parameters)]
    model = STAGE_PARAMETERS.get(stage_id)
    if model is None:
        return keys
    found = _model_problems(model, parameters, location, models)
    said = {problem.location for problem in found}
    return [*(key for key in keys if key.location not in said), *found]


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
            FieldProblem((*location, *found["loc"]), found["msg"].removeprefix("Value error, "), found["type"])
            for found in error.errors(include_url=False)
            if not is_templated(found["input"]) or is_own_template(model, str(found["loc"][0]), found["input"])
        ]
    return problems


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


def unknown_parameters(stage_id: str, parameters: Mapping[str, Any]) -> list[str]:
    """Names that the stage does not know and will ignore."""
    model = STAGE_PARAMETERS.get(stage_id)
    if model is None:
        return []
    known: set[str] = set()
    for name, info in model.model_fields.items():
        alias = info.validation_alias
        known |= {str(choice) for choice in alias.choices} if isinstance(alias, AliasChoices) else {name}
    return [name for name in parameters if name not in known]
