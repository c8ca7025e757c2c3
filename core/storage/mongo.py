"""The MongoDB client, its durability, and the clock it offers. Never used to read or write tenant data directly."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import pymongo
from pymongo import AsyncMongoClient, MongoClient
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
    "appname": "keystage",
}
_NO_TLS = TlsFiles()
_LAST_WORD_SECONDS = 0.5


def connect(url: str, tls: TlsFiles = _NO_TLS, listeners: Sequence[CommandListener] = ()) -> Database[Document]:
    """The database that the URL names. Connects on first use. `listeners` are told of every command."""
    client: MongoClient[Document] = MongoClient(url, event_listeners=listeners, **_OPTIONS, **_tls_options(tls))
    return client.get_default_database("keystage")


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
