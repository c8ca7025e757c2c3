"""Which exceptions of drivers say that a backend is away, and which of them that it only said nothing."""

import pytest
from pymongo import errors as mongo
from redis import exceptions as redis

from core.backends.backend import Backend
from core.errors import BackendAwayError, StageError
from core.storage.failures import away, failed_backend

REFUSED, SILENT = False, True


@pytest.mark.parametrize(
    ("error", "backend", "silent"),
    [
        (mongo.AutoReconnect("connection closed"), Backend.MONGO, REFUSED),
        (mongo.ServerSelectionTimeoutError("no server"), Backend.MONGO, REFUSED),
        (mongo.NotPrimaryError("stepped down"), Backend.MONGO, REFUSED),
        (mongo.WaitQueueTimeoutError("no connection"), Backend.MONGO, REFUSED),
        (mongo.WTimeoutError("no majority", 64), Backend.MONGO, REFUSED),
        (mongo.NetworkTimeout("timed out"), Backend.MONGO, SILENT),
        (mongo.ExecutionTimeout("took too long", 50), Backend.MONGO, SILENT),
        (redis.ConnectionError("refused"), Backend.REDIS, REFUSED),
        (redis.TimeoutError("timed out"), Backend.REDIS, SILENT),
        (BackendAwayError(Backend.BLOBS, silent=True), Backend.BLOBS, SILENT),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_a_driver_tells_of_a_backend_that_is_away(error: Exception, backend: Backend, silent: bool) -> None:
    told = away(error)
    assert told is not None
    assert (told.backend, told.silent) == (backend, silent)


@pytest.mark.parametrize(
    "error",
    [
        mongo.DuplicateKeyError("taken", 11000),
        mongo.OperationFailure("not authorized", 13),
        mongo.ConfigurationError("a bad URL"),
        redis.ResponseError("WRONGTYPE"),
        StageError(),
        ValueError("a mistake of ours"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_refusal_of_what_was_asked_is_no_absence(error: Exception) -> None:
    assert away(error) is None


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (mongo.AutoReconnect("connection closed"), "MongoDB does not answer"),
        (mongo.OperationFailure("not authorized", 13), "MongoDB refuses our name and password"),
        (redis.TimeoutError("timed out"), "Redis does not answer"),
        # a broken connection, for the driver
        (redis.AuthenticationError("WRONGPASS"), "Redis refuses our name and password"),
        (BackendAwayError(Backend.BLOBS, "cannot be reached"), "Object storage cannot be reached"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_people_are_told_what_a_backend_did(error: Exception, said: str) -> None:
    failed = failed_backend(error)
    assert failed is not None
    assert failed.what == said
