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
_WIDEST = timedelta(hours=6)
_NARROWEST = timedelta(seconds=1)


class DueScan:
    """Remembers how far it has read. What became due earlier is met again only after a restart."""

    def __init__(self) -> None:
        self._reached: datetime | None = None
        self._width = _WIDEST
        self.caught_up = False
        """whether the last slice went up to the present"""

    def restart(self) -> None:
        """Begin again with the oldest."""
        self._reached = None

    async def next_slice(self, read: ReadSlice[Item], now: datetime) -> list[Item]:
        """The items of the next slice of time in which something is due; none when nothing is, up to `now`."""
        self.caught_up = False
        found: list[tuple[datetime, Item]] = []
        while not found and not self.caught_up:
            start = now - _BACKLOG if self._reached is None else self._reached
            end = min(start + self._width, now)
            found = await read(start, end, _PAGE)
            self._advance(start, end, now, found)
        return [item for _, item in found]

    def _advance(self, start: datetime, end: datetime, now: datetime, found: list[tuple[datetime, Item]]) -> None:
        if len(found) == _PAGE:
            self._width = max(self._width / 2, _NARROWEST)
            # more may stand at the very last moment: go on from there, but always go on
            self._reached = max(found[-1][0], start + timedelta(milliseconds=1))
            return
        self._width = min(self._width * 2, _WIDEST)
        self._reached = min(end, now - _OVERLAP)
        self.caught_up = end == now
