"""A delivery, its attempts, and how an attempt is judged. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

_BODY_KEPT = 4 * 1024
_HEADER_KEPT = 512
"""Characters of an answer that an attempt keeps."""


class DeliveryStatus(StrEnum):
    """Where one event for one endpoint is."""

    PENDING = "pending"
    """waits for its next attempt"""
    DELIVERING = "delivering"
    """an attempt is under way"""
    DELIVERED = "delivered"
    """the endpoint answered 2xx"""
    FAILED = "failed"
    """the schedule is exhausted, or the endpoint said never again; can be replayed"""
    BLOCKED = "blocked"
    """the egress guard refused the address; can be replayed"""
    CANCELLED = "cancelled"
    """the endpoint was removed or switched off"""


REPLAYABLE = frozenset(
    {DeliveryStatus.DELIVERED, DeliveryStatus.FAILED, DeliveryStatus.BLOCKED, DeliveryStatus.CANCELLED}
)
"""Nothing is under way in these, so a replay cannot overlap with an attempt."""


class AttemptResult(StrEnum):
    """What one HTTP try came to."""

    STARTED = "started"
    """written before the request leaves"""
    DELIVERED = "delivered"
    REFUSED = "refused"
    """an answer outside 2xx"""
    TIMED_OUT = "timed_out"
    UNREACHABLE = "unreachable"
    """no answer: DNS, connection or protocol"""
    BLOCKED = "blocked"
    """the egress guard refused the address"""
    NOT_SENT = "not_sent"
    """our own fault: the signing secret could not be opened"""
    UNKNOWN = "unknown"
    """the dispatcher died while the request was under way"""


@dataclass(frozen=True)
class Attempt:
    """How one HTTP try went."""

    result: AttemptResult
    status_code: int | None = None
    ms: float = 0.0
    error: str | None = None
    """a class of error that is safe to show; never an address"""
    answer_fault: str | None = None
    """what was wrong behind the status, which decides all the same: a class of error, too"""
    response_headers: Mapping[str, str] = field(default_factory=dict)
    response_body: str = ""
    """what was read of the answer"""
    retry_after: str | None = None

    def cut(self) -> "Attempt":
        """The attempt with as much of its answer as is kept. To be cut after it was masked: of a value that was cut
        before, nobody would recognise the part that is left."""
        headers = {name: value[:_HEADER_KEPT] for name, value in self.response_headers.items()}
        return replace(self, response_body=self.response_body[:_BODY_KEPT], response_headers=headers)


@dataclass(frozen=True)
class Delivery:
    """One event for one endpoint."""

    delivery_id: str
    webhook_id: str
    event_id: str
    event_type: str
    namespace_id: str
    status: DeliveryStatus
    attempts: int
    replays: int
    due_at: datetime | None
    created_at: datetime
    last_error: str | None

    @staticmethod
    def from_document(found: Mapping[str, Any]) -> "Delivery":
        """Read what the stores write."""
        return Delivery(
            delivery_id=found["_id"],
            webhook_id=found["webhook_id"],
            event_id=found["event_id"],
            event_type=found["event_type"],
            namespace_id=found["namespace_id"],
            status=DeliveryStatus(found["status"]),
            attempts=found["attempts"],
            replays=found["replays"],
            due_at=found.get("due_at"),
            created_at=found["created_at"],
            last_error=found.get("last_error"),
        )
