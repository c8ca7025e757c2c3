"""Adds up charges by what they were for, over a period of time. Pure; it never rounds before the sum is whole."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from core.credits.prices import pending_credits, whole_credits

UNATTRIBUTED = "unattributed"
"""The operation of a capture that does not say what it was for, as the oldest do not."""


@dataclass(frozen=True)
class Charges:
    """Captures for the same purpose, together. Milli-credits."""

    operation: str
    namespace_id: str | None
    retriever_id: str | None
    amount: int


@dataclass(frozen=True)
class Sum:
    """Milli-credits by a name, and in all."""

    parts: dict[str, int]

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.parts.values())

    @property
    def whole(self) -> dict[str, int]:
        """The whole credits of each part."""
        return {name: whole_credits(amount) for name, amount in self.parts.items()}

    @property
    def pending(self) -> dict[str, float]:
        """What whole credits leave, of the parts that leave something."""
        return {name: rest for name, amount in self.parts.items() if (rest := pending_credits(amount))}


def sum_by(charges: Iterable[Charges], name_of: Callable[[Charges], str | None]) -> Sum:
    """Add up, the largest part first. What has no name is left out."""
    parts: Counter[str] = Counter()
    for charge in charges:
        if name := name_of(charge):
            parts[name] += charge.amount
    return Sum(dict(parts.most_common()))


@dataclass(frozen=True)
class Period:
    """From `start` until just before `end`, both in UTC."""

    start: datetime
    end: datetime

    def windows(self, length: timedelta) -> Iterator["Period"]:
        """The same period in pieces, the newest first."""
        end = self.end
        while end > self.start:
            start = self.start if end - self.start <= length else end - length
            yield Period(start, end)
            end = start


def month_of(moment: datetime) -> str:
    """The billing month of a moment: YYYY-MM."""
    return f"{moment.year:04}-{moment.month:02}"


def month_period(billing_month: str) -> Period:
    """The whole of a month that is written YYYY-MM."""
    start = datetime.strptime(billing_month, "%Y-%m").replace(tzinfo=UTC)
    return Period(start, (start + timedelta(days=31)).replace(day=1))
