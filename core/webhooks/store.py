"""Endpoints and deliveries as a tenant sees them: create, change, look at, replay. It sends nothing."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from pymongo.errors import DuplicateKeyError
from redis import Redis

from core.clock import now
from core.errors import ConflictError, NotFoundError
from core.storage.handles import Handles, OrganizationData, ScopedCollection
from core.storage.paging import Page, PageRequest, read_page
from core.storage.redis import wake_dispatcher
from core.storage.scope import NamespaceScope, OrganizationScope
from core.storage.selection import Selection, narrowed
from core.vault.cipher import Cipher, DataKey
from core.vault.data_keys import DataKeys
from core.webhooks.delivery import REPLAYABLE, Delivery, DeliveryStatus
from core.webhooks.endpoint import REDACTED, DeliveryHealth, Endpoint, EndpointSettings, require_valid, secret_record
from core.webhooks.event import EventType

_ENDPOINTS_MAX = 100
"""Endpoints of one organization: each event is matched with all of them."""


class WebhookStore:
    """The endpoints of an organization, and what became of its events."""

    def __init__(self, handles: Handles, keys: DataKeys, cipher: Cipher, redis: Redis) -> None:
        self._handles = handles
        self._keys = keys
        self._cipher = cipher
        self._redis = redis

    # Endpoints --------------------------------------------------------------------------------------

    def create(
        self, scope: OrganizationScope, webhook_id: str, settings: EndpointSettings, secret: str | None
    ) -> Endpoint:
        """A new endpoint. The same id again gives the one that stands.

        Raises ValidationFailedError, and ConflictError when the organization has as many as it may have.
        """
        require_valid(settings, secret)
        if self._webhooks(scope).count({}) >= _ENDPOINTS_MAX:
            raise ConflictError(f"An organization may have {_ENDPOINTS_MAX} webhooks; remove one first.")
        moment = now()
        document = {
            "_id": webhook_id,
            **_settings_document(settings),
            "secret": None,
            "health": asdict(DeliveryHealth()),
            "created_at": moment,
            "updated_at": moment,
        }

        def write(data: OrganizationData, sealed: dict[str, Any] | None) -> None:
            data["webhooks"].insert_one({**document, "secret": sealed})

        # the same id again: the endpoint stands already
        with suppress(DuplicateKeyError):
            self._write(scope, webhook_id, secret, write)
        return self.get(scope, webhook_id)

    def get(self, scope: OrganizationScope, webhook_id: str) -> Endpoint:
        """One endpoint. Raises NotFoundError."""
        found = self._webhooks(scope).find_one({"_id": webhook_id})
        if found is None:
            raise NotFoundError("The webhook was not found.")
        return _endpoint(found)

    def list_endpoints(self, scope: OrganizationScope, only: Selection | None = None) -> list[Endpoint]:
        """The organization's endpoints, newest first, as far as `only` includes them."""
        endpoints = [_endpoint(found) for found in self._webhooks(scope).find(narrowed(only, "_id"))]
        return sorted(endpoints, key=lambda endpoint: endpoint.created_at, reverse=True)

    def update(
        self, scope: OrganizationScope, webhook_id: str, settings: EndpointSettings, secret: str | None
    ) -> Endpoint:
        """Replace an endpoint's settings. `secret`: None or `redacted` keeps it, an empty string removes it.

        Switching the endpoint on forgets its failures. Raises NotFoundError, ValidationFailedError.
        """
        keeps_secret = secret is None or secret == REDACTED
        require_valid(settings, None if keeps_secret else secret)
        changes: dict[str, Any] = {**_settings_document(settings), "updated_at": now()}
        if settings.is_active:
            changes["health"] = asdict(DeliveryHealth())

        def write(data: OrganizationData, sealed: dict[str, Any] | None) -> None:
            changed = changes if keeps_secret else {**changes, "secret": sealed}
            if not data["webhooks"].update_one({"_id": webhook_id}, {"$set": changed}):
                raise NotFoundError("The webhook was not found.")

        self._write(scope, webhook_id, None if keeps_secret else secret, write)
        return self.get(scope, webhook_id)

    def delete(self, scope: OrganizationScope, webhook_id: str) -> None:
        """Remove an endpoint. Absent, foreign or removed before: no difference. Its deliveries stay to be read."""
        self._webhooks(scope).delete_one({"_id": webhook_id})

    # Deliveries -------------------------------------------------------------------------------------

    def list_deliveries(
        self,
        scope: OrganizationScope,
        webhook_id: str,
        *,
        status: DeliveryStatus | None = None,
        limit: int = 100,
    ) -> list[Delivery]:
        """Deliveries to an endpoint in the last 90 days, newest first."""
        query: dict[str, Any] = {"webhook_id": webhook_id, "created_at": {"$gte": now() - timedelta(days=90)}}
        if status:
            query["status"] = status.value
        found = self._deliveries(scope).find(query).sort("created_at", -1).limit(limit)
        return [Delivery.from_document(item) for item in found]

    def page_deliveries(
        self,
        scope: OrganizationScope,
        webhook_id: str,
        request: PageRequest,
        *,
        status: DeliveryStatus | None = None,
    ) -> Page[Delivery]:
        """Deliveries to an endpoint, newest first, a page at a time; of one namespace when `scope` names one."""
        query = {"webhook_id": webhook_id}
        query |= {"status": status.value} if status else {}
        return read_page(self._deliveries(scope), query, request).map(Delivery.from_document)

    def get_delivery(self, scope: OrganizationScope, webhook_id: str, delivery_id: str) -> Delivery:
        """One delivery of an endpoint, in the namespace that `scope` may name. Raises NotFoundError."""
        return self._delivery(scope, {"_id": delivery_id, "webhook_id": webhook_id})

    def find_delivery(self, scope: OrganizationScope, delivery_id: str) -> Delivery:
        """One delivery of the organization. Raises NotFoundError."""
        return self._delivery(scope, {"_id": delivery_id})

    def attempts_of(self, scope: OrganizationScope, delivery_id: str) -> list[dict[str, Any]]:
        """A delivery's attempts, in order."""
        found = self._handles.organization(scope)["attempts"].find({"delivery_id": delivery_id, "number": {"$gte": 1}})
        return sorted(found, key=lambda attempt: int(attempt["number"]))

    def replay(self, scope: OrganizationScope, webhook_id: str, delivery_id: str) -> Delivery:
        """Send a delivery again from the start of its schedule: the same one, so that it is seen to recover.

        Raises NotFoundError; ConflictError while it is under way, or when its endpoint is gone or switched off.
        """
        delivery = self.get_delivery(scope, webhook_id, delivery_id)
        endpoint = self._webhooks(scope).find_one({"_id": webhook_id})
        if endpoint is None or not endpoint["is_active"]:
            raise ConflictError("The delivery's webhook is removed or inactive: there is nowhere to send it.")
        rearmed = self._deliveries(scope).update_one(
            {"_id": delivery_id, "status": {"$in": [status.value for status in REPLAYABLE]}},
            [
                {
                    "$set": {
                        "status": DeliveryStatus.PENDING.value,
                        "due_at": "$$NOW",
                        "tries_in_schedule": 0,
                        "replays": {"$add": ["$replays", 1]},
                    }
                }
            ],
        )
        if not rearmed:
            raise ConflictError(f"The delivery is {delivery.status}: it is tried by itself and cannot be replayed now.")
        wake_dispatcher(self._redis)
        return self.get_delivery(scope, webhook_id, delivery_id)

    def _delivery(self, scope: OrganizationScope, query: Mapping[str, Any]) -> Delivery:
        found = self._deliveries(scope).find_one(query)
        if found is None:
            raise NotFoundError("The delivery was not found.")
        return Delivery.from_document(found)

    def _write(
        self,
        scope: OrganizationScope,
        webhook_id: str,
        secret: str | None,
        write: Callable[[OrganizationData, dict[str, Any] | None], None],
    ) -> None:
        """Write an endpoint with its sealed signing secret, if there is one to seal."""
        if not secret:
            write(self._handles.organization(scope), None)
            return
        record, value = secret_record(scope.internal_id, webhook_id), secret

        def write_sealed(data: OrganizationData, key: DataKey) -> None:
            write(data, asdict(self._cipher.seal(key, record, value)))

        self._keys.write_sealed(scope, write_sealed)

    def _webhooks(self, scope: OrganizationScope) -> ScopedCollection:
        return self._handles.organization(scope)["webhooks"]

    def _deliveries(self, scope: OrganizationScope) -> ScopedCollection:
        if isinstance(scope, NamespaceScope):
            return self._handles.namespace(scope)["deliveries"]
        return self._handles.organization(scope)["deliveries"]


def _settings_document(settings: EndpointSettings) -> dict[str, Any]:
    return {
        **asdict(settings),
        "event_types": [event_type.value for event_type in settings.event_types],
        "resource_types": list(settings.resource_types),
        "headers": dict(settings.headers),
    }


def _endpoint(found: Mapping[str, Any]) -> Endpoint:
    settings = EndpointSettings(
        webhook_name=found["webhook_name"],
        url=found["url"],
        event_types=tuple(EventType(name) for name in found["event_types"]),
        resource_types=tuple(found["resource_types"]),
        headers=found["headers"],
        timeout_seconds=found["timeout_seconds"],
        is_active=found["is_active"],
    )
    return Endpoint(
        webhook_id=found["_id"],
        settings=settings,
        has_secret=found["secret"] is not None,
        health=DeliveryHealth(**found["health"]),
        created_at=found["created_at"],
        updated_at=found["updated_at"],
    )
