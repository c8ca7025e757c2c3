"""A cursor: the last row of a page, as text that a caller sends back. It holds nothing that the page did not show.

It is a place in an order and no right to anything: whoever sends it reads on in their own records, and in no others.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson

from core.errors import FieldProblem, ValidationFailedError

Key = tuple[int | str, ...]
"""What a list is sorted by, of one row."""
TICK = timedelta(milliseconds=1)
"""Between two stored times."""
_MAX_CHARACTERS = 2048
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_NUMBER = 2**53
_LAST = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Cursor:
    """A place in a list: behind the row with this key, after so many rows that were shown."""

    key: Key
    seen: int

    def text(self) -> str:
        """As a caller gets it."""
        return base64.urlsafe_b64encode(orjson.dumps([self.seen, *self.key])).rstrip(b"=").decode()

    @staticmethod
    def read(text: str, kinds: Sequence[type[int] | type[str]]) -> "Cursor":
        """A cursor of a list that is sorted by values of these kinds. Raises ValidationFailedError for any other."""
        try:
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            seen, *key = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        except (ValueError, TypeError, binascii.Error):
            raise foreign_cursor() from None
        fitting = [type(seen), *map(type, key)] == [int, *kinds]
        numbers = [part for part in (seen, *key) if isinstance(part, int)]
        if not fitting or len(text) > _MAX_CHARACTERS or not all(0 <= number < _MAX_NUMBER for number in numbers):
            raise foreign_cursor()
        return Cursor(tuple(key), seen)


def foreign_cursor() -> ValidationFailedError:
    """The answer to a cursor that is none of this list's."""
    return ValidationFailedError([FieldProblem(("cursor",), "send a next_cursor that this list gave")])


def tick_of(moment: datetime) -> int:
    """A stored time as a whole number: milliseconds since 1970."""
    return (moment - _EPOCH) // TICK


def moment_of(tick: int) -> datetime:
    """The time that `tick_of` wrote. Raises ValidationFailedError for one that is no time."""
    if tick >= tick_of(_LAST):
        raise foreign_cursor()
    return _EPOCH + tick * TICK
