"""Webhooks and deliveries on the wire. A secret is read here and never shown."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from api.schemas.fields import Body, ShortText
from core.webhooks.delivery import Delivery, DeliveryStatus
from core.webhooks.endpoint import REDACTED, Endpoint, EndpointSettings
from core.webhooks.event import EventType


class ChannelConfigs(Body):
    """Where and how a webhook is sent. `signing_secret`: absent on create means that we make one."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=2048)]
    headers: dict[str, str] = Field(default_factory=dict)
    timeout: float = Field(default=10.0, gt=0, le=60)
    signing_secret: Annotated[str, StringConstraints(max_length=500)] | None = None


class Channel(Body):
    """One way to tell a customer. Mail and Slack are published and not available yet."""

    channel: Literal["webhook"]
    configs: ChannelConfigs


class WebhookBody(Body):
    """POST and PUT of a webhook."""

    webhook_name: ShortText
    event_types: list[Annotated[EventType, Field(strict=False)]] = Field(min_length=1, max_length=100)
    resource_types: list[ShortText] | None = Field(default=None, max_length=50)
    channels: list[Channel] = Field(min_length=1, max_length=1)
    is_active: bool = True

    @property
    def secret(self) -> str | None:
        """The signing secret as it was sent."""
        return self.channels[0].configs.signing_secret

    def settings(self) -> EndpointSettings:
        """What the customer says about the endpoint."""
        configs = self.channels[0].configs
        return EndpointSettings(
            webhook_name=self.webhook_name,
            url=configs.url,
            event_types=tuple(dict.fromkeys(self.event_types)),
            resource_types=tuple(self.resource_types or ()),
            headers=configs.headers,
            timeout_seconds=configs.timeout,
            is_active=self.is_active,
        )


class WebhookFilter(Body):
    """POST /v1/organizations/webhooks/list"""

    event_type: Annotated[EventType, Field(strict=False)] | None = None
    is_active: bool | None = None

    def keeps(self, endpoint: Endpoint) -> bool:
        """Whether an endpoint is asked for."""
        return (self.event_type is None or self.event_type in endpoint.settings.event_types) and (
            self.is_active is None or self.is_active is endpoint.settings.is_active
        )


class DeliveryFilter(Body):
    """`?status=` of the list of deliveries."""

    status: Annotated[DeliveryStatus, Field(strict=False)] | None = None


def show_webhook(endpoint: Endpoint) -> dict[str, Any]:
    """The published Webhook; its secret reads `redacted`."""
    settings, health = endpoint.settings, endpoint.health
    return {
        "webhook_id": endpoint.webhook_id,
        "webhook_name": settings.webhook_name,
        "event_types": [event_type.value for event_type in settings.event_types],
        "resource_types": list(settings.resource_types) or None,
        "channels": [
            {
                "channel": "webhook",
                "configs": {
                    "url": settings.url,
                    "headers": dict(settings.headers),
                    "timeout": settings.timeout_seconds,
                    "signing_secret": REDACTED if endpoint.has_secret else None,
                },
            }
        ],
        "is_active": settings.is_active,
        "delivery_health": {
            "consecutive_failures": health.consecutive_failures,
            "first_failure_at": health.first_failure_at,
            "last_failure_at": health.last_failure_at,
            "last_failure_cause": health.last_failure_cause,
        },
        "created_at": endpoint.created_at,
        "updated_at": endpoint.updated_at,
    }


def show_delivery(delivery: Delivery) -> dict[str, Any]:
    """One event for one endpoint."""
    return {
        "delivery_id": delivery.delivery_id,
        "webhook_id": delivery.webhook_id,
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "namespace_id": delivery.namespace_id,
        "status": delivery.status.value,
        "attempts": delivery.attempts,
        "replays": delivery.replays,
        "next_attempt_at": delivery.due_at,
        "last_error": delivery.last_error,
        "created_at": delivery.created_at,
    }


_ATTEMPT_FIELDS = ("number", "result", "status_code", "ms", "error", "response_headers", "response_body", "started_at")


def show_attempt(attempt: dict[str, Any]) -> dict[str, Any]:
    """One HTTP try."""
    return {name: attempt[name] for name in _ATTEMPT_FIELDS if name in attempt}
