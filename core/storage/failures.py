"""What driver exceptions mean: a backend that is away, or a write that was made before. Keeps them in this room."""

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.errors import AutoReconnect, BulkWriteError, ConnectionFailure, ExecutionTimeout, WaitQueueTimeoutError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from tenacity import retry, retry_if_exception, stop_after_attempt

from core.storage.handles import ScopedCollection

_DUPLICATE_KEY = 11000
"""MongoDB's code for a unique index that was hit."""
_BACKEND_FAILURES = (
    AutoReconnect,
    ConnectionFailure,
    ExecutionTimeout,
    WaitQueueTimeoutError,
    RedisConnectionError,
    RedisTimeoutError,
)


def is_backend_failure(error: BaseException) -> bool:
    """Whether `error` says that MongoDB or Redis did not answer, so that trying again later may help."""
    return isinstance(error, _BACKEND_FAILURES)


tried_twice = retry(retry=retry_if_exception(is_backend_failure), stop=stop_after_attempt(2), reraise=True)
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
