"""The OpenAPI document: every route, every failure, and nothing of ours that must stay inside."""

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from pydantic import RootModel

from api.decode import decode_body
from api.errors import FAILURES
from api.openapi.document import build_document
from api.openapi.parameters import PATH, path_of
from api.registry import ROUTES
from api.route import JSON, Route
from api.schemas.fields import View
from core.errors import InvalidRequestError

INSIDE = re.compile(r"internal_?id|verifier|pepper|\bmac\b|wrapped|sealed|\btoken\b|\b_id\b|hold_id|fence|blob_key")
"""Names and words of what never leaves."""
BODY_METHODS = ("POST", "PUT", "PATCH")


@cache
def document() -> dict[str, Any]:
    return build_document(ROUTES)


def operation(route: Route) -> dict[str, Any]:
    found: dict[str, Any] = document()["paths"][path_of(route.rule)][route.method.lower()]
    return found


def inside(value: object) -> Iterator[Mapping[str, Any]]:
    """Every object in a JSON value."""
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from inside(child)


def resolved(value: Mapping[str, Any]) -> Any:
    """What a reference refers to."""
    found: Any = document()
    for name in value["$ref"].removeprefix("#/").split("/") if "$ref" in value else ():
        found = found[name]
    return found if "$ref" in value else value


def lacks(route: Route) -> list[str]:
    """What a row of the table does not say."""
    source = inspect.getsource(route.handler)
    reads_body = route.method in BODY_METHODS and ("call.parse(" in source or "call.body" in source)
    reads_query = any(name in source for name in ("page_request(", "list_request(", "parse_query("))
    checks = {
        "answers": bool(route.answers),
        "body": route.body is not None or not reads_body,
        "query": route.query is not None or not reads_query,
        "docstring": bool((route.handler.__doc__ or "").strip()),
    }
    return [name for name, said in checks.items() if not said]


def test_the_document_is_valid_openapi_3_1() -> None:
    validate(document())
    assert document()["openapi"].startswith("3.1")


def test_every_route_is_in_the_document_and_nothing_else() -> None:
    written = {one["operationId"] for path in document()["paths"].values() for one in path.values()}
    assert written == {route.name for route in ROUTES}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_a_row_says_all_that_the_document_needs(route: Route) -> None:
    assert lacks(route) == []
    assert set(re.findall(r"<(?:\w+:)?(\w+)>", route.rule)) <= PATH.keys()


def test_a_row_that_lacks_something_is_noticed() -> None:
    create = next(route for route in ROUTES if route.name == "buckets.create")
    lists = next(route for route in ROUTES if route.name == "buckets.list")
    assert lacks(replace(create, body=None, answers={})) == ["answers", "body"]
    assert lacks(replace(lists, query=None)) == ["query"]


@pytest.mark.parametrize("route", [route for route in ROUTES if route.permission], ids=lambda route: route.name)
def test_a_route_with_a_key_lists_every_failure(route: Route) -> None:
    answers = operation(route)["responses"]
    expected = set(FAILURES) if route.method in BODY_METHODS else set(FAILURES) - {409, 413, 415}
    assert {str(status) for status in expected} <= answers.keys()
    for status in expected:
        failure = resolved(answers[str(status)])
        assert failure["content"][JSON]["schema"] == {"$ref": "#/components/schemas/ErrorView"}
        assert "X-Request-ID" in failure["headers"]
    for waiting in ("429", "503"):
        assert resolved(resolved(answers[waiting])["headers"]["Retry-After"])["required"]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_an_operation_says_what_the_dispatcher_enforces(route: Route) -> None:
    shown = operation(route)
    headers = {one["name"]: one.get("required", False) for one in shown["parameters"] if one["in"] == "header"}
    assert bool(shown["security"]) is (route.permission is not None) is ("x-permission" in shown)
    assert headers.get("X-Namespace") == {"required": True, "optional": False, "none": None}[route.namespace.value]
    assert ("Idempotency-Key" in headers) is route.idempotent
    assert ("requestBody" in shown) is (route.body is not None)


def test_health_promises_only_what_it_can_answer() -> None:
    paths = document()["paths"]
    assert paths["/v1/health/liveness"]["get"]["responses"].keys() == {"200", "500"}
    assert paths["/v1/health/readiness"]["get"]["responses"].keys() == {"200", "500", "503"}


def test_nothing_that_stays_inside_is_reached_from_any_schema() -> None:
    names = {name for found in inside(document()["components"]["schemas"]) for name in found.get("properties", {})}
    assert {"task_id", "webhook_id", "signing_secret"} <= names
    assert [name for name in names if INSIDE.search(name)] == []


@pytest.mark.parametrize(
    "model",
    {model for route in ROUTES for model in route.answers.values() if model},
    ids=lambda model: model.__name__,
)
def test_an_answer_lists_its_fields(model: type[View]) -> None:
    if issubclass(model, RootModel):
        assert model.__name__ == "Document"
        return
    assert issubclass(model, View)
    schema = document()["components"]["schemas"][model.__name__]
    assert set(schema["properties"]) == set(model.model_fields)
    # a customer's own keys stand beside ours in these, and in no other
    open_to_more = model.__name__ in {"ObjectView", "CreatedObjectView", "DocumentView"}
    assert schema["additionalProperties"] is open_to_more


def test_every_field_that_leaves_is_described() -> None:
    silent = [
        f"{name}.{field}"
        for name, schema in document()["components"]["schemas"].items()
        if name.endswith(("View", "List"))
        for field, shape in schema["properties"].items()
        if not shape.get("description")
    ]
    assert silent == []


def test_every_named_schema_is_used() -> None:
    used = {found["$ref"] for found in inside(document()) if isinstance(found.get("$ref"), str)}
    parts = document()["components"]
    named = {f"#/components/{kind}/{name}" for kind in ("schemas", "headers", "responses") for name in parts[kind]}
    assert named - used == set()


@pytest.mark.parametrize(
    "body",
    [
        {"a.b": 1},
        {"$where": 1},
        {"deep": [{"down": {"a.b": None}}]},
        {"k" * 257: 1},
        {"": 1},
        {"deep": [{"": 1}]},
        {"text": "a\x00b"},
        {"nul\x00": 1},
        {"fine": [1, 2.5, None, True, "text", {" ": {"deeper": -(2**63)}}]},
        {"a double": [1e30, -6.02e23, 1e-9, 2.0]},
        {"also fine": {"a$": "$a.b", "k" * 256: 2**63 - 1}},
    ],
)
def test_a_body_schema_takes_what_the_decoder_takes(body: dict[str, Any]) -> None:
    try:
        decode_body("application/json", None, json.dumps(body).encode())
        taken = True
    except InvalidRequestError:
        taken = False
    validator = Draft202012Validator({"$ref": "#/components/schemas/WebhookFilter", **document()})
    assert validator.is_valid(body) is taken
