"""The published paging: what a call asks for, and pages of lists that were read whole."""

from collections.abc import Sequence
from typing import TypeVar

from api.call import Call, refuse, validated
from api.schemas.fields import Body
from api.schemas.paging import PagingQuery
from core.errors import ValidationFailedError
from core.storage.paging import Page, PageRequest

Record = TypeVar("Record")


def page_request(call: Call) -> PageRequest:
    """What the paging parameters ask for. Raises ValidationFailedError for numbers out of range."""
    return call.parse_query(PagingQuery).request()


def list_request(call: Call) -> PageRequest:
    """The same for lists that take no filter. Raises ValidationFailedError when the body wants one."""
    call.parse_filter(Body)
    return page_request(call)


def whole_list_page(records: Sequence[Record], request: PageRequest) -> Page[Record]:
    """A page of a list that was read whole. Raises ValidationFailedError for a bad cursor."""
    # a cursor of such a list is an offset
    start = _position(request.cursor) if request.cursor else request.offset
    end = start + request.limit
    more = end < len(records)
    return Page(list(records[start:end]), request.limit, start, str(end) if more else None, len(records))


def _position(cursor: str) -> int:
    try:
        return validated(PagingQuery, {"offset": cursor}).offset or 0
    except ValidationFailedError:
        raise refuse("cursor", "send a next_cursor that this list gave") from None
