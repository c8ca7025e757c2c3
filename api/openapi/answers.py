"""The answers of an operation: what it gives, and every way in which it may fail."""

from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel

from api.errors import FAILURES, Failure, failures
from api.openapi.references import Schemas
from api.route import JSON, Route
from api.schemas.errors import ErrorView
from api.schemas.tasks import TaskView


def _header(description: str, kind: str = "string", **more: Any) -> dict[str, Any]:
    return {"description": description, "schema": {"type": kind}, **more}


HEADERS: Final = {
    "X-Request-ID": _header("The id of this request, yours or ours.", required=True),
    "X-RateLimit-Limit": _header("Requests that the tightest limit allows in its window.", "integer"),
    "X-RateLimit-Remaining": _header("Requests left in this window.", "integer"),
    "X-RateLimit-Reset": _header("When the window ends, in seconds since 1970.", "integer"),
    "X-RateLimit-Window": _header("The length of the window, in seconds.", "integer"),
    "RateLimit": _header("What is left of each limit."),
    "RateLimit-Policy": _header("The limits that apply."),
    "Retry-After": _header("Seconds to wait.", "integer"),
    "RequiredRetryAfter": _header("Seconds to wait.", "integer", required=True),
    "WWW-Authenticate": _header("How to authenticate.", required=True),
    "Location": _header("Where the task is.", required=True),
    "Preference-Applied": _header("Which preference was obeyed."),
    "Idempotent-Replayed": _header("`true` when this is an earlier request's answer."),
    "ETag": _header("The version of what is answered.", required=True),
}
"""Every header of an answer that the document describes, by its name in `components`."""
_ALWAYS: Final = {"Retry-After": "RequiredRetryAfter"}
"""Headers that some answers may have, and others always have."""
_LIMITS = (
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-RateLimit-Window",
    "RateLimit",
    "RateLimit-Policy",
)


def answers_of(route: Route, schemas: Schemas) -> dict[str, Any]:
    """Every answer of a route, by status."""
    given = {str(status): _success(route, status, model, schemas) for status, model in route.answers.items()}
    failing = failures(
        keyed=route.permission is not None,
        takes_body=route.takes_body,
        names_a_resource="<" in route.rule,
        hurried=route.hurried,
    )
    failed = {str(status): _reference("responses", _name(status)) for status in failing}
    return failed | given


def failed_answers(schemas: Schemas) -> dict[str, Any]:
    """The failures, each once for all routes, by the names that `answers_of` refers to."""
    return {_name(status): _failure(failure, schemas) for status, failure in FAILURES.items()}


def _success(route: Route, status: int, model: type[BaseModel] | None, schemas: Schemas) -> dict[str, Any]:
    headers = _common(route)
    if model is TaskView and route.method == "POST":
        headers["Location"] = "Location"
    if status == 202:
        headers["Preference-Applied"] = "Preference-Applied"
    if 304 in route.answers:
        headers["ETag"] = "ETag"
    described = {"description": HTTPStatus(status).phrase, "headers": _header_references(headers)}
    if model:
        return {**described, "content": {JSON: {"schema": schemas.of(model)}}}
    if route.produces != (JSON,) and status == 200:
        return {**described, "content": {media: {} for media in route.produces}}
    return described


def _failure(failure: Failure, schemas: Schemas) -> dict[str, Any]:
    headers = {name: name for name in ("X-Request-ID", *_LIMITS, *failure.may_send)}
    headers |= {name: _ALWAYS.get(name, name) for name in failure.sends}
    content = {JSON: {"schema": schemas.of(ErrorView)}}
    return {"description": failure.meaning, "headers": _header_references(headers), "content": content}


def _common(route: Route) -> dict[str, str]:
    """Headers of any success: their names, and what they are called in `components`."""
    limits = _LIMITS if route.permission else ()
    replayed = ("Idempotent-Replayed",) if route.idempotent else ()
    return {name: name for name in ("X-Request-ID", *limits, *replayed)}


def _name(status: int) -> str:
    return HTTPStatus(status).phrase.replace(" ", "")


def _header_references(headers: dict[str, str]) -> dict[str, Any]:
    return {name: _reference("headers", component) for name, component in headers.items()}


def _reference(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}
