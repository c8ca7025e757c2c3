"""The one place that knows HTTP statuses of errors: an exception in, the published envelope out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from api.call import Reply
from api.schemas.errors import ErrorDetailView, ErrorView
from core.errors import (
    AlreadyExistsError,
    BackendAwayError,
    ConflictError,
    InsufficientCreditsError,
    InvalidRequestError,
    KeystageError,
    NotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
    TooManyRequestsError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedMediaError,
    ValidationFailedError,
)
from core.storage.failures import away

log = structlog.get_logger(__name__)

_RETRY_AFTER_SECONDS = 1
_AWAY_RETRY_AFTER_SECONDS = 5
"""How soon the return of a backend is known for certain: how often each is asked."""
_PROBLEMS_SHOWN = 100
"""Bad fields that one answer names: a body may have half a million."""


@dataclass(frozen=True)
class _Wire:
    status: int
    type: str


_WIRE: Mapping[type[KeystageError], _Wire] = {
    InvalidRequestError: _Wire(400, "BadRequestError"),
    UnauthenticatedError: _Wire(401, "UnauthorizedError"),
    PermissionDeniedError: _Wire(403, "ForbiddenError"),
    InsufficientCreditsError: _Wire(403, "QuotaExceededError"),
    NotFoundError: _Wire(404, "NotFoundError"),
    AlreadyExistsError: _Wire(409, "AlreadyExistsError"),
    ConflictError: _Wire(409, "ConflictError"),
    PayloadTooLargeError: _Wire(413, "PayloadTooLargeError"),
    UnsupportedMediaError: _Wire(415, "UnsupportedMediaTypeError"),
    ValidationFailedError: _Wire(422, "ValidationError"),
    TooManyRequestsError: _Wire(429, "TooManyRequestsError"),
    UnavailableError: _Wire(503, "ServiceUnavailableError"),
}
"""Core errors as the wire names them. A kind that is not here is a fault of ours."""

_TRANSPORT: Mapping[int, KeystageError] = {
    404: NotFoundError("There is no such route."),
    413: PayloadTooLargeError("The body is larger than this route accepts."),
    415: UnsupportedMediaError(),
}
"""What the web framework refuses by itself, as errors of ours."""


@dataclass(frozen=True)
class Failure:
    """One status of a failed request, as the OpenAPI document says it."""

    meaning: str
    sends: tuple[str, ...] = ()
    """headers that are always there"""
    may_send: tuple[str, ...] = ()
    of_bodies: bool = False
    """whether only methods that carry a body fail so"""


FAILURES: Final[Mapping[int, Failure]] = {
    400: Failure("The request could not be understood."),
    401: Failure("There is no valid API key in it.", sends=("WWW-Authenticate",)),
    403: Failure("The key may not do this, or the credits do not suffice."),
    404: Failure("It does not exist, or belongs to somebody else."),
    409: Failure("The name is taken, or the state forbids it now.", may_send=("Retry-After",), of_bodies=True),
    413: Failure("The body is larger than this route accepts.", of_bodies=True),
    415: Failure("The body is not JSON in UTF-8.", of_bodies=True),
    422: Failure("Some fields are not valid: `details.validation_errors` names each."),
    429: Failure("There were too many requests: wait for as long as `Retry-After` says.", sends=("Retry-After",)),
    500: Failure("Something went wrong on our side."),
    503: Failure(
        "A part that is needed does not answer: nothing was done, or what was begun goes on when the same request is"
        " sent again. Try again after `Retry-After`; `details.backend` names the part where one is known.",
        sends=("Retry-After",),
    ),
}
"""Every failure that a route answers."""


def failures(*, keyed: bool, takes_body: bool, names_a_resource: bool, hurried: bool) -> list[int]:
    """The statuses with which a route of this kind may fail."""
    if not keyed:
        return [*([404] if names_a_resource else []), 500, *([503] if hurried else [])]
    return [status for status, failure in FAILURES.items() if takes_body or not failure.of_bodies]


def error_reply(error: Exception, request_id: str) -> Reply:
    """The answer to a failed request. Unknown exceptions are logged in full and answered without a word about them."""
    if isinstance(error, MethodNotAllowed):
        allowed = {"Allow": ", ".join(sorted(error.valid_methods or ()))}
        wire = _Wire(405, "MethodNotAllowedError")
        return _reply(wire, "This route does not take this method.", "method_not_allowed", {}, request_id, allowed)
    known = _known(error)
    if known is None:
        log.error("request.failed", exc_info=error)
        wire = _Wire(500, "InternalServerError")
        return _reply(wire, "Something went wrong on our side.", "internal_error", {}, request_id, {})
    wire = next(_WIRE[kind] for kind in type(known).__mro__ if kind in _WIRE)
    return _reply(wire, known.message, known.code, _details(known), request_id, _headers(wire, known))


def _known(error: Exception) -> KeystageError | None:
    """The error as one that `_WIRE` maps, or None when it is a fault of ours."""
    if isinstance(error, HTTPException):
        status = error.code or 500
        return _TRANSPORT.get(status) or (InvalidRequestError() if 400 <= status < 500 else None)
    if (absent := away(error)) and absent is not error:
        log.warning("request.backend_away", error=type(error).__name__)
        return absent
    return error if isinstance(error, KeystageError) and isinstance(error, tuple(_WIRE)) else None


def _details(error: KeystageError) -> dict[str, Any]:
    if not isinstance(error, ValidationFailedError):
        return dict(error.details)
    return {
        "validation_errors": [
            {"type": problem.kind, "location": list(problem.location), "message": problem.message}
            for problem in error.problems[:_PROBLEMS_SHOWN]
        ]
    }


def _headers(wire: _Wire, error: KeystageError) -> dict[str, str]:
    if wire.status == 401:
        return {"WWW-Authenticate": "Bearer"}
    if "retry_after_seconds" in error.details:
        return {"Retry-After": str(error.details["retry_after_seconds"])}
    seconds = _AWAY_RETRY_AFTER_SECONDS if isinstance(error, BackendAwayError) else _RETRY_AFTER_SECONDS
    return {"Retry-After": str(seconds)} if wire.status == 503 else {}


def _reply(
    wire: _Wire, message: str, code: str, details: Mapping[str, Any], request_id: str, headers: Mapping[str, str]
) -> Reply:
    error = ErrorDetailView(message=message, type=wire.type, code=code, details=dict(details))
    body = ErrorView(success=False, status=wire.status, error=error, request_id=request_id)
    return Reply(body, wire.status, headers)
