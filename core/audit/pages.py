"""Which entries are asked for, and in which order a list of them goes. It reads nothing itself."""

from dataclasses import dataclass
from datetime import datetime

from core.storage.cursor import TICK
from core.storage.paging import BEGINNING, Order, Span

NEWEST_FIRST = Order("at", "seq", int)


@dataclass(frozen=True)
class LogFilter:
    """Which entries are asked for. Both times are inclusive."""

    resource_type: str | None = None
    resource_id: str | None = None
    actor_id: str | None = None
    action: str | None = None
    namespace_id: str | None = None
    start: datetime | None = None
    end: datetime | None = None

    @property
    def query(self) -> dict[str, object]:
        """The conditions on fields; times apart."""
        names = ("resource_type", "resource_id", "actor_id", "action", "namespace_id")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    @property
    def span(self) -> Span:
        """The times that are asked for, as a list reads them."""
        asked = Span(after=max(self.start or BEGINNING, BEGINNING) - TICK)
        return asked.cut(self.end) if self.end else asked
