"""Asks a backend, without a name, a password or a key, whether it lets a stranger in. It reads and keeps nothing."""

import ipaddress
import re
import ssl
from collections.abc import Callable
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pymongo
from pymongo.errors import OperationFailure, PyMongoError
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from config.forms import hosts_of
from config.tls import TlsFiles
from core.storage.mongo import connect
from core.storage.redis import connect_redis

_PATIENCE_SECONDS = 3.0
_CREDENTIALS = re.compile(r"(?<=://)[^/]*@")
_OF_A_USER = re.compile(r"(?<=[?&])(?:authSource|authMechanism)=[^&]*&?", re.IGNORECASE)


class Exposure(StrEnum):
    """What a stranger meets."""

    OPEN = "open"
    GUARDED = "guarded"
    AWAY = "away"


def mongo_exposure(url: str, tls: TlsFiles) -> Exposure:
    """Whether MongoDB lists collections to a stranger."""
    database = connect(_OF_A_USER.sub("", without_credentials(url)), tls)

    def ask() -> None:
        with closing(database.client), pymongo.timeout(_PATIENCE_SECONDS):
            database.list_collection_names()

    return _exposure(ask, (OperationFailure,), (PyMongoError,))


def redis_exposure(url: str, tls: TlsFiles) -> Exposure:
    """Whether Redis counts its keys for a stranger."""
    redis = connect_redis(without_credentials(url), tls)

    def ask() -> None:
        with closing(redis):
            redis.dbsize()

    return _exposure(ask, (AuthenticationError, NoPermissionError), (RedisError,))


def qdrant_exposure(url: str, ca_file: Path | None) -> Exposure:
    """Whether Qdrant lists collections to a stranger."""
    trust = ssl.create_default_context(cafile=str(ca_file)) if ca_file else True

    def ask() -> None:
        httpx.get(f"{url.rstrip('/')}/collections", timeout=_PATIENCE_SECONDS, verify=trust).raise_for_status()

    return _exposure(ask, (httpx.HTTPStatusError,), (httpx.HTTPError,))


def without_credentials(url: str) -> str:
    """The URL as a stranger would write it."""
    return _CREDENTIALS.sub("", url)


def is_loopback(url: str) -> bool:
    """Whether every host of a URL, or of `host:port`, is this machine itself."""
    return all(map(_host_is_loopback, hosts_of(url)))


def _host_is_loopback(place: str) -> bool:
    host = urlsplit(f"//{place}").hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _exposure(
    ask: Callable[[], None], refused: tuple[type[Exception], ...], away: tuple[type[Exception], ...]
) -> Exposure:
    try:
        ask()
    except refused:
        return Exposure.GUARDED
    except away:
        return Exposure.AWAY
    return Exposure.OPEN
