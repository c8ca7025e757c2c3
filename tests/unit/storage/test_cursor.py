"""A cursor as text: what a list gave is read back, and no other text brings a number that the database would refuse."""

from datetime import UTC, datetime

import pytest

from core.errors import ValidationFailedError
from core.storage.cursor import Cursor, Key, moment_of, tick_of

NOON = datetime(2026, 1, 31, 12, 0, 0, 5000, UTC)


def test_what_a_list_gave_is_read_back() -> None:
    cursor = Cursor((tick_of(NOON), "obj_1"), 20)
    assert Cursor.read(cursor.text(), (int, str)) == cursor
    assert moment_of(tick_of(NOON)) == NOON


@pytest.mark.parametrize(
    ("key", "seen"),
    [
        ((-1, "a"), 0),
        ((1, "a"), -1),
        # beyond what JSON has exactly
        ((2**53, "a"), 0),
        ((1, "a"), 2**53),
        # longer than any id
        ((1, "a" * 2048), 0),
        # of a list of another kind
        ((1, 2), 0),
        ((1,), 0),
        ((1, "a", "b"), 0),
    ],
)
def test_what_no_list_gave_is_refused(key: Key, seen: int) -> None:
    with pytest.raises(ValidationFailedError, match="next_cursor that this list gave"):
        Cursor.read(Cursor(key, seen).text(), (int, str))


@pytest.mark.parametrize("tick", [tick_of(datetime(9999, 1, 1, tzinfo=UTC)), 2**53 - 1])
def test_a_time_that_cannot_be_is_refused(tick: int) -> None:
    with pytest.raises(ValidationFailedError, match="next_cursor that this list gave"):
        moment_of(tick)
