"""From a job's outbox to deliveries: each event stored once, one delivery for each endpoint that listens.

Every step may be repeated: ids are derived, and what stands already is left as it is.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from redis import Redis

from core.clock import DatabaseClock
from core.ids import Prefix, derived_id
from core.storage.failures import insert_missing
from core.storage.handles import Handles
from core.storage.redis import wake_dispatcher
from core.storage.scope import NamespaceScope
from core.webhooks.delivery import DeliveryStatus
from core.webhooks.endpoint import listens_to
from core.webhooks.event import Event


def relay_events(
    handles: Handles, scope: NamespaceScope, events: Sequence[Event], redis: Redis, clock: DatabaseClock
) -> int:
    """Turn events into deliveries that are due at once; how many there are."""
    if not events:
        return 0
    organization = handles.organization(scope)
    endpoints = list(organization["webhooks"].find({}))
    insert_missing(organization["events"], [_event_document(scope, event) for event in events])
    moment = clock.now()
    deliveries = [
        _delivery_document(scope, event, endpoint, moment)
        for event in events
        for endpoint in endpoints
        if listens_to(endpoint, event)
    ]
    insert_missing(organization["deliveries"], deliveries)
    if deliveries:
        wake_dispatcher(redis)
    return len(deliveries)


def _event_document(scope: NamespaceScope, event: Event) -> dict[str, Any]:
    return {
        "_id": event.event_id,
        "namespace_id": scope.namespace_id,
        "event_type": event.event_type.value,
        # the exact bytes that are signed and sent, at each attempt
        "body": event.body(),
        "created_at": event.occurred_at,
    }


def _delivery_document(
    scope: NamespaceScope, event: Event, endpoint: Mapping[str, Any], moment: datetime
) -> dict[str, Any]:
    return {
        "_id": derived_id(Prefix.DELIVERY, event.event_id, endpoint["_id"]),
        "namespace_id": scope.namespace_id,
        "webhook_id": endpoint["_id"],
        "event_id": event.event_id,
        "event_type": event.event_type.value,
        "status": DeliveryStatus.PENDING.value,
        "fence": 0,
        "attempts": 0,
        "tries_in_schedule": 0,
        "replays": 0,
        "due_at": moment,
        "created_at": moment,
    }
