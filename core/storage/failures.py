"""What driver exceptions mean: a backend that is away, or a write that was made before. Keeps them in this room."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kombu.exceptions import KombuError
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    ExecutionTimeout,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    WaitQueueTimeoutError,
    WTimeoutError,
)
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from tenacity import retry, retry_if_exception, stop_after_attempt

from core.backends.backend import TITLES, Backend
from core.errors import BackendAwayError
from core.storage.handles import ScopedCollection

_DUPLICATE_KEY = 11000
"""MongoDB's code for a unique index that was hit."""
_REFUSALS = {13, 18}
"""MongoDB's codes for too few rights and for a wrong password."""
_AWAY, _REFUSES = "does not answer", "refuses our name and password"
_ABSENCES = (
    AutoReconnect,
    ConnectionFailure,
    ExecutionTimeout,
    WaitQueueTimeoutError,
    WTimeoutError,
    RedisConnectionError,
    RedisTimeoutError,
)
_SILENT = (ExecutionTimeout, NetworkTimeout, RedisTimeoutError)


def away(error: BaseException) -> BackendAwayError | None:
    """What an exception says of a backend that does not answer, so that trying again may help; None for any other.

    Silent is one that took the call and let it time out: a call that is too much for it does so too.
    """
    if isinstance(error, BackendAwayError):
        return error
    if not isinstance(error, _ABSENCES):
        return None
    backend = Backend.MONGO if isinstance(error, PyMongoError) else Backend.REDIS
    return BackendAwayError(backend, silent=isinstance(error, _SILENT))


def is_absence_of(backend: Backend, error: BaseException) -> bool:
    """Whether an exception says that this backend does not answer."""
    absent = away(error)
    return absent is not None and absent.backend is backend


@dataclass(frozen=True)
class FailedBackend:
    """A backend that did not do what it was asked to."""

    backend: Backend
    what: str
    """in a few words, without an address and without a credential"""


def failed_backend(error: BaseException) -> FailedBackend | None:
    """Which backend an exception tells of, and what it did; None for any other exception."""
    # first: for the driver a refused password is a connection that failed
    if isinstance(error, AuthenticationError | NoPermissionError):
        return _failed(Backend.REDIS, _REFUSES)
    if absent := away(error):
        return _failed(absent.backend, absent.did)
    if isinstance(error, PyMongoError):
        return _failed(Backend.MONGO, _mongo_did(error))
    if isinstance(error, RedisError):
        return _failed(Backend.REDIS, _AWAY)
    if isinstance(error, KombuError):
        return _failed(Backend.BROKER, _AWAY)
    return None


def _failed(backend: Backend, did: str) -> FailedBackend:
    return FailedBackend(backend, f"{TITLES[backend]} {did}")


def _mongo_did(error: PyMongoError) -> str:
    if isinstance(error, ConfigurationError):
        return "cannot be reached by this URL"
    if isinstance(error, OperationFailure) and error.code in _REFUSALS:
        return _REFUSES
    code = (error.details or {}).get("codeName") if isinstance(error, OperationFailure) else None
    return f"did not do what it was asked to ({code or type(error).__name__})"


tried_twice = retry(retry=retry_if_exception(lambda error: bool(away(error))), stop=stop_after_attempt(2), reraise=True)
"""For a write that may land twice without harm: made again when the connection broke. The embedded database has no
retryable writes (docs/decisions/0010), and a lost one would cost a run or a record."""


def is_duplicate(error: BulkWriteError) -> bool:
    """Whether nothing but unique indexes stood in the way of some inserts."""
    return all(failed["code"] == _DUPLICATE_KEY for failed in error.details["writeErrors"])


def insert_missing(collection: ScopedCollection, documents: Sequence[Mapping[str, Any]]) -> None:
    """Insert the documents whose `_id` is not taken yet, in one command. Raises what is not a duplicate."""
    if not documents:
        return
    try:
        collection.insert_many(documents)
    except BulkWriteError as error:
        if not is_duplicate(error):
            raise
