"""The published paging parameters and the published pagination object."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.call import validated
from api.pagination import in_order, newest_first
from api.schemas.paging import PaginationView, PagingQuery
from core.errors import ValidationFailedError
from core.storage.paging import Page, PageRequest

START = datetime(2026, 1, 1, tzinfo=UTC)


def _newest_first(numbers: list[int], request: PageRequest) -> Page[int]:
    # the tens are the moment, the ones tell rows of one moment apart
    return newest_first(
        numbers, request, lambda number: (START + timedelta(milliseconds=number // 10), str(number % 10))
    )


@pytest.mark.parametrize("read", [_newest_first, lambda numbers, request: in_order(map(str, numbers), request)])
def test_a_list_that_was_read_whole_goes_on_behind_the_last_row_that_was_shown(read: Any) -> None:
    rows = list(range(10, 35))
    everything = read(rows, PageRequest(limit=100)).records
    assert len(everything) == 25
    seen: list[Any] = []
    cursor = None
    while not seen or cursor:
        page = read(rows, PageRequest(limit=10, cursor=cursor))
        seen += page.records
        cursor = page.next_cursor
        rows.remove(int(seen[-1]))
    assert seen == everything
    assert (page.offset, page.total) == (20, 23)


@pytest.mark.parametrize(
    ("offset", "limit", "following"),
    [
        (0, 10, "2"),
        (9_990, 10, "1001"),
        (10_000, 10, None),
        (9_000, 1000, "11"),
        (10_000, 1000, None),
        (9_998, 1, "10000"),
        (9_999, 1, None),
    ],
)
def test_no_page_is_named_that_could_not_be_asked_for(offset: int, limit: int, following: str | None) -> None:
    shown = PaginationView.of(Page([], limit, offset, "cursor", None))
    assert (shown.next_page, shown.next_cursor) == (following, "cursor")
    if following:
        PagingQuery(limit=limit, page=following).request()


@pytest.mark.parametrize("cursor", ["x", "10", "1-2-3", "WzEsMl0", "bnVsbA", "W10", "é", "[1]", "e30", "A" * 3000])
def test_a_cursor_that_nobody_gave_is_refused(cursor: str) -> None:
    for read in (_newest_first, lambda numbers, request: in_order(map(str, numbers), request)):
        with pytest.raises(ValidationFailedError, match="next_cursor that this list gave"):
            read([1], PageRequest(cursor=cursor))


def test_the_pagination_object_is_as_published() -> None:
    assert PaginationView.of(Page([3, 4], 2, 2, "c", 5)).model_dump() == {
        "total": 5,
        "page": 2,
        "page_size": 2,
        "total_pages": 3,
        "next_page": "3",
        "previous_page": "1",
        "next_cursor": "c",
    }
    assert PaginationView.of(Page([1], 2, 0, None, None)).total_pages is None


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ({}, PageRequest(10, 0, None, False)),
        ({"page_size": "7", "page": "3"}, PageRequest(7, 14, None, False)),
        ({"limit": "5", "page_size": "7", "offset": "2", "page": "3"}, PageRequest(5, 2, None, False)),
        # the page is not asked for, so that it lies too far is nobody's fault
        ({"limit": "315", "offset": "595", "page": "7137"}, PageRequest(315, 595, None, False)),
        ({"skip": "4"}, PageRequest(10, 4, None, False)),
        ({"skip": "4", "offset": "2", "page": "9"}, PageRequest(10, 2, None, False)),
        ({"cursor": "", "after": "a"}, PageRequest(10, 0, "a", False)),
        ({"after": "a", "next_cursor": "b", "include_total": "True"}, PageRequest(10, 0, "b", True)),
        ({"cursor": "c", "next_cursor": "b", "include_total": "0"}, PageRequest(10, 0, "c", False)),
    ],
)
def test_paging_parameters_go_by_all_their_published_names(query: dict[str, str], asked: PageRequest) -> None:
    assert validated(PagingQuery, query).request() == asked


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "1001"},
        {"page_size": "+5"},
        {"limit": ""},
        {"page": "0"},
        {"page": "101", "limit": "1000"},
        {"offset": "10001"},
        {"offset": "1_0"},
        {"limit": "٣"},
        {"include_total": "maybe"},
    ],
)
def test_paging_out_of_range_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(ValidationFailedError):
        validated(PagingQuery, query).request()
