"""Which secrets a retriever's stages name, and where in a request none may be named. Pure; resolves nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import FieldProblem, StageError
from core.language_models.catalogue import Catalogue
from core.retrievers.llm_providers import WHO_IS_ASKED, provider_of
from core.retrievers.templates import render
from core.vault.references import misplaced_references, references_anywhere, references_in

LLM_STAGES = frozenset({"llm_enrich", "llm_filter", "summarize", "query_expand"})
"""Stages that call a language model with a key."""


def secret_names(stages: Sequence[Mapping[str, Any]]) -> list[str]:
    """The secrets that stored stages name, in order, each once."""
    return sorted({found.name for stage in stages for found in references_in(stage["config"]["parameters"])})


def with_default_credentials(
    stages: Sequence[Mapping[str, Any]],
    credentials: Mapping[str, str],
    inputs: Mapping[str, Any],
    models: Catalogue,
) -> list[Mapping[str, Any]]:
    """The stages, in which an LLM stage that names no key names the organization's secret for its provider.

    `inputs` are the execution's: they may say which provider a stage asks.
    """
    return [_with_default(stage, credentials, inputs, models) for stage in stages]


def _with_default(
    stage: Mapping[str, Any], credentials: Mapping[str, str], inputs: Mapping[str, Any], models: Catalogue
) -> Mapping[str, Any]:
    config = stage["config"]
    parameters = config["parameters"]
    if config["stage_id"] not in LLM_STAGES or parameters.get("api_key") is not None:
        return stage
    name = credentials.get(provider_asked(parameters, inputs, models) or "")
    if name is None:
        return stage
    return {**stage, "config": {**config, "parameters": {**parameters, "api_key": f"{{{{secrets.{name}}}}}"}}}


def provider_asked(parameters: Mapping[str, Any], inputs: Mapping[str, Any], models: Catalogue) -> str | None:
    """Which provider an LLM stage asks. None without the input that names it: the stage fails then, and says so."""
    try:
        return provider_of(render({name: parameters.get(name) for name in WHO_IS_ASKED}, inputs), models)
    except StageError:
        return None


def misplaced_secrets(body: Mapping[str, Any]) -> list[FieldProblem]:
    """The places of a request for a retriever where a secret is named and may not be."""
    problems = [
        problem for name, value in body.items() if name != "stages" for problem in references_anywhere(value, (name,))
    ]
    stages = body.get("stages")
    for index, stage in enumerate(stages if isinstance(stages, list) else []):
        if isinstance(stage, Mapping):
            problems += _in_stage(stage, ("stages", index))
    return problems


def _in_stage(stage: Mapping[str, Any], at: tuple[str | int, ...]) -> list[FieldProblem]:
    """A stage may carry its parameters at its top, in its config, or, as it was read from us, in both."""
    problems = []
    for name, value in stage.items():
        if name == "parameters" and isinstance(value, Mapping):
            problems += _in_parameters(value, (*at, name))
        elif name == "config" and isinstance(value, Mapping):
            problems += _in_stage(value, (*at, name))
        else:
            problems += references_anywhere(value, (*at, name))
    return problems


def _in_parameters(parameters: Mapping[str, Any], at: tuple[str | int, ...]) -> list[FieldProblem]:
    return [
        FieldProblem((*at, *problem.location), problem.message, problem.kind)
        for problem in misplaced_references(parameters)
    ]
