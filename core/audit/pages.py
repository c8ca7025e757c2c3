"""Reads entries newest first by bounded windows of time, on the index that serves most of the filter. It never writes.

A window's lower end is exclusive: where an index descends and has a field after the time, the embedded database leaves
an inclusive one out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.audit.entry import AuditEntry
from core.clock import now
from core.storage.handles import ScopedCollection
from core.storage.mongo import Document
from core.storage.paging import BEGINNING, CLOCK_DIFFERENCE, WINDOWS

MAX_SKIP = 10_000
MAX_LIMIT = 1000
_TICK = timedelta(milliseconds=1)
"""Between two stored times."""


@dataclass(frozen=True)
class LogFilter:
    """Which entries are asked for. Both times are inclusive."""

    resource_type: str | None = None
    resource_id: str | None = None
    actor_id: str | None = None
    action: str | None = None
    namespace_id: str | None = None
    start: datetime | None = None
    end: datetime | None = None

    @property
    def query(self) -> dict[str, object]:
        """The conditions on fields; times apart."""
        names = ("resource_type", "resource_id", "actor_id", "action", "namespace_id")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    @property
    def between(self) -> dict[str, datetime]:
        """The condition on the time; empty when any will do."""
        given = {"$gt": _just_before(self.start) if self.start else None, "$lte": self.end}
        return {operator: moment for operator, moment in given.items() if moment is not None}


@dataclass(frozen=True)
class LogPage:
    """Some entries, newest first, and how many there are in all."""

    entries: list[AuditEntry]
    total: int


def read_newest(log: ScopedCollection, wanted: LogFilter, count: int) -> list[Document]:
    """The newest `count` entries that are asked for."""
    rows: list[Document] = []
    for window in _windows(wanted):
        found = log.find({**wanted.query, "at": window})
        rows += found.sort([("at", -1), ("seq", -1)]).limit(count - len(rows))
        if len(rows) >= count:
            break
    return rows


def _windows(wanted: LogFilter) -> Iterator[dict[str, datetime]]:
    latest = now() + CLOCK_DIFFERENCE
    first = _just_before(wanted.start or BEGINNING)
    before = min(wanted.end or latest, latest)
    upper = {"$lte": before}
    for length in WINDOWS:
        if before - first <= length:
            break
        before -= length
        yield {"$gt": before, **upper}
        upper = {"$lte": before}
    if first < before:
        yield {"$gt": first, **upper}


def _just_before(moment: datetime) -> datetime:
    return max(moment, BEGINNING) - _TICK
