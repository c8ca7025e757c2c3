"""The published paging: query parameters in, the pagination object out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

from api.call import Call
from core.errors import FieldProblem, ValidationFailedError
from core.storage.paging import MAX_LIMIT, MAX_OFFSET, Page, PageRequest

Record = TypeVar("Record")

_DEFAULT_LIMIT = 10


def page_request(call: Call) -> PageRequest:
    """What `limit|page_size`, `offset|page`, `cursor|next_cursor|after` and `include_total` ask for.

    Raises ValidationFailedError for numbers out of range.
    """
    query = call.query
    limit = _number(query, ("limit", "page_size"), _DEFAULT_LIMIT, 1, MAX_LIMIT)
    page = _number(query, ("page",), 1, 1, MAX_OFFSET)
    if (page - 1) * limit > MAX_OFFSET:
        raise ValidationFailedError([FieldProblem(("page",), f"lies beyond {MAX_OFFSET} records: follow next_cursor")])
    offset = _number(query, ("offset",), (page - 1) * limit, 0, MAX_OFFSET)
    cursor = next((query[name] for name in ("cursor", "next_cursor", "after") if query.get(name)), None)
    return PageRequest(limit, offset, cursor, query.get("include_total", "").lower() in {"true", "1"})


def list_request(call: Call) -> PageRequest:
    """The same for lists that take no filter: body keys are named in the warnings."""
    call.warn_of_unknown(call.body)
    return page_request(call)


def whole_list_page(records: Sequence[Record], request: PageRequest) -> Page[Record]:
    """A page of a list that was read whole. Raises ValidationFailedError for a bad cursor."""
    start = request.offset
    if request.cursor:
        start = _number({"cursor": request.cursor}, ("cursor",), 0, 0, MAX_OFFSET)
    end = start + request.limit
    more = end < len(records)
    return Page(list(records[start:end]), request.limit, start, str(end) if more else None, len(records))


def pagination(page: Page[Any]) -> dict[str, Any]:
    """The published PaginationResponse. `total` is null unless it was asked for or the end is reached."""
    total, number = page.total, page.offset // page.limit + 1
    return {
        "total": total,
        "page": number,
        "page_size": page.limit,
        "total_pages": None if total is None else -(-total // page.limit),
        "next_page": str(number + 1) if page.next_cursor else None,
        "previous_page": str(number - 1) if number > 1 else None,
        "next_cursor": page.next_cursor,
    }


def listing(
    page: Page[Record], show: Callable[[Record], BaseModel | Mapping[str, Any]], count_key: str | None
) -> dict[str, Any]:
    """A list response. `count_key` is the published name of the count: a lower bound until the end is reached."""
    shown = [show(record) for record in page.records]
    results = [one.model_dump(exclude_unset=True) if isinstance(one, BaseModel) else one for one in shown]
    body: dict[str, Any] = {"results": results, "pagination": pagination(page)}
    return body | ({count_key: page.known_count} if count_key else {})


def _number(query: Mapping[str, str], names: tuple[str, ...], default: int, lowest: int, highest: int) -> int:
    name = next((name for name in names if query.get(name)), None)
    if name is None:
        return default
    text = query[name]
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    if not lowest <= value <= highest:
        raise ValidationFailedError([FieldProblem((name,), f"must be a whole number from {lowest} to {highest}")])
    return value
