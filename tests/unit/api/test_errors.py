"""The mapping from errors to the published envelope."""

import pytest
from pymongo.errors import AutoReconnect
from redis.exceptions import ConnectionError as RedisConnectionError
from werkzeug.exceptions import MethodNotAllowed, RequestEntityTooLarge, UnsupportedMediaType

from api.errors import error_reply
from api.schemas.errors import ErrorView
from core import errors
from core.backends.backend import Backend


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (errors.InvalidRequestError(), 400, "BadRequestError"),
        (errors.UnauthenticatedError(), 401, "UnauthorizedError"),
        (errors.PermissionDeniedError(), 403, "ForbiddenError"),
        (errors.InsufficientCreditsError(), 403, "QuotaExceededError"),
        (errors.NotFoundError(), 404, "NotFoundError"),
        (MethodNotAllowed(["GET"]), 405, "MethodNotAllowedError"),
        (errors.AlreadyExistsError(), 409, "AlreadyExistsError"),
        (errors.ConflictError(), 409, "ConflictError"),
        (errors.PayloadTooLargeError(), 413, "PayloadTooLargeError"),
        (RequestEntityTooLarge(), 413, "PayloadTooLargeError"),
        (errors.UnsupportedMediaError(), 415, "UnsupportedMediaTypeError"),
        (UnsupportedMediaType(), 415, "UnsupportedMediaTypeError"),
        (errors.ValidationFailedError([]), 422, "ValidationError"),
        (errors.TooManyRequestsError(), 429, "TooManyRequestsError"),
        (errors.IntegrityError(), 500, "InternalServerError"),
        (errors.LeaseLostError(), 500, "InternalServerError"),
        (KeyError("secret"), 500, "InternalServerError"),
        (errors.UnavailableError(), 503, "ServiceUnavailableError"),
        (AutoReconnect("10.0.0.1:27017"), 503, "ServiceUnavailableError"),
        (RedisConnectionError("10.0.0.1:6379"), 503, "ServiceUnavailableError"),
    ],
)
def test_each_kind_has_its_status_and_its_published_name(error: Exception, status: int, name: str) -> None:
    reply = error_reply(error, "req_1")
    assert isinstance(reply.body, ErrorView)
    body = reply.body.model_dump()
    assert (reply.status, body["status"], body["error"]["type"]) == (status, status, name)
    assert (body["success"], body["request_id"]) == (False, "req_1")
    assert "Retry-After" in reply.headers or status != 503


@pytest.mark.parametrize(
    ("error", "backend"),
    [
        (errors.BackendAwayError(Backend.VECTORS, "refused the connection"), "vector_store"),
        (AutoReconnect("10.0.0.1:27017"), "metadata"),
        (RedisConnectionError("10.0.0.1:6379"), "cache"),
    ],
)
def test_a_backend_that_is_away_is_named_with_when_to_come_back(error: Exception, backend: str) -> None:
    reply = error_reply(error, "req_1")
    assert isinstance(reply.body, ErrorView)
    assert (reply.body.error.details, reply.headers) == ({"backend": backend}, {"Retry-After": "5"})


@pytest.mark.parametrize("error", [KeyError("secret"), AutoReconnect("secret"), errors.IntegrityError("secret")])
def test_a_fault_of_ours_or_of_a_backend_says_nothing_of_itself(error: Exception) -> None:
    assert "secret" not in str(error_reply(error, "req_1").body)


def test_every_bad_field_is_listed_as_published() -> None:
    problem = errors.FieldProblem(("stages", 0, "stage_id"), "no such stage", "value_error")
    reply = error_reply(errors.ValidationFailedError([problem]), "req_1")
    assert isinstance(reply.body, ErrorView)
    body = reply.body.model_dump()
    assert body["error"]["details"] == {
        "validation_errors": [
            {"type": "value_error", "location": ["stages", 0, "stage_id"], "message": "no such stage"}
        ]
    }


def test_an_answer_names_so_many_bad_fields_and_no_more() -> None:
    problems = [errors.FieldProblem(("object_ids", index), "must be text") for index in range(10_000)]
    reply = error_reply(errors.ValidationFailedError(problems), "req_1")
    assert isinstance(reply.body, ErrorView)
    body = reply.body.model_dump()
    assert len(body["error"]["details"]["validation_errors"]) == 100


def test_a_refused_method_names_the_ones_that_work() -> None:
    assert error_reply(MethodNotAllowed(["POST", "GET"]), "req_1").headers == {"Allow": "GET, POST"}
