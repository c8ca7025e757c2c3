"""Due deliveries for the dispatcher (asyncio): claim by lease and fence, record each attempt before it leaves.

A claim finds a delivery by id and due time alone; every later read and write carries its tenant, and its fence where
a newer owner may have come.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

from core.egress.target import shown_url
from core.ids import Prefix, derived_id
from core.storage.moments import NOW, from_now
from core.storage.mongo import Document
from core.storage.scope import NamespaceScope
from core.webhooks.delivery import Attempt, AttemptResult, DeliveryStatus
from core.webhooks.endpoint_lines import DueDelivery

_OFFSET_MAX_AGE_SECONDS = 60.0


@dataclass(frozen=True)
class ClaimedDelivery:
    """A delivery that is ours to try once."""

    delivery_id: str
    scope: NamespaceScope
    webhook_id: str
    event_id: str
    event_type: str
    fence: int
    number: int
    """of this attempt, counted over all replays"""
    tries: int
    """attempts since the schedule began, this one included"""
    body: bytes | None
    """the event as it is signed and sent; None when it was removed"""
    endpoint: Mapping[str, Any] | None
    """as stored; None when it was removed"""
    was_due_at: datetime | None = None
    """when it could have been claimed at the earliest"""
    waits_since: datetime | None = None
    """when it was put back first, if no attempt was made since"""


class DeliveryQueue:
    """Hands out due deliveries and records what came of them."""

    def __init__(self, database: AsyncDatabase[Document], owner: str, lease_seconds: float) -> None:
        """`owner` names this process and no other."""
        self._database = database
        self._owner = owner
        self._lease = timedelta(seconds=lease_seconds)
        self._offset = timedelta()
        self._measured_at = float("-inf")

    async def due_between(self, start: datetime, end: datetime, limit: int) -> list[tuple[datetime, DueDelivery]]:
        """Deliveries that became due in [start, end], the longest waiting first."""
        cursor = self._of("deliveries").find({"due_at": {"$gte": start, "$lte": end}}, {"webhook_id": 1, "due_at": 1})
        found = await cursor.sort("due_at", 1).limit(limit).to_list()
        return [(item["due_at"], DueDelivery(item["_id"], item["webhook_id"])) for item in found]

    async def next_due(self, after: datetime, before: datetime) -> datetime | None:
        """When the first delivery becomes due in (after, before]; None when none does."""
        window = {"due_at": {"$gt": after, "$lte": before}}
        found = await self._of("deliveries").find(window, {"due_at": 1}).sort("due_at", 1).limit(1).to_list()
        return found[0]["due_at"] if found else None

    async def claim(self, delivery_id: str) -> ClaimedDelivery | None:
        """Take one due delivery, or None when somebody else has it. An attempt left open before becomes `unknown`."""
        claimed = await self._of("deliveries").update_one(
            {"_id": delivery_id, "due_at": {"$lte": await self.now()}},
            [
                {
                    "$set": {
                        "status": DeliveryStatus.DELIVERING.value,
                        "owner": self._owner,
                        "fence": {"$add": ["$fence", 1]},
                        "attempts": {"$add": ["$attempts", 1]},
                        "tries_in_schedule": {"$add": ["$tries_in_schedule", 1]},
                        # the value from before this update
                        "was_due_at": "$due_at",
                        "due_at": from_now(self._lease),
                    }
                }
            ],
        )
        if claimed.matched_count == 0:
            return None
        found = await self._of("deliveries").find_one({"_id": delivery_id})
        if found is None or found.get("owner") != self._owner:
            return None
        return await self._with_event_and_endpoint(found)

    async def start_attempt(self, claimed: ClaimedDelivery) -> None:
        """Record the attempt before the request leaves."""
        await self._of("attempts").insert_one(
            {
                **_attempt_of(claimed),
                "delivery_id": claimed.delivery_id,
                "number": claimed.number,
                "url": shown_url(claimed.endpoint["url"]) if claimed.endpoint else None,
                "result": AttemptResult.STARTED.value,
                "due_at": claimed.was_due_at,
                "started_at": await self.now(),
            }
        )

    async def complete_attempt(self, claimed: ClaimedDelivery, attempt: Attempt) -> bool:
        """Write down how the attempt went. False: a newer owner has closed it as `unknown`, nothing was written."""
        completed = await self._of("attempts").update_one(
            {**_attempt_of(claimed), "result": AttemptResult.STARTED.value},
            {
                "$set": {
                    "result": attempt.result.value,
                    "status_code": attempt.status_code,
                    "ms": attempt.ms,
                    "error": attempt.error,
                    "answer_fault": attempt.answer_fault,
                    "response_headers": dict(attempt.response_headers),
                    "response_body": attempt.response_body,
                }
            },
        )
        return completed.matched_count == 1

    async def settle(
        self, claimed: ClaimedDelivery, status: DeliveryStatus, error: str | None, retry_in: timedelta | None = None
    ) -> bool:
        """Move the delivery on. `retry_in` only with PENDING. False: a newer claim owns it, nothing was written."""
        fields: dict[str, Any] = {"status": status.value, "last_error": {"$literal": error}}
        over = ["waits_since"] if claimed.waits_since else []
        if retry_in is None:
            over.append("due_at")
        else:
            fields["due_at"] = from_now(retry_in)
        return await self._update_ours(claimed, [{"$set": fields}, *([{"$unset": over}] if over else [])])

    async def put_back(self, claimed: ClaimedDelivery, wait: timedelta) -> bool:
        """Give a claim up that came to no attempt, through nobody's fault: nothing of it is counted. False as above."""
        fields: dict[str, Any] = {
            "status": DeliveryStatus.PENDING.value,
            "attempts": {"$subtract": ["$attempts", 1]},
            "tries_in_schedule": {"$subtract": ["$tries_in_schedule", 1]},
            "due_at": from_now(wait),
            "waits_since": {"$ifNull": ["$waits_since", NOW]},
        }
        return await self._update_ours(claimed, [{"$set": fields}])

    async def end_untried(self, claimed: ClaimedDelivery, status: DeliveryStatus, error: str) -> bool:
        """End a claimed delivery for which no request was made: the claim does not count as an attempt."""
        uncounted = {"$subtract": ["$attempts", 1]}
        ended = {"status": status.value, "last_error": {"$literal": error}, "attempts": uncounted}
        return await self._update_ours(claimed, [{"$set": ended}, {"$unset": ["due_at", "waits_since"]}])

    async def note_health(self, claimed: ClaimedDelivery, failure: str | None) -> None:
        """Keep the endpoint's record of consecutive failures; None means that it answered well."""
        endpoint = {"_id": claimed.webhook_id, "internal_id": claimed.scope.internal_id}
        if failure is not None:
            await self._of("webhooks").update_one(endpoint, [{"$set": _failed_once_more(failure)}])
        elif claimed.endpoint and claimed.endpoint["health"]["consecutive_failures"]:
            recovered = {"health.consecutive_failures": 0, "health.first_failure_at": None}
            await self._of("webhooks").update_one(endpoint, {"$set": recovered})

    async def beat(self, under_way: int, attempts: Mapping[str, int]) -> None:
        """Say that this dispatcher lives, and how its attempts went."""
        await self._of("heartbeats").update_one(
            {"_id": self._owner},
            [
                {
                    "$set": {
                        "role": "dispatcher",
                        "at": NOW,
                        "facts": {"under_way": under_way, "attempts": dict(attempts)},
                    }
                }
            ],
            upsert=True,
        )

    async def leave(self) -> None:
        """Forget this dispatcher, which stops in order."""
        await self._of("heartbeats").delete_one({"_id": self._owner})

    async def now(self) -> datetime:
        """The database's present time."""
        if time.monotonic() - self._measured_at > _OFFSET_MAX_AGE_SECONDS:
            before = datetime.now(UTC)
            hello = await self._database.client.admin.command("hello", codec_options=self._database.codec_options)
            # half the round trip is the best guess of when the database looked at its clock
            self._offset = hello["localTime"] - (before + (datetime.now(UTC) - before) / 2)
            self._measured_at = time.monotonic()
        return datetime.now(UTC) + self._offset

    async def _update_ours(self, claimed: ClaimedDelivery, steps: list[dict[str, Any]]) -> bool:
        ours = {"_id": claimed.delivery_id, **_tenant(claimed.scope), "fence": claimed.fence}
        updated = await self._of("deliveries").update_one(ours, steps)
        return updated.matched_count == 1

    async def _with_event_and_endpoint(self, found: Document) -> ClaimedDelivery:
        scope = NamespaceScope(found["internal_id"], found["namespace_id"])
        event, endpoint, _ = await asyncio.gather(
            self._of("events").find_one({"_id": found["event_id"], **_tenant(scope)}),
            self._of("webhooks").find_one({"_id": found["webhook_id"], "internal_id": scope.internal_id}),
            self._close_abandoned_attempts(scope, found["_id"], found["attempts"]),
        )
        return ClaimedDelivery(
            delivery_id=found["_id"],
            scope=scope,
            webhook_id=found["webhook_id"],
            event_id=found["event_id"],
            event_type=found["event_type"],
            fence=found["fence"],
            number=found["attempts"],
            tries=found["tries_in_schedule"],
            body=bytes(event["body"]) if event else None,
            endpoint=endpoint,
            was_due_at=found.get("was_due_at"),
            waits_since=found.get("waits_since"),
        )

    async def _close_abandoned_attempts(self, scope: NamespaceScope, delivery_id: str, number: int) -> None:
        """Earlier attempts that are still open: their dispatcher died, or lost its lease, during the request."""
        if number > 1:
            abandoned = {"delivery_id": delivery_id, "number": {"$lt": number}, "result": AttemptResult.STARTED.value}
            await self._of("attempts").update_many(
                {**abandoned, **_tenant(scope)}, {"$set": {"result": AttemptResult.UNKNOWN.value}}
            )

    def _of(self, name: str) -> AsyncCollection[Document]:
        return self._database[name]


def _tenant(scope: NamespaceScope) -> dict[str, str]:
    return {"internal_id": scope.internal_id, "namespace_id": scope.namespace_id}


def _attempt_of(claimed: ClaimedDelivery) -> dict[str, Any]:
    attempt_id = derived_id(Prefix.ATTEMPT, claimed.delivery_id, claimed.number)
    return {"_id": attempt_id, **_tenant(claimed.scope), "fence": claimed.fence}


def _failed_once_more(cause: str) -> dict[str, Any]:
    is_first = {"$eq": ["$health.consecutive_failures", 0]}
    return {
        "health.consecutive_failures": {"$add": ["$health.consecutive_failures", 1]},
        "health.first_failure_at": {"$cond": [is_first, NOW, "$health.first_failure_at"]},
        "health.last_failure_at": NOW,
        "health.last_failure_cause": {"$literal": cause},
    }
