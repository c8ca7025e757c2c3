"""Due deliveries for the dispatcher (asyncio): claim by lease and fence, record each attempt before it leaves.

A claim finds a delivery by id and due time alone; every later read and write carries its tenant and its fence.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from core.ids import Prefix, derived_id
from core.storage.mongo import Document
from core.storage.scope import NamespaceScope
from core.webhooks.delivery import Attempt, AttemptResult, DeliveryStatus

_WINDOW = timedelta(days=30)
"""How far back due deliveries are looked for; an index range stays bounded on both sides."""
_OFFSET_MAX_AGE_SECONDS = 60.0


@dataclass(frozen=True)
class DueDelivery:
    """A delivery that may be claimed."""

    delivery_id: str
    webhook_id: str


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
    body: bytes
    endpoint: Mapping[str, Any] | None
    """as stored; None when it was removed"""


class DeliveryQueue:
    """Hands out due deliveries and records what came of them."""

    def __init__(self, database: AsyncDatabase[Document], owner: str, lease_seconds: float) -> None:
        self._database = database
        self._owner = owner
        self._lease_milliseconds = int(lease_seconds * 1000)
        self._offset = timedelta()
        self._measured_at = float("-inf")

    async def due(self, limit: int) -> list[DueDelivery]:
        """Deliveries that are due now, the longest waiting first among those looked at."""
        now = await self._now()
        cursor = self._of("deliveries").find(
            {"due_at": {"$gte": now - _WINDOW, "$lte": now}}, {"webhook_id": 1, "due_at": 1}
        )
        found = await cursor.limit(limit).to_list()
        found.sort(key=lambda item: item["due_at"])
        return [DueDelivery(item["_id"], item["webhook_id"]) for item in found]

    async def claim(self, delivery_id: str) -> ClaimedDelivery | None:
        """Take one due delivery, or None when somebody else has it. An attempt left open before becomes `unknown`."""
        claimed = await self._of("deliveries").update_one(
            {"_id": delivery_id, "due_at": {"$lte": await self._now()}},
            [
                {
                    "$set": {
                        "status": DeliveryStatus.DELIVERING.value,
                        "owner": self._owner,
                        "fence": {"$add": ["$fence", 1]},
                        "attempts": {"$add": ["$attempts", 1]},
                        "tries_in_schedule": {"$add": ["$tries_in_schedule", 1]},
                        "due_at": {"$add": ["$$NOW", self._lease_milliseconds]},
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

    async def start_attempt(self, claimed: ClaimedDelivery) -> bool:
        """Record the attempt before the request leaves. False when another owner made this one already."""
        try:
            await self._of("attempts").insert_one(
                {
                    "_id": derived_id(Prefix.ATTEMPT, claimed.delivery_id, claimed.number),
                    **_tenant(claimed),
                    "delivery_id": claimed.delivery_id,
                    "number": claimed.number,
                    "result": AttemptResult.STARTED.value,
                    "started_at": await self._now(),
                }
            )
        except DuplicateKeyError:
            return False
        return True

    async def complete_attempt(self, claimed: ClaimedDelivery, attempt: Attempt) -> None:
        """Write down how the attempt went."""
        await self._of("attempts").update_one(
            {
                "_id": derived_id(Prefix.ATTEMPT, claimed.delivery_id, claimed.number),
                **_tenant(claimed),
            },
            {
                "$set": {
                    "result": attempt.result.value,
                    "status_code": attempt.status_code,
                    "ms": attempt.ms,
                    "error": attempt.error,
                    "response_headers": dict(attempt.response_headers),
                    "response_body": attempt.response_body,
                }
            },
        )

    async def settle(
        self, claimed: ClaimedDelivery, status: DeliveryStatus, error: str | None, retry_in: timedelta | None
    ) -> bool:
        """Move the delivery on. `retry_in` only with PENDING. False: a newer claim owns it, nothing was written."""
        fields: dict[str, Any] = {"status": status.value, "last_error": {"$literal": error}}
        steps: list[dict[str, Any]] = [{"$set": fields}]
        if retry_in is None:
            steps.append({"$unset": "due_at"})
        else:
            fields["due_at"] = {"$add": ["$$NOW", int(retry_in.total_seconds() * 1000)]}
        settled = await self._of("deliveries").update_one(
            {"_id": claimed.delivery_id, **_tenant(claimed), "fence": claimed.fence}, steps
        )
        return settled.matched_count == 1

    async def note_health(self, claimed: ClaimedDelivery, failure: str | None) -> None:
        """Keep the endpoint's record of consecutive failures; None means that it answered well."""
        endpoint = {"_id": claimed.webhook_id, "internal_id": claimed.scope.internal_id}
        if failure is None:
            if claimed.endpoint and claimed.endpoint["health"]["consecutive_failures"]:
                await self._of("webhooks").update_one(endpoint, {"$set": {"health.consecutive_failures": 0}})
            return
        moment = await self._now()
        fields: dict[str, Any] = {"health.last_failure_at": moment, "health.last_failure_cause": failure}
        if claimed.endpoint and not claimed.endpoint["health"]["consecutive_failures"]:
            fields["health.first_failure_at"] = moment
        await self._of("webhooks").update_one(endpoint, {"$set": fields, "$inc": {"health.consecutive_failures": 1}})

    async def beat(self) -> None:
        """Say that this dispatcher lives."""
        await self._of("heartbeats").update_one(
            {"_id": self._owner}, [{"$set": {"role": "dispatcher", "at": "$$NOW", "facts": {}}}], upsert=True
        )

    async def _with_event_and_endpoint(self, found: Document) -> ClaimedDelivery:
        scope = NamespaceScope(found["internal_id"], found["namespace_id"])
        tenant = {"internal_id": scope.internal_id}
        event = await self._of("events").find_one({"_id": found["event_id"], **tenant})
        endpoint = await self._of("webhooks").find_one({"_id": found["webhook_id"], **tenant})
        number = found["attempts"]
        if number > 1:
            # still open: its dispatcher died while the request was under way
            await self._of("attempts").update_one(
                {
                    "_id": derived_id(Prefix.ATTEMPT, found["_id"], number - 1),
                    **tenant,
                    "namespace_id": scope.namespace_id,
                    "result": AttemptResult.STARTED.value,
                },
                {"$set": {"result": AttemptResult.UNKNOWN.value}},
            )
        return ClaimedDelivery(
            delivery_id=found["_id"],
            scope=scope,
            webhook_id=found["webhook_id"],
            event_id=found["event_id"],
            event_type=found["event_type"],
            fence=found["fence"],
            number=number,
            tries=found["tries_in_schedule"],
            body=bytes(event["body"]) if event else b"",
            endpoint=endpoint,
        )

    async def _now(self) -> datetime:
        if time.monotonic() - self._measured_at > _OFFSET_MAX_AGE_SECONDS:
            hello = await self._database.client.admin.command("hello", codec_options=self._database.codec_options)
            self._offset = hello["localTime"] - datetime.now(UTC)
            self._measured_at = time.monotonic()
        return datetime.now(UTC) + self._offset

    def _of(self, name: str) -> AsyncCollection[Document]:
        return self._database[name]


def _tenant(claimed: ClaimedDelivery) -> dict[str, str]:
    return {"internal_id": claimed.scope.internal_id, "namespace_id": claimed.scope.namespace_id}
