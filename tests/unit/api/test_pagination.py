"""The published paging parameters and the published pagination object."""

import pytest

from api.call import validated
from api.pagination import whole_list_page
from api.schemas.paging import PaginationView, PagingQuery
from core.errors import ValidationFailedError
from core.storage.paging import Page, PageRequest


def test_a_list_that_was_read_whole_is_paged_by_its_cursor() -> None:
    first = whole_list_page([1, 2, 3, 4, 5], PageRequest(limit=2))
    second = whole_list_page([1, 2, 3, 4, 5], PageRequest(limit=2, cursor=first.next_cursor))
    last = whole_list_page([1, 2, 3, 4, 5], PageRequest(limit=2, cursor=second.next_cursor))
    assert [first.records, second.records, last.records] == [[1, 2], [3, 4], [5]]
    assert last.next_cursor is None


def test_a_cursor_that_nobody_gave_is_refused() -> None:
    with pytest.raises(ValidationFailedError):
        whole_list_page([1], PageRequest(cursor="x"))


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
