"""The one way from a request to a handler: request id, key, namespace, permission, decode, idempotency. No business."""

import re
import time

import structlog
from flask import Response, request

from api.call import Call, Reply
from api.decode import decode_body
from api.errors import error_reply
from api.idempotency import answer_once
from api.route import NamespaceMode, Route
from api.wire import encode
from config.logging_setup import bind_unit_of_work, unbind_unit_of_work
from core.bootstrap import Services
from core.errors import InvalidRequestError, PermissionDeniedError, UnauthenticatedError
from core.ids import Prefix, random_id
from core.tenancy.tenant import Caller, Namespace

log = structlog.get_logger(__name__)

_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})
_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


class Dispatcher:
    """Answers requests for the routes of the registry."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def answer(self, route: Route, **path: str) -> Response:
        """Enforce what the route says, run its handler, and log one line about it all."""
        started = time.monotonic()
        request_id = _request_id()
        bind_unit_of_work({"request_id": request_id})
        try:
            reply = self._handle(route, request_id, path)
        except Exception as error:
            reply = error_reply(error, request_id)
        _log_request(route, reply, started)
        unbind_unit_of_work("request_id", "namespace_id", "key_id")
        return _response(reply, request_id)

    def refuse(self, error: Exception) -> Response:
        """The answer to what no route takes."""
        started = time.monotonic()
        request_id = _request_id()
        bind_unit_of_work({"request_id": request_id})
        reply = error_reply(error, request_id)
        _log_request(None, reply, started)
        unbind_unit_of_work("request_id")
        return _response(reply, request_id)

    def _handle(self, route: Route, request_id: str, path: dict[str, str]) -> Reply:
        caller = self._authenticate(route)
        namespace = self._namespace(route, caller)
        if caller and route.permission and not caller.key.permission.allows(route.permission):
            raise PermissionDeniedError(needed=route.permission.value)
        body = _read_body(route)
        call = Call(
            services=self._services,
            request_id=request_id,
            caller=caller,
            namespace=namespace,
            path=path,
            query=request.args.to_dict(),
            headers=dict(request.headers.items()),
            body=decode_body(request.content_type, request.headers.get("Content-Encoding"), body),
        )
        return answer_once(route, call, request.path, request.query_string.decode("latin-1"), body)

    def _authenticate(self, route: Route) -> Caller | None:
        if route.permission is None:
            return None
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise UnauthenticatedError
        caller = self._services.tenancy.authenticate(key.strip())
        bind_unit_of_work({"key_id": caller.key.key_id})
        return caller

    def _namespace(self, route: Route, caller: Caller | None) -> Namespace | None:
        if caller is None or route.namespace is NamespaceMode.NONE:
            return None
        named = request.headers.get("X-Namespace", "").strip()
        if not named:
            if route.namespace is NamespaceMode.REQUIRED:
                raise InvalidRequestError("Send the header X-Namespace with a namespace's id or name.")
            return None
        namespace = self._services.tenancy.resolve_namespace(caller.scope, named)
        bind_unit_of_work({"namespace_id": namespace.namespace_id})
        return namespace


def _request_id() -> str:
    sent = request.headers.get("X-Request-ID", "")
    return sent if _SANE_REQUEST_ID.fullmatch(sent) else random_id(Prefix.REQUEST)


def _read_body(route: Route) -> bytes:
    """The body, when the route's method has one. Raises RequestEntityTooLarge above the route's cap."""
    if route.method not in _BODY_METHODS:
        return b""
    request.max_content_length = route.max_body_bytes
    return request.get_data(cache=False)


def _response(reply: Reply, request_id: str) -> Response:
    body = reply.body
    content = b"" if body is None else body if isinstance(body, bytes) else encode(body)
    response = Response(content, reply.status, content_type="application/json" if content else None)
    response.headers.update({**_SECURITY_HEADERS, **reply.headers, "X-Request-ID": request_id})
    if not content:
        response.headers.pop("Content-Type", None)
    return response


def _log_request(route: Route | None, reply: Reply, started: float) -> None:
    log.info(
        "request.handled",
        route=route.name if route else None,
        method=request.method,
        status=reply.status,
        ms=round((time.monotonic() - started) * 1000, 1),
        audit=route.audit.value if route and route.audit else None,
        replayed="Idempotent-Replayed" in reply.headers,
    )
