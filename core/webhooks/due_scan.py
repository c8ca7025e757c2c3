"""Walks the due deliveries in slices of time, so that one read stays small however long the backlog is.

On the embedded database a limit does not end a scan early (design 5.1): only a narrow range does. It claims nothing.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

Item = TypeVar("Item")
ReadSlice = Callable[[datetime, datetime, int], Awaitable[list[tuple[datetime, Item]]]]
"""Gives at most so many items that became due in [start, end], oldest first, each with its time."""

_PAGE = 1000
_BACKLOG = timedelta(days=30)
"""How far back a delivery may be overdue; an index range stays bounded on both sides."""
_OVERLAP = timedelta(seconds=2)
"""Read again each time: a write may become visible a little after the time that it carries."""
_FIRST_WIDTH = timedelta(hours=1)
_NARROWEST = timedelta(seconds=1)


class DueScan:
    """Remembers how far it has read. What became due earlier is met again only after a restart."""

    def __init__(self) -> None:
        self._reached: datetime | None = None
        self._width = _FIRST_WIDTH
        self.caught_up = False
        """whether the last slice went up to the present"""

    def restart(self) -> None:
        """Begin again with the oldest."""
        self._reached = None

    async def next_slice(self, read: ReadSlice[Item], now: datetime) -> list[Item]:
        """The items of the next slice of time."""
        start = now - _BACKLOG if self._reached is None else self._reached
        end = min(start + self._width, now)
        found = await read(start, end, _PAGE)
        if len(found) == _PAGE:
            self._width = max(self._width / 2, _NARROWEST)
            # more may stand at the very last moment: go on from there, but always go on
            self._reached = max(found[-1][0], start + timedelta(milliseconds=1))
        else:
            self._width *= 2
            self._reached = min(end, now - _OVERLAP)
        self._width = min(self._width, _BACKLOG)
        self.caught_up = end == now and len(found) < _PAGE
        return [item for _, item in found]
