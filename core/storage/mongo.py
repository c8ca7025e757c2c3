"""The MongoDB client, its durability, and the clock it offers. Never used to read or write tenant data directly."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import pymongo
from pymongo import AsyncMongoClient, MongoClient, monitoring
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.database import Database
from pymongo.monitoring import CommandListener

from config.tls import TlsFiles
from core.clock import DatabaseClock

Document = dict[str, Any]

_OPTIONS: dict[str, Any] = {
    "tz_aware": True,
    # a write counts once it is in the journal of a majority: design 5.1 measured the losses without
    "w": "majority",
    "journal": True,
    "serverSelectionTimeoutMS": 10_000,
    "connectTimeoutMS": 5_000,
    "socketTimeoutMS": 30_000,
    # a server that does not answer the driver's own question ends whatever waits for it
    "heartbeatFrequencyMS": 5_000,
    "appname": "keystage",
}
_IMPATIENT: dict[str, Any] = {
    # each request ends within 3 s of MongoDB's going, however it goes: the question before the last one was answered,
    # the next one comes half a second later and is waited for, and who waits for an answer looks up twice a second. No
    # single operation has so short a deadline: one that is slow on a server that lives is waited for as ever
    "heartbeatFrequencyMS": 500,
    "connectTimeoutMS": 1_250,
    "serverSelectionTimeoutMS": 500,
}
_NO_TLS = TlsFiles()
_LAST_WORD_SECONDS = 0.5


def connect(url: str, tls: TlsFiles = _NO_TLS, listeners: Sequence[CommandListener] = ()) -> Database[Document]:
    """The database that the URL names. Connects on first use. `listeners` are told of every command."""
    options = {**_OPTIONS, "event_listeners": [*_OPTIONS.get("event_listeners", ()), *listeners]}
    client: MongoClient[Document] = MongoClient(url, **options, **_tls_options(tls))
    return client.get_default_database("keystage")


def connect_impatiently(url: str, tls: TlsFiles = _NO_TLS) -> "tuple[Database[Document], Pulse]":
    """The same for intake, which has callers to answer: it notices within two seconds that the server is away."""
    pulse = Pulse()
    options = {**_OPTIONS, **_IMPATIENT, "event_listeners": [*_OPTIONS.get("event_listeners", ()), pulse]}
    client: MongoClient[Document] = MongoClient(url, **options, **_tls_options(tls))
    return client.get_default_database("keystage"), pulse


class Pulse(monitoring.ServerHeartbeatListener, monitoring.ServerListener):
    """Whether any server answers the driver's own heartbeats."""

    def __init__(self) -> None:
        self._answered: dict[Any, bool] = {}

    @property
    def is_away(self) -> bool:
        """Whether the last heartbeat of each server failed. Before the first one it is not known to be away."""
        answered = tuple(self._answered.values())
        return bool(answered) and not any(answered)

    def started(self, event: monitoring.ServerHeartbeatStartedEvent) -> None:
        """Known when it ended."""

    def succeeded(self, event: monitoring.ServerHeartbeatSucceededEvent) -> None:
        """A server lives."""
        self._answered[event.connection_id] = True

    def failed(self, event: monitoring.ServerHeartbeatFailedEvent) -> None:
        """A server refused or was silent."""
        self._answered[event.connection_id] = False

    def opened(self, event: monitoring.ServerOpeningEvent) -> None:
        """Known when it answers."""

    def description_changed(self, event: monitoring.ServerDescriptionChangedEvent) -> None:
        """Known from its heartbeats."""

    def closed(self, event: monitoring.ServerClosedEvent) -> None:
        """A server that left the set, or is known by another name now, tells nothing any more."""
        self._answered.pop(event.server_address, None)


def connect_async(url: str, tls: TlsFiles = _NO_TLS) -> AsyncDatabase[Document]:
    """The same for asyncio processes."""
    client: AsyncMongoClient[Document] = AsyncMongoClient(url, **_OPTIONS, **_tls_options(tls))
    return client.get_default_database("keystage")


def within(seconds: float) -> AbstractContextManager[object]:
    """Bounds everything that is asked of MongoDB inside, finding a server included."""
    return pymongo.timeout(seconds)


def close(database: Database[Document]) -> None:
    """Close the connections. A server that is gone is not waited for: the driver would, to end its sessions."""
    with within(_LAST_WORD_SECONDS):
        database.client.close()


def database_clock(database: Database[Document]) -> DatabaseClock:
    """A clock that follows the database server's."""

    def read() -> datetime:
        moment: datetime = database.client.admin.command("hello", codec_options=database.codec_options)["localTime"]
        return moment

    return DatabaseClock(read)


def _tls_options(tls: TlsFiles) -> dict[str, Any]:
    """The driver's options; none without a CA, where the URL alone says whether TLS is spoken."""
    if tls.ca_file is None:
        return {}
    files = {"tlsCAFile": tls.ca_file, "tlsCertificateKeyFile": tls.cert_file}
    return {"tls": True, **{name: str(path) for name, path in files.items() if path}}
