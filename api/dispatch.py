"""The one way from a request to a handler: request id, admission, decode, audit, idempotency, log. No business."""

import re
import time
from collections.abc import Mapping

import structlog
from flask import Response, request
from werkzeug.exceptions import MethodNotAllowed, RequestEntityTooLarge

from api.admission import Admission, Gate, require_agreement
from api.call import Call, Reply
from api.cors import CorsPolicy
from api.decode import decode_body, decode_query
from api.door import REPEATED
from api.errors import error_reply
from api.idempotency import answer_once
from api.perform import note_absence, note_denial
from api.route import Route
from api.wire import content_of
from config.logging_setup import bind_unit_of_work, unbind_unit_of_work
from core.bootstrap import Services
from core.errors import InvalidRequestError
from core.ids import Prefix, random_id

log = structlog.get_logger(__name__)

_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_BOUND = ("request_id", "organization_id", "namespace_id", "key_id")
_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
_HSTS = {"Strict-Transport-Security": "max-age=31536000; includeSubDomains"}


class Dispatcher:
    """Answers requests for the routes of the registry."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._gate = Gate(services)
        self._cors = CorsPolicy(services.settings.cors_allowed_origins)

    def answer(self, route: Route, **path: str) -> Response:
        """Enforce what the route says, run its handler, and log one line about it all."""
        started, request_id, admission = time.monotonic(), _request_id(), Admission()
        bind_unit_of_work({"request_id": request_id})
        try:
            reply = self._handle(route, request_id, path, admission)
        except Exception as error:
            reply = error_reply(error, request_id)
            note_absence(self._services, error)
            note_denial(self._services, route, admission, error, request_id, request)
        self._log_request(route, reply, started)
        self._services.metrics.note(route.name, reply.status, time.monotonic() - started, admission.verdict)
        unbind_unit_of_work(*_BOUND)
        return self._response(reply, request_id, admission)

    def refuse(self, error: Exception) -> Response:
        """The answer to what no route takes; a browser's preflight among it."""
        started, request_id = time.monotonic(), _request_id()
        bind_unit_of_work({"request_id": request_id})
        if isinstance(error, MethodNotAllowed) and request.method == "OPTIONS":
            reply = self._cors.preflight(request.headers.get("Origin"), sorted(error.valid_methods or ()))
        else:
            reply = error_reply(error, request_id)
        self._log_request(None, reply, started)
        unbind_unit_of_work("request_id")
        return self._response(reply, request_id, Admission())

    def _handle(self, route: Route, request_id: str, path: dict[str, str], admission: Admission) -> Reply:
        if repeated := request.environ.get(REPEATED):
            raise InvalidRequestError(f"The header {repeated} stands in the request twice: send it once.")
        with self._gate.admitted(route, request, path, admission):
            body = _read_body(route)
            decoded = decode_body(
                request.content_type, request.headers.get("Content-Encoding"), body, route.body_limits
            )
            require_agreement(admission.namespace, decoded.get("namespace_id"), "the body")
            call = Call(
                services=self._services,
                request_id=request_id,
                caller=admission.caller,
                namespace=admission.namespace,
                path=path,
                query=decode_query(request.query_string.decode("latin-1")),
                headers=dict(request.headers.items()),
                body=decoded,
                address=admission.address,
                visible=admission.visible,
            )
            return answer_once(route, call, request.path, request.query_string.decode("latin-1"), body)

    def _response(self, reply: Reply, request_id: str, admission: Admission) -> Response:
        content = content_of(reply.body)
        response = Response(content, reply.status, content_type="application/json" if content else None)
        headers: Mapping[str, str] = {
            **_SECURITY_HEADERS,
            **(_HSTS if self._gate.is_secure(request) else {}),
            **self._cors.headers(request.headers.get("Origin")),
            **admission.headers,
            **reply.headers,
            "X-Request-ID": request_id,
        }
        response.headers.update(headers)
        if not content and "Content-Type" not in reply.headers:
            response.headers.pop("Content-Type", None)
        return response

    def _log_request(self, route: Route | None, reply: Reply, started: float) -> None:
        log.info(
            "request.handled",
            route=route.name if route else None,
            method=request.method,
            status=reply.status,
            ms=round((time.monotonic() - started) * 1000, 1),
            address=self._gate.address(request),
            audit=route.audit.value if route and route.audit else None,
            replayed="Idempotent-Replayed" in reply.headers,
        )


def _request_id() -> str:
    sent = request.headers.get("X-Request-ID", "")
    return sent if _SANE_REQUEST_ID.fullmatch(sent) else random_id(Prefix.REQUEST)


def _read_body(route: Route) -> bytes:
    """The body, when the route's method has one. Raises RequestEntityTooLarge above the route's cap."""
    if not route.takes_body:
        return b""
    # one more than allowed: of a body that names no length, what is beyond the cap would be cut off without a word
    request.max_content_length = route.max_body_bytes + 1
    body = request.get_data(cache=False)
    if len(body) > route.max_body_bytes:
        raise RequestEntityTooLarge
    return body
