"""Which due delivery is tried next: endpoints take turns, and each has a cap on what is under way. Pure, in memory.

What is known here is only a hint; the claim in MongoDB decides. So anything may be forgotten, and is found again.
"""

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class DueDelivery:
    """A delivery that may be claimed."""

    delivery_id: str
    webhook_id: str


class EndpointLines:
    """One line for each endpoint."""

    def __init__(self, under_way_max: int, waiting_max: int) -> None:
        """`under_way_max` and `waiting_max` hold for each endpoint; what is over the second is not remembered."""
        self._under_way_max = under_way_max
        self._waiting_max = waiting_max
        self._waiting: dict[str, deque[DueDelivery]] = {}
        self._turns: deque[str] = deque()
        self._under_way: dict[str, int] = {}
        self._known: set[str] = set()
        self._overfull: set[str] = set()

    def add(self, due: DueDelivery) -> None:
        """Remember a due delivery, unless it waits or is under way already or its line is full."""
        if due.delivery_id in self._known:
            return
        line = self._waiting.get(due.webhook_id)
        if line is None:
            line = self._waiting[due.webhook_id] = deque()
            self._turns.append(due.webhook_id)
        if len(line) >= self._waiting_max:
            self._overfull.add(due.webhook_id)
            return
        line.append(due)
        self._known.add(due.delivery_id)

    def take(self) -> DueDelivery | None:
        """The next delivery to try, or None when every line is empty or at its cap. Pair it with `finished`."""
        for _ in range(len(self._turns)):
            webhook_id = self._turns[0]
            self._turns.rotate(-1)
            if self._under_way.get(webhook_id, 0) < self._under_way_max:
                return self._take_from(webhook_id)
        return None

    def finished(self, due: DueDelivery) -> None:
        """Its try has ended; when it is due again it may be added again."""
        self._known.discard(due.delivery_id)
        self._under_way[due.webhook_id] -= 1
        if not self._under_way[due.webhook_id]:
            del self._under_way[due.webhook_id]

    @property
    def remembered(self) -> int:
        """Deliveries that wait or are under way."""
        return len(self._known)

    @property
    def under_way(self) -> int:
        """Deliveries being tried now."""
        return sum(self._under_way.values())

    def forgot_any(self) -> bool:
        """Whether a line that is empty now was too full to remember everything. Asking clears the answer."""
        drained = {webhook_id for webhook_id in self._overfull if webhook_id not in self._waiting}
        self._overfull -= drained
        return bool(drained)

    def _take_from(self, webhook_id: str) -> DueDelivery:
        line = self._waiting[webhook_id]
        due = line.popleft()
        if not line:
            del self._waiting[webhook_id]
            self._turns.remove(webhook_id)
        self._under_way[webhook_id] = self._under_way.get(webhook_id, 0) + 1
        return due
