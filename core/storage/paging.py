"""Pages of a tenant's records, newest first, read by bounded time windows on an index; totals only when asked for.

A page goes on behind the last row of the one before, so that no row is left out or shown twice when others come or go.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from core.clock import now
from core.storage.cursor import TICK, Cursor, moment_of, tick_of
from core.storage.handles import ScopedCollection
from core.storage.mongo import Document

MAX_LIMIT = 1000
MAX_OFFSET = 10_000
WINDOWS = (timedelta(hours=1), timedelta(days=1), timedelta(days=30))
"""How far back each look goes; the last one goes to the beginning."""
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
"""Before anything that we store."""
CLOCK_DIFFERENCE = timedelta(minutes=5)
"""Between two machines of ours: a record made 'in the future' is still listed."""

Record = TypeVar("Record")
Other = TypeVar("Other")


@dataclass(frozen=True)
class PageRequest:
    """What a caller asks for: so many records, after an offset or after an earlier page's cursor."""

    limit: int = 10
    offset: int = 0
    cursor: str | None = None
    include_total: bool = False


@dataclass(frozen=True)
class Page(Generic[Record]):
    """Some records of a list, and how to go on."""

    records: list[Record]
    limit: int
    offset: int
    """records before this page"""
    next_cursor: str | None
    total: int | None
    """how many there are, when it is known"""

    def map(self, read: Callable[[Record], Other]) -> "Page[Other]":
        """The same page of other values."""
        records = [read(record) for record in self.records]
        return Page(records, self.limit, self.offset, self.next_cursor, self.total)

    @property
    def known_count(self) -> int:
        """The total, or how many are known to exist up to the end of this page."""
        return self.total if self.total is not None else self.offset + len(self.records)


@dataclass(frozen=True)
class Order:
    """What a list is sorted by, newest first: a time, and what tells apart the rows of one millisecond."""

    time: str = "created_at"
    tie: str = "_id"
    tie_kind: type[int] | type[str] = str
    windows: Sequence[timedelta] = WINDOWS

    @property
    def sort(self) -> list[tuple[str, int]]:
        """The same for the database."""
        return [(self.time, -1), (self.tie, -1)]

    def key(self, row: Document) -> tuple[int, Any]:
        """The place of a row."""
        return tick_of(row[self.time]), row[self.tie]


BY_CREATION = Order()


@dataclass(frozen=True)
class Span:
    """The times that are asked for. The lower one is exclusive: where an index descends and has a field after the time,
    the embedded database leaves an inclusive one out."""

    after: datetime = BEGINNING
    until: datetime = field(default_factory=lambda: now() + CLOCK_DIFFERENCE)

    def windows(self, lengths: Sequence[timedelta]) -> Iterator[dict[str, datetime]]:
        """Conditions on a time that cover it, the newest first."""
        upper = self.until
        for length in lengths:
            if upper - self.after <= length:
                break
            yield {"$gt": upper - length, "$lte": upper}
            upper -= length
        if self.after < upper:
            yield {"$gt": self.after, "$lte": upper}

    def covers(self, moment: datetime) -> bool:
        """Whether a time is among them."""
        return self.after < moment <= self.until

    def cut(self, until: datetime) -> "Span":
        """The same, up to an earlier end."""
        return replace(self, until=min(self.until, until))


def read_page(
    collection: ScopedCollection,
    query: Mapping[str, Any],
    request: PageRequest,
    order: Order = BY_CREATION,
    span: Span | None = None,
) -> Page[Document]:
    """One page of the records that match `query`. Raises ValidationFailedError for a bad cursor."""
    reader = _Reader(collection, query, order, span or Span())
    cursor = Cursor.read(request.cursor, (int, order.tie_kind)) if request.cursor else None
    skip, seen = (0, cursor.seen) if cursor else (request.offset, request.offset)
    wanted = skip + request.limit + 1
    rows = reader.behind(cursor, wanted) if cursor else reader.newest(wanted)
    shown, more = rows[skip : skip + request.limit], len(rows) == wanted
    end = seen - skip + len(rows)
    # rows may have gone since they were shown: only a list that was read from its beginning needs no count
    counted = request.include_total and (more or cursor is not None)
    return Page(
        records=shown,
        limit=request.limit,
        offset=seen,
        next_cursor=Cursor(order.key(shown[-1]), seen + len(shown)).text() if more else None,
        total=reader.count() if counted else None if more else end,
    )


@dataclass(frozen=True)
class _Reader:
    """The rows of one list. Every query of it is flat and bounded in time: design 5.1 says what others cost."""

    collection: ScopedCollection
    query: Mapping[str, Any]
    order: Order
    span: Span

    def newest(self, wanted: int, until: datetime | None = None) -> list[Document]:
        """The newest rows, so many at most."""
        span = self.span if until is None else self.span.cut(until)
        rows: list[Document] = []
        for window in span.windows(self.order.windows):
            found = self.collection.find({**self.query, self.order.time: window})
            rows += found.sort(self.order.sort).limit(wanted - len(rows))
            if len(rows) >= wanted:
                break
        return rows

    def behind(self, cursor: Cursor, wanted: int) -> list[Document]:
        """The rows behind a place, so many at most: the rest of its millisecond, and what is older."""
        tick, tie = cursor.key
        moment = moment_of(int(tick))
        rows = self._rest_of(moment, tie, wanted) if self.span.covers(moment) else []
        return rows + (self.newest(wanted - len(rows), moment - TICK) if len(rows) < wanted else [])

    def _rest_of(self, moment: datetime, tie: int | str, wanted: int) -> list[Document]:
        # a comparison of `_id` beside others is a scan to the embedded database: keys first, then rows by their keys
        found = self.collection.find({**self.query, self.order.time: moment}, {self.order.time: 1, self.order.tie: 1})
        alike = sorted(map(self.order.key, found), reverse=True)
        ties = [each for _, each in alike if each < tie]
        rows: list[Document] = []
        while ties and len(rows) < wanted:
            some, ties = ties[: wanted - len(rows)], ties[wanted - len(rows) :]
            read = {row[self.order.tie]: row for row in self.collection.find({self.order.tie: {"$in": some}})}
            # one that is gone meanwhile is left out
            rows += [read[each] for each in some if each in read]
        return rows

    def count(self) -> int:
        """How many there are in all."""
        windows = self.span.windows(self.order.windows)
        return sum(self.collection.count({**self.query, self.order.time: window}) for window in windows)
