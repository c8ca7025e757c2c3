"""What an ability of a database is, how its check ends, and the room that checks work in. Knows no ability."""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pymongo import monitoring
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database

from core.storage.command_forms import forms_of
from core.storage.command_log import CHECK_PREFIX
from core.storage.mongo import Document

_OF_A_CONNECTION: Final = frozenset({"lsid", "$db", "$clusterTime"})
TRANSIENT: Final = "TransientTransactionError"
"""What a server calls an error after which a transaction is to be tried again."""


class ShortfallError(Exception):
    """The database did something else than we rely on; the text says what."""


class Result(StrEnum):
    """How the check of one ability ended."""

    HOLDS = "holds"
    MISSING = "missing"
    UNSEEN = "not seen"
    """The check itself needs another ability, which is missing."""


@dataclass(frozen=True)
class Finding:
    """What was found of one ability."""

    ability: str
    result: Result
    seen: str
    """what the database did instead; empty where the ability holds"""
    breaks: str
    """what of Keystage would break without it, in one sentence"""


class FormsSent(monitoring.CommandListener):
    """Gathers the forms of all commands that a client sends."""

    def __init__(self) -> None:
        self.forms: set[str] = set()
        self.numbered: Document = {}
        """the last command that bears a number, by which a server knows it when it is sent again"""

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Note what is sent."""
        self.forms |= forms_of(event.command_name, event.command)
        if "txnNumber" in event.command:
            self.numbered = {name: value for name, value in event.command.items() if name not in _OF_A_CONNECTION}

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Noted when it started."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Noted when it started."""


class Room:
    """Collections of a check's own in one database, all of a name that nobody else uses; removed with `clear`."""

    def __init__(self, database: Database[Document], forms: FormsSent) -> None:
        self.database = database
        self.forms = forms
        self._prefix = _own_name()
        self._made: dict[str, Collection[Document]] = {}
        self._left: list[Collection[Document]] = []

    def collection(self, name: str) -> Collection[Document]:
        """One of the room's collections, empty at first."""
        return self._made.setdefault(name, self.database[f"{self._prefix}_{name}"])

    def filled(self, name: str, documents: Iterable[Document]) -> Collection[Document]:
        """One of the room's collections, with these documents from its first use on."""
        is_new = name not in self._made
        collection = self.collection(name)
        if is_new:
            collection.insert_many(documents)
        return collection

    @contextmanager
    def transaction(self) -> Iterator[ClientSession]:
        """A transaction, committed at the end; undone where the block raises."""
        with self.database.client.start_session() as session, session.start_transaction():
            yield session

    def renew(self) -> None:
        """Have a check begin again, on empty collections."""
        self._left += self._made.values()
        self._made, self._prefix = {}, _own_name()

    def clear(self) -> None:
        """Remove the room's collections."""
        for collection in (*self._left, *self._made.values()):
            collection.drop()


def _own_name() -> str:
    return f"{CHECK_PREFIX}{secrets.token_hex(6)}"


@dataclass(frozen=True)
class Ability:
    """Something that a database must do."""

    name: str
    breaks: str
    check: Callable[[Room], None]
    """Raises ShortfallError, or the driver's exception where the server refuses."""
    form: str | None = None
    """The form that it is about, if it is about one."""


def expect(what: str, found: Any, right: Any) -> None:
    """Raise ShortfallError unless the database's answer is the right one."""
    if found != right:
        raise ShortfallError(f"{what}: {_short(found)} in place of {_short(right)}")


def by_id(collection: Collection[Document], query: Mapping[str, Any] | None = None) -> list[Any]:
    """The ids that a query finds, in order."""
    return sorted((found["_id"] for found in collection.find(query or {})), key=str)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 200 else f"{text[:200]}…"
