"""The published paging: what a call asks for, and pages of lists that were read whole."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TypeVar

from api.call import Call
from api.schemas.fields import Body
from api.schemas.paging import PagingQuery
from core.storage.cursor import Cursor, Key, tick_of
from core.storage.paging import Page, PageRequest

Record = TypeVar("Record")


def page_request(call: Call) -> PageRequest:
    """What the paging parameters ask for. Raises ValidationFailedError for numbers out of range."""
    return call.parse_query(PagingQuery).request()


def list_request(call: Call) -> PageRequest:
    """The same for lists that take no filter. Raises ValidationFailedError when the body wants one."""
    call.parse_filter(Body)
    return page_request(call)


def newest_first(
    records: Iterable[Record], request: PageRequest, place: Callable[[Record], tuple[datetime, str]]
) -> Page[Record]:
    """A page of a list that was read whole, by `place`: when a record was made, and its id.

    Raises ValidationFailedError for a bad cursor.
    """

    def key(record: Record) -> Key:
        made, own_id = place(record)
        return tick_of(made), own_id

    cursor = Cursor.read(request.cursor, (int, str)) if request.cursor else None
    ordered = sorted(records, key=key, reverse=True)
    left = [record for record in ordered if key(record) < cursor.key] if cursor else ordered[request.offset :]
    return _page(left, len(ordered), request, cursor, key)


def in_order(names: Iterable[str], request: PageRequest) -> Page[str]:
    """A page of names that were read whole, by the alphabet. Raises ValidationFailedError for a bad cursor."""
    cursor = Cursor.read(request.cursor, (str,)) if request.cursor else None
    ordered = sorted(names)
    left = [name for name in ordered if (name,) > cursor.key] if cursor else ordered[request.offset :]
    return _page(left, len(ordered), request, cursor, lambda name: (name,))


def _page(
    left: list[Record], total: int, request: PageRequest, cursor: Cursor | None, key: Callable[[Record], Key]
) -> Page[Record]:
    """The first of those that are left."""
    seen = cursor.seen if cursor else request.offset
    shown = left[: request.limit]
    more = len(left) > request.limit
    following = Cursor(key(shown[-1]), seen + len(shown)).text() if more else None
    return Page(shown, request.limit, seen, following, total)
