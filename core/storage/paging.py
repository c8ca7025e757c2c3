"""Pages of a tenant's records, newest first, read by bounded time windows on an index; totals only when asked for."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from core.clock import now
from core.errors import FieldProblem, ValidationFailedError
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
class _Position:
    """A place in a list: after `skip` records that are not newer than `before`, `seen` from the start."""

    before: datetime
    skip: int
    seen: int

    def to_cursor(self) -> str:
        return f"{int(self.before.timestamp() * 1000)}-{self.skip}-{self.seen}"


def read_page(collection: ScopedCollection, query: Mapping[str, Any], request: PageRequest) -> Page[Document]:
    """One page of the records that match `query`, by `created_at`. Raises ValidationFailedError for a bad cursor."""
    start = _start(request)
    rows: list[Document] = []
    for window in _windows(start.before):
        wanted = start.skip + request.limit + 1 - len(rows)
        found = collection.find({**query, "created_at": window})
        rows += found.sort([("created_at", -1), ("_id", -1)]).limit(wanted)
        if len(rows) > start.skip + request.limit:
            break
    shown = rows[start.skip : start.skip + request.limit]
    more = len(rows) > start.skip + request.limit
    return Page(
        records=shown,
        limit=request.limit,
        offset=start.seen,
        next_cursor=_after(rows[: start.skip + request.limit], start, len(shown)).to_cursor() if more else None,
        total=_total(collection, query, request, None if more else start.seen - start.skip + len(rows)),
    )


def _start(request: PageRequest) -> _Position:
    if not request.cursor:
        return _Position(now() + CLOCK_DIFFERENCE, request.offset, request.offset)
    parts = request.cursor.split("-")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) <= 15 for part in parts):
        raise ValidationFailedError([FieldProblem(("cursor",), "send a next_cursor that this list gave")])
    milliseconds, skip, seen = map(int, parts)
    if skip > MAX_OFFSET or milliseconds > (now() + CLOCK_DIFFERENCE).timestamp() * 1000:
        raise ValidationFailedError([FieldProblem(("cursor",), "send a next_cursor that this list gave")])
    return _Position(datetime.fromtimestamp(milliseconds / 1000, UTC), skip, seen)


def _windows(before: datetime) -> Iterator[dict[str, datetime]]:
    upper = {"$lte": before}
    for length in WINDOWS:
        lower = before - length
        yield {"$gt": lower, **upper}
        upper = {"$lte": lower}
    yield {"$gt": BEGINNING, **upper}


def _after(rows: list[Document], start: _Position, shown: int) -> _Position:
    """The place after the last of `rows`. Records made in the same millisecond are told apart by counting them."""
    last = rows[-1]["created_at"]
    return _Position(last, sum(row["created_at"] == last for row in rows), start.seen + shown)


def _total(
    collection: ScopedCollection, query: Mapping[str, Any], request: PageRequest, reached: int | None
) -> int | None:
    if reached is not None:
        return reached
    return collection.count(query) if request.include_total else None
