"""Opens a place for blobs with bounds on each request, and tells by its errors whether it is away.

The library's own bounds go on for minutes. A try that failed at once is made again, within a second; one that was
waited for is not.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from obstore.store import LocalStore, ObjectStore, from_url

from core.backends.absence import CONNECT_SECONDS, absence_in_status
from core.backends.backend import Backend
from core.errors import BackendAwayError, UnavailableError

_ASK_SECONDS = 5.0
_SILENCE_SECONDS = 10.0
_READ_SECONDS = 120.0
_PART_SECONDS = 30.0
_RETRIES: Mapping[str, Any] = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=1),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(milliseconds=500), "base": 2},
}
_FROM_ENVIRONMENT = (
    "allow_http",
    "allow_invalid_certificates",
    "default_content_type",
    "http1_only",
    "http2_only",
    "pool_idle_timeout",
    "pool_max_idle_per_host",
    "proxy_ca_certificate",
    "proxy_excludes",
    "proxy_url",
    "root_certificate",
    "user_agent",
)
"""What the library takes from AWS_… or GOOGLE_… by itself only while it is given no options."""
_PREFIXES = {"s3": "AWS_", "s3a": "AWS_", "gs": "GOOGLE_"}

_STATUS = re.compile(r"Server returned non-2xx status code: (\d{3})")
_KIND = re.compile(r"\bkind: (\w+)")
_NOT_CONNECTED = re.compile(r"\blegacy::Error\(\s*Connect,")
"""The library has one class for most errors; these stand in its text, before anything that the server said."""


@dataclass(frozen=True)
class ObjectStores:
    """One place, by what is asked of it."""

    asks: ObjectStore
    """little each way: 5 s in all"""
    reads: ObjectStore
    """much comes back: 10 s from byte to byte, two minutes in all"""
    uploads: ObjectStore
    """much is sent, in parts: 30 s for each"""


def open_stores(url: str) -> ObjectStores:
    """Open `file://…` (its folder is created), `s3://…` or `gs://…`."""
    if url.startswith("file://"):
        local = LocalStore.from_url(url, mkdir=True)
        return ObjectStores(local, local, local)
    return ObjectStores(
        asks=_remote(url, whole=_ASK_SECONDS),
        reads=_remote(url, whole=_READ_SECONDS, silence=_SILENCE_SECONDS),
        uploads=_remote(url, whole=_PART_SECONDS),
    )


def failure_of(error: Exception) -> UnavailableError:
    """What an error of the library means. A local folder is never away: its errors are its own."""
    text = str(error)
    if said := _STATUS.search(text):
        return _refused(int(said[1]))
    kind = _KIND.search(text)
    match kind[1] if kind else None:
        case "Timeout" if not _NOT_CONNECTED.search(text):
            return BackendAwayError(Backend.BLOBS, "does not answer in time", silent=True)
        case "Timeout" | "Connect":
            return BackendAwayError(Backend.BLOBS, "cannot be reached")
        case "Interrupted" | "Request":
            return BackendAwayError(Backend.BLOBS, "broke off its answer")
    return UnavailableError(f"Object storage does not answer: {type(error).__name__}")


def _refused(status: int) -> UnavailableError:
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        # S3 means by it what others mean by 503
        return BackendAwayError(Backend.BLOBS, f"is not ready (HTTP {status})")
    return absence_in_status(Backend.BLOBS, status) or UnavailableError(f"Object storage refuses: HTTP {status}")


def _remote(url: str, whole: float, silence: float | None = None) -> ObjectStore:
    bounds = {"connect_timeout": _duration(CONNECT_SECONDS), "timeout": _duration(whole)}
    if silence is not None:
        bounds["read_timeout"] = _duration(silence)
    return from_url(url, client_options={**_set_by_the_operator(url), **bounds}, retry_config=_RETRIES)


def _set_by_the_operator(url: str) -> dict[str, str]:
    prefix = _PREFIXES.get(url.partition("://")[0], "")
    named = {name: os.environ.get(f"{prefix}{name.upper()}") for name in _FROM_ENVIRONMENT}
    return {name: value for name, value in named.items() if value is not None}


def _duration(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)
