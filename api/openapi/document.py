"""Builds the OpenAPI 3.1 document from the routes. It describes and never enforces."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from api.openapi.answers import HEADERS, answers_of, failed_answers
from api.openapi.decoding import DEFINITIONS, as_decoded
from api.openapi.parameters import parameters_of, path_of
from api.openapi.references import REF_TEMPLATE, Schemas
from api.route import JSON, Route
from api.schemas.errors import ErrorView

_SECURITY: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key: `Authorization: Bearer ks_live_…`."}
}
_SENTENCE = re.compile(r"(.+?[.!?])(\s|$)", re.DOTALL)


def build_document(routes: Sequence[Route]) -> dict[str, Any]:
    """The whole document, ready to be written as JSON."""
    schemas = _schemas_of(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(path_of(route.rule), {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Keystage",
            "version": "1",
            "description": "An open, self-hosted, multi-tenant job pipeline. Times are RFC 3339 in UTC.",
        },
        "tags": [{"name": noun} for noun in dict.fromkeys(_noun(route) for route in routes)],
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in schemas.definitions.items() if name not in _queries(routes)},
            "responses": failed_answers(schemas),
            "headers": HEADERS,
            "securitySchemes": _SECURITY,
        },
    }


def _schemas_of(routes: Iterable[Route]) -> Schemas:
    """The schemas of every model that a route names."""
    read = {model for route in routes for model in (route.body, route.query) if model}
    shown = {model for route in routes for model in route.answers.values() if model} | {ErrorView}
    read_places, read_definitions = _models(read, "validation")
    shown_places, shown_definitions = _models(shown, "serialization")
    decoded = {name: as_decoded(schema) for name, schema in read_definitions.items()}
    return Schemas({**read_places, **shown_places}, {**decoded, **shown_definitions, **DEFINITIONS})


def _models(models: set[type[BaseModel]], mode: JsonSchemaMode) -> tuple[dict[type[BaseModel], Any], dict[str, Any]]:
    ordered = sorted(models, key=lambda model: model.__name__)
    places, found = models_json_schema([(model, mode) for model in ordered], ref_template=REF_TEMPLATE)
    return {model: places[model, mode] for model in ordered}, found["$defs"]


def _queries(routes: Iterable[Route]) -> set[str]:
    """Models that the document shows as parameters."""
    return {route.query.__name__ for route in routes if route.query}


def _operation(route: Route, schemas: Schemas) -> dict[str, Any]:
    text = " ".join((route.handler.__doc__ or "").split())
    summary = _SENTENCE.match(text)
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": (summary[1] if summary else text).rstrip("."),
        "description": text,
        "tags": [_noun(route)],
        "security": [{"bearer": []}] if route.permission else [],
        "parameters": parameters_of(route, schemas),
        "responses": answers_of(route, schemas),
        **_extensions(route),
    }
    if route.body:
        operation["requestBody"] = _request_body(route.body, schemas)
    return operation


def _request_body(model: type[BaseModel], schemas: Schemas) -> dict[str, Any]:
    needed = any(field.is_required() for field in model.model_fields.values())
    return {"required": needed, "content": {JSON: {"schema": schemas.of(model)}}}


def _extensions(route: Route) -> Mapping[str, Any]:
    """What the dispatcher enforces, for programs that read it."""
    facts = {
        "x-permission": route.permission,
        "x-rate-class": route.rate if route.permission else None,
        "x-price-class": route.price if route.permission else None,
        "x-audit-action": route.audit,
        "x-scope-resource": route.resource.type if route.resource else None,
        "x-namespace": route.namespace,
    }
    return {name: fact.value for name, fact in facts.items() if fact is not None}


def _noun(route: Route) -> str:
    return route.name.partition(".")[0]
