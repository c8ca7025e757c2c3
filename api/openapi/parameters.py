"""The parameters of an operation: what stands in the path, in the query and in the headers."""

import re
from collections.abc import Mapping
from typing import Any, Final

from api.idempotency import HEADER, SHAPE
from api.openapi.references import Schemas
from api.route import NamespaceMode, Route

_PARAMETER = re.compile(r"<(?:[a-z]+:)?([a-z_]+)>")
_SEGMENT: Final = {"type": "string", "minLength": 1, "pattern": "^[^/]+$"}

PATH: Final[Mapping[str, str]] = {
    "namespace_id": "A namespace's id or name.",
    "bucket_id": "A bucket's id or name.",
    "object_id": "An object's id.",
    "collection_id": "A collection's id or name.",
    "document_id": "A document's id.",
    "batch_id": "A batch's id.",
    "task_id": "A task's id.",
    "retriever_id": "A retriever's id or name.",
    "execution_id": "An execution's id.",
    "webhook_id": "A webhook's id.",
    "delivery_id": "A delivery's id.",
    "user_email": "A user's email.",
    "key_name": "The name of one of the user's active keys.",
    "secret_name": "A secret's name.",
    "audit_id": "An audit event's id.",
    "file": "A file of the documentation page.",
}
"""What each parameter of a path names."""

_NAMESPACE: Final = {
    "name": "X-Namespace",
    "in": "header",
    "description": "The namespace, by id or name. An empty one counts as not sent.",
}
_REQUEST_ID: Final = {
    "name": "X-Request-ID",
    "in": "header",
    "description": "Your own id of this request: 1 to 128 of `A-Z a-z 0-9 . _ -`. Anything else is replaced.",
    "schema": {"type": "string"},
}
_IDEMPOTENCY_KEY: Final = {
    "name": HEADER,
    "in": "header",
    "description": "The same key with the same request gets the first answer again, and does nothing twice.",
    "schema": {"type": "string", "pattern": f"^{SHAPE}$"},
}
_PREFER: Final = {
    "name": "Prefer",
    "in": "header",
    "description": "`respond-async` answers 202 with the task at once.",
    "schema": {"type": "string"},
    "example": "respond-async",
}


def path_of(rule: str) -> str:
    """A rule as OpenAPI writes it."""
    return _PARAMETER.sub(r"{\1}", rule)


def parameters_of(route: Route, schemas: Schemas) -> list[dict[str, Any]]:
    """All parameters of a route."""
    return [
        *(_path_parameter(name) for name in _PARAMETER.findall(route.rule)),
        *_query_parameters(route, schemas),
        *_headers(route),
    ]


def _path_parameter(name: str) -> dict[str, Any]:
    described = {"description": PATH[name]} if name in PATH else {}
    return {"name": name, "in": "path", "required": True, **described, "schema": _SEGMENT}


def _query_parameters(route: Route, schemas: Schemas) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    properties: Mapping[str, Mapping[str, Any]] = schemas.taken_apart(route.query)["properties"]
    return [_query_parameter(name, schema) for name, schema in properties.items()]


def _query_parameter(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    # a parameter is sent or not: null is how the model says that it was not
    kinds = [kind for kind in schema.get("anyOf", [schema]) if kind != {"type": "null"}]
    hidden = ("title", "description") if schema.get("default") is not None else ("title", "description", "default")
    shape = {key: value for key, value in kinds[0].items() if key not in hidden}
    return {"name": name, "in": "query", "description": schema.get("description", ""), "schema": shape}


def _headers(route: Route) -> list[dict[str, Any]]:
    headers: list[dict[str, Any]] = []
    if route.namespace is not NamespaceMode.NONE:
        required = route.namespace is NamespaceMode.REQUIRED
        shape = {"type": "string", **({"minLength": 1} if required else {})}
        headers.append({**_NAMESPACE, "required": required, "schema": shape})
    if route.idempotent:
        headers.append(dict(_IDEMPOTENCY_KEY))
    if 202 in route.answers:
        headers.append(dict(_PREFER))
    return [*headers, dict(_REQUEST_ID)]
