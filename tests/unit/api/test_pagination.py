"""The published paging parameters and the published pagination object."""

import pytest

from api.pagination import pagination, whole_list_page
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
    assert pagination(Page([3, 4], 2, 2, "c", 5)) == {
        "total": 5,
        "page": 2,
        "page_size": 2,
        "total_pages": 3,
        "next_page": "3",
        "previous_page": "1",
        "next_cursor": "c",
    }
    assert pagination(Page([1], 2, 0, None, None))["total_pages"] is None
