"""The published paging on the wire: its query parameters, and the answers that carry a page of records."""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Generic, Self, TypeVar

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from api.schemas.fields import Answer, Query, View, WholeNumber
from core.errors import FieldProblem, ValidationFailedError
from core.storage.paging import MAX_LIMIT, MAX_OFFSET, Page, PageRequest

Record = TypeVar("Record")
Shown = TypeVar("Shown", bound=View)

DEFAULT_LIMIT = 10

_FLAGS = {"true": True, "1": True, "false": False, "0": False}


def _flag(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.lower() not in _FLAGS:
        raise PydanticCustomError("value_error", "must be true or false")
    return _FLAGS[value.lower()]


class PagingQuery(Query):
    """How much of a list, and from where. Each parameter has the names that published clients send."""

    default_limit: ClassVar[int] = DEFAULT_LIMIT
    """Records on a page when nothing is sent: a list that is published with another number has that one."""

    limit: Annotated[int, WholeNumber(1, MAX_LIMIT)] | None = None
    """Records on the page."""
    page_size: Annotated[int, WholeNumber(1, MAX_LIMIT)] | None = None
    """Another name for `limit`, which wins."""
    offset: Annotated[int, WholeNumber(0, MAX_OFFSET)] | None = None
    """Records to skip; wins over `page`."""
    skip: Annotated[int, WholeNumber(0, MAX_OFFSET)] | None = None
    """Another name for `offset`, which wins."""
    page: Annotated[int, WholeNumber(1, MAX_OFFSET)] | None = None
    """The number of the page, from 1."""
    cursor: str | None = None
    """The `next_cursor` of the page before; wins over `offset`. An empty one counts as not sent."""
    next_cursor: str | None = None
    """Another name for `cursor`, which wins."""
    after: str | None = None
    """Another name for `cursor`, which wins."""
    include_total: Annotated[bool, BeforeValidator(_flag)] = False
    """Whether to count all records, which takes longer."""

    def request(self) -> PageRequest:
        """What the parameters ask for together. Raises ValidationFailedError for a page that is too far."""
        limit = self.limit or self.page_size or self.default_limit
        return PageRequest(
            limit=limit,
            offset=self._skipped(limit),
            cursor=self.cursor or self.next_cursor or self.after,
            include_total=self.include_total,
        )

    def _skipped(self, limit: int) -> int:
        for asked in (self.offset, self.skip):
            if asked is not None:
                return asked
        start = ((self.page or 1) - 1) * limit
        if start > MAX_OFFSET:
            problem = FieldProblem(("page",), f"lies beyond {MAX_OFFSET} records: follow next_cursor")
            raise ValidationFailedError([problem])
        return start


class PaginationView(View):
    """The published PaginationResponse."""

    total: int | None
    """How many there are; null unless it was asked for or the end is reached."""
    page: int
    """The number of this page, from 1."""
    page_size: int
    """Records on a full page."""
    total_pages: int | None
    """How many pages there are, when the total is known."""
    next_page: str | None
    """The number of the page after this one."""
    previous_page: str | None
    """The number of the page before this one."""
    next_cursor: str | None
    """Where the next page begins; null on the last one."""

    @classmethod
    def of(cls, page: Page[Any]) -> Self:
        """The pagination object of a page."""
        total, number = page.total, page.offset // page.limit + 1
        return cls(
            total=total,
            page=number,
            page_size=page.limit,
            total_pages=None if total is None else -(-total // page.limit),
            # a page that lies too far to be asked for is reached by the cursor alone
            next_page=str(number + 1) if page.next_cursor and _may_be_asked_for(number + 1, page.limit) else None,
            previous_page=str(number - 1) if number > 1 else None,
            next_cursor=page.next_cursor,
        )


def _may_be_asked_for(number: int, limit: int) -> bool:
    return number <= MAX_OFFSET and (number - 1) * limit <= MAX_OFFSET


class ListView(Answer, Generic[Shown]):
    """A page of a list that has no count."""

    results: list[Shown]
    """The records on this page."""
    pagination: PaginationView
    """Where this page stands in the list."""

    @classmethod
    def of(cls, page: Page[Record], show: Callable[[Record], Shown]) -> Self:
        """A page as it is answered."""
        results = [show(record) for record in page.records]
        return cls.model_validate(
            {"results": results, "pagination": PaginationView.of(page), **cls._counts(page.known_count)}
        )

    @classmethod
    def _counts(cls, known: int) -> dict[str, int]:
        del known
        return {}


class TotalListView(ListView[Shown]):
    """A page of a list whose count is called `total`."""

    total: int
    """How many there are: a lower bound until the end is reached."""

    @classmethod
    def _counts(cls, known: int) -> dict[str, int]:
        return {"total": known}


class TotalCountListView(ListView[Shown]):
    """A page of a list whose count is called `total_count`."""

    total_count: int
    """How many there are: a lower bound until the end is reached."""

    @classmethod
    def _counts(cls, known: int) -> dict[str, int]:
        return {"total_count": known}
