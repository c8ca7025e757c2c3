"""Endpoints and deliveries as a tenant sees them: create, change, look at, replay. It sends nothing."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from pymongo.errors import DuplicateKeyError
from redis import Redis

from core.clock import now
from core.errors import ConflictError, IntegrityError, NotFoundError
from core.storage.handles import Handles, OrganizationData, ScopedCollection
from core.storage.moments import NOW
from core.storage.mongo import Document
from core.storage.paging import Page, PageRequest, read_page
from core.storage.redis import wake_dispatcher
from core.storage.scope import NamespaceScope, OrganizationScope
from core.storage.selection import Selection, narrowed
from core.vault.cipher import Cipher, DataKey
from core.vault.data_keys import DataKeys
from core.webhooks.delivery import REPLAYABLE, Delivery, DeliveryStatus
from core.webhooks.endpoint import (
    REDACTED,
    DeliveryHealth,
    Endpoint,
    EndpointSettings,
    require_kept_at_home,
    require_valid,
    secret_record,
    why_not_told,
)
from core.webhooks.event import EventType, read_body
from core.webhooks.own_headers import IN_CLEAR, header_fields, header_names, no_headers, open_headers

_ENDPOINTS_MAX = 100
"""Endpoints of one organization: each event is matched with all of them."""

_NOT_TOLD = {
    "endpoint_gone": "its webhook was removed, so there is nowhere to send it",
    "endpoint_inactive": "its webhook is switched off",
    "not_subscribed": "its webhook is not subscribed to this type of event any more",
    "resource_type_not_wanted": "its webhook's resource_types leave this event out",
}


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
            **no_headers(),
            "secret": None,
            "health": asdict(DeliveryHealth()),
            "created_at": moment,
            "updated_at": moment,
        }

        def write(data: OrganizationData, key: DataKey | None) -> None:
            sealed = self._sealed(key, webhook_id, settings.headers, secret) if key else {}
            data["webhooks"].insert_one({**document, **sealed})

        # the same id again: the endpoint stands already
        with suppress(DuplicateKeyError):
            self._write(scope, write, seals=bool(secret or settings.headers))
        return self.get(scope, webhook_id)

    def get(self, scope: OrganizationScope, webhook_id: str) -> Endpoint:
        """One endpoint. Raises NotFoundError."""
        return _endpoint(self._found(scope, webhook_id))

    def list_endpoints(self, scope: OrganizationScope, only: Selection | None = None) -> list[Endpoint]:
        """The organization's endpoints, newest first, as far as `only` includes them."""
        endpoints = [_endpoint(found) for found in self._webhooks(scope).find(narrowed(only, "_id"))]
        return sorted(endpoints, key=lambda endpoint: endpoint.created_at, reverse=True)

    def update(
        self, scope: OrganizationScope, webhook_id: str, settings: EndpointSettings, secret: str | None
    ) -> Endpoint:
        """Replace an endpoint's settings. `secret`: None or `redacted` keeps it, an empty string removes it; a header
        whose value is `redacted` keeps its value, as long as the URL keeps its host.

        Switching the endpoint on forgets its failures. Raises NotFoundError, ValidationFailedError, and ConflictError
        where a value that should stay cannot be read.
        """
        keeps_secret = secret is None or secret == REDACTED
        new_secret = None if keeps_secret else secret
        require_valid(settings, new_secret, header_names(self._found(scope, webhook_id)))
        changes: dict[str, Any] = {**_settings_document(settings), **no_headers(), "updated_at": now()}
        changes |= {"health": asdict(DeliveryHealth())} if settings.is_active else {}
        changes |= {} if keeps_secret else {"secret": None}

        def write(data: OrganizationData, key: DataKey | None) -> None:
            # read inside: what is kept is what stands there now
            found = data["webhooks"].find_one({"_id": webhook_id})
            if found is None:
                raise _absent()
            require_kept_at_home(found["url"], settings)
            sealed = self._sealed(key, webhook_id, self._with_kept(found, settings.headers), new_secret) if key else {}
            update = {"$set": {**changes, **sealed}, "$unset": {IN_CLEAR: ""}}
            data["webhooks"].update_one({"_id": webhook_id}, update)

        self._write(scope, write, seals=bool(new_secret or settings.headers))
        return self.get(scope, webhook_id)

    def seal_clear_headers(self, scope: OrganizationScope) -> int:
        """Seal the header values that an earlier version stored as they are; of how many endpoints. May be repeated."""
        rows = [row for row in self._webhooks(scope).find({}) if IN_CLEAR in row]
        for row in rows:
            unchanged = {"_id": row["_id"], "updated_at": row["updated_at"]}

            def write(
                data: OrganizationData, key: DataKey | None, row: Document = row, at: Document = unchanged
            ) -> None:
                sealed = header_fields(self._cipher, key, row["_id"], row[IN_CLEAR]) if key else no_headers()
                data["webhooks"].update_one(at, {"$set": sealed, "$unset": {IN_CLEAR: ""}})

            try:
                self._write(scope, write, seals=bool(row[IN_CLEAR]))
            except ConflictError:
                # the organization was deleted with its keys: what it stored is to be noise
                self._write(scope, write, seals=False)
        return len(rows)

    def delete(self, scope: OrganizationScope, webhook_id: str) -> None:
        """Remove an endpoint. Absent, foreign or removed before: no difference. Its deliveries stay to be read."""
        self._webhooks(scope).delete_one({"_id": webhook_id})

    # Deliveries -------------------------------------------------------------------------------------

    def list_deliveries(
        self,
        scope: OrganizationScope,
        webhook_id: str | None,
        *,
        status: DeliveryStatus | None = None,
        limit: int = 100,
    ) -> list[Delivery]:
        """Deliveries in the last 90 days, newest first: to one endpoint, which may be removed, or to all there were."""
        query: dict[str, Any] = {"created_at": {"$gte": now() - timedelta(days=90)}}
        query |= {"webhook_id": webhook_id} if webhook_id else {}
        query |= {"status": status.value} if status else {}
        found = self._deliveries(scope).find(query).sort("created_at", -1).limit(limit)
        return [Delivery.from_document(item) for item in found]

    def page_deliveries(
        self,
        scope: OrganizationScope,
        webhook_id: str | None,
        request: PageRequest,
        *,
        status: DeliveryStatus | None = None,
    ) -> Page[Delivery]:
        """Deliveries, newest first, a page at a time; of one namespace when `scope` names one.

        To one endpoint, which may be removed, or to all there were. Raises NotFoundError for one of which there is
        neither an endpoint nor a delivery.
        """
        query: dict[str, Any] = {"webhook_id": webhook_id} if webhook_id else {}
        if webhook_id and not self._is_known(scope, webhook_id):
            raise _absent()
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

        Raises NotFoundError; ConflictError while it is under way, or when its endpoint does not listen to it any more.
        """
        delivery = self.get_delivery(scope, webhook_id, delivery_id)
        event = self._handles.organization(scope)["events"].find_one({"_id": delivery.event_id})
        if event is None:
            raise ConflictError("The delivery cannot be replayed: its event is not stored any more.")
        endpoint = self._webhooks(scope).find_one({"_id": webhook_id})
        if why := why_not_told(endpoint, read_body(bytes(event["body"]))):
            raise ConflictError(f"The delivery cannot be replayed: {_NOT_TOLD[why]}.", cause=why)
        rearmed = self._deliveries(scope).update_one(
            {"_id": delivery_id, "status": {"$in": [status.value for status in REPLAYABLE]}},
            [
                {
                    "$set": {
                        "status": DeliveryStatus.PENDING.value,
                        "due_at": NOW,
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
        self, scope: OrganizationScope, write: Callable[[OrganizationData, DataKey | None], None], *, seals: bool
    ) -> None:
        """Write an endpoint; with the organization's data key when there is something to seal."""
        if seals:
            self._keys.write_sealed(scope, write)
        else:
            write(self._handles.organization(scope), None)

    def _sealed(self, key: DataKey, webhook_id: str, headers: Mapping[str, str], secret: str | None) -> Document:
        fields = header_fields(self._cipher, key, webhook_id, headers)
        if secret:
            fields["secret"] = asdict(self._cipher.seal(key, secret_record(key.internal_id, webhook_id), secret))
        return fields

    def _with_kept(self, found: Document, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers with their values; those that are `redacted` as they are stored."""
        if REDACTED not in headers.values():
            return dict(headers)
        try:
            kept = {
                name.lower(): value for name, value in open_headers(self._cipher, found["internal_id"], found).items()
            }
            return {name: kept[name.lower()] if value == REDACTED else value for name, value in headers.items()}
        except (IntegrityError, KeyError):
            raise ConflictError("A stored header value cannot be kept: give each header its value.") from None

    def _found(self, scope: OrganizationScope, webhook_id: str) -> Document:
        found = self._webhooks(scope).find_one({"_id": webhook_id})
        if found is None:
            raise _absent()
        return found

    def _is_known(self, scope: OrganizationScope, webhook_id: str) -> bool:
        if self._webhooks(scope).find_one({"_id": webhook_id}, {"_id": 1}):
            return True
        return self._deliveries(scope).find_one({"webhook_id": webhook_id}, {"_id": 1}) is not None

    def _webhooks(self, scope: OrganizationScope) -> ScopedCollection:
        return self._handles.organization(scope)["webhooks"]

    def _deliveries(self, scope: OrganizationScope) -> ScopedCollection:
        if isinstance(scope, NamespaceScope):
            return self._handles.namespace(scope)["deliveries"]
        return self._handles.organization(scope)["deliveries"]


def _absent() -> NotFoundError:
    return NotFoundError("The webhook was not found.")


def _settings_document(settings: EndpointSettings) -> dict[str, Any]:
    """The settings as they are stored, without the headers, which are sealed."""
    return {
        "webhook_name": settings.webhook_name,
        "url": settings.url,
        "event_types": [event_type.value for event_type in settings.event_types],
        "resource_types": list(settings.resource_types),
        "timeout_seconds": settings.timeout_seconds,
        "is_active": settings.is_active,
    }


def _endpoint(found: Mapping[str, Any]) -> Endpoint:
    settings = EndpointSettings(
        webhook_name=found["webhook_name"],
        url=found["url"],
        event_types=tuple(EventType(name) for name in found["event_types"]),
        resource_types=tuple(found["resource_types"]),
        headers=dict.fromkeys(header_names(found), REDACTED),
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
