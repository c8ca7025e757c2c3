"""Webhooks and deliveries on the wire. A secret is read here and never shown."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from api.schemas.fields import Answer, Body, Number, ShortText, View
from api.schemas.paging import PagingQuery, TotalListView
from core.webhooks.delivery import AttemptResult, Delivery, DeliveryStatus
from core.webhooks.endpoint import REDACTED, Endpoint, EndpointSettings
from core.webhooks.event import EventType


class ChannelConfigs(Body):
    """Where and how a webhook is sent. `signing_secret`: absent on create means that we make one. On an update
    `redacted`, as the secret or as a header's value, keeps what is stored."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=2048)]
    headers: dict[str, str] = Field(default_factory=dict)
    timeout: float = Field(default=10.0, gt=0, le=60)
    signing_secret: str | None = None


class Channel(Body):
    """One way to tell a customer. Mail and Slack are published and not available yet."""

    channel: Literal["webhook"]
    configs: ChannelConfigs


class WebhookBody(Body):
    """A webhook as its owner sets it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "webhook_name": "done",
                    "event_types": ["collection.documents.batch_completed"],
                    "channels": [{"channel": "webhook", "configs": {"url": "https://example.com/hook"}}],
                }
            ]
        }
    )

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
    """Which webhooks to list."""

    event_type: Annotated[EventType, Field(strict=False)] | None = None
    is_active: bool | None = None

    def keeps(self, endpoint: Endpoint) -> bool:
        """Whether an endpoint is asked for."""
        return (self.event_type is None or self.event_type in endpoint.settings.event_types) and (
            self.is_active is None or self.is_active is endpoint.settings.is_active
        )


class DeliveryQuery(PagingQuery):
    """The paging of the list of deliveries, and what narrows it."""

    status: DeliveryStatus | None = None
    """Only deliveries in this state."""


class ChannelConfigsView(View):
    """Where and how a webhook is sent."""

    url: str
    """Where it is sent."""
    headers: dict[str, Literal["redacted"]]
    """Headers that are sent with it. Their values are never shown; sent back as they are, they stay."""
    timeout: float
    """Seconds for one attempt."""
    signing_secret: Literal["redacted"] | None
    """Whether there is one; it is never shown again."""


class ChannelView(View):
    """One way to tell a customer."""

    channel: Literal["webhook"]
    """Always `webhook`."""
    configs: ChannelConfigsView
    """How it is set."""


class DeliveryHealthView(View):
    """How deliveries went lately."""

    consecutive_failures: int
    """Failures since the last success."""
    first_failure_at: datetime | None
    """When they began."""
    last_failure_at: datetime | None
    """When the last one was."""
    last_failure_cause: str | None
    """A class of error."""


class WebhookView(Answer):
    """The published Webhook; its secret reads `redacted`."""

    webhook_id: str = Field(pattern=r"^wh_[a-fA-F0-9]{16}$")
    """The webhook."""
    webhook_name: str
    """As it was given."""
    event_types: list[EventType]
    """The events that it is told."""
    resource_types: list[str] | None
    """Subjects that it wants; null for all."""
    channels: list[ChannelView]
    """How it is told: there is one."""
    is_active: bool
    """Whether it is told anything."""
    delivery_health: DeliveryHealthView
    """How well it takes them."""
    created_at: datetime
    """When it was made."""
    updated_at: datetime
    """When it was changed last."""


class NewWebhookView(WebhookView):
    """A webhook that was just made."""

    signing_secret: str | None = None
    """The secret that was made for it: shown in this answer only, and null in a repetition of it."""
    already_issued: Literal[True] = True
    """Sent in a repetition: the secret went out with the first answer."""


class DeliveryView(Answer):
    """One event for one endpoint."""

    delivery_id: str
    """The delivery."""
    webhook_id: str
    """The webhook."""
    event_id: str
    """The event; the same in each delivery of it."""
    event_type: str
    """What happened."""
    namespace_id: str
    """The namespace that it belongs to."""
    status: DeliveryStatus
    """Where it is in its schedule."""
    attempts: int
    """How many HTTP tries there were."""
    replays: int
    """How often it was started again."""
    next_attempt_at: datetime | None
    """When it is tried next; null when it is not."""
    last_error: str | None
    """Why the last try failed."""
    created_at: datetime
    """When it was made."""


class AttemptView(View):
    """One HTTP try. What its end brings is absent while it is under way."""

    number: int
    """Its place among the tries, from 1."""
    url: str | None = None
    """Where it was sent, credentials masked: a webhook's URL may change between two tries."""
    result: AttemptResult
    """What it came to."""
    status_code: int | None = None
    """What the endpoint answered."""
    ms: Number = 0
    """How long it took."""
    error: str | None = None
    """A class of error; never an address."""
    answer_fault: str | None = None
    """What was wrong with the answer behind its status; the status decides all the same."""
    response_headers: dict[str, str] = Field(default_factory=dict)
    """Headers of the endpoint's answer."""
    response_body: str = ""
    """The first bytes of the endpoint's answer."""
    due_at: datetime | None = None
    """When it was due."""
    started_at: datetime
    """When it began."""


class DeliveryDetailView(DeliveryView):
    """One delivery with its attempts."""

    attempt_history: list[AttemptView]
    """Every try, in order."""


class WebhookList(TotalListView[WebhookView]):
    """A page of webhooks."""


class DeliveryList(TotalListView[DeliveryView]):
    """A page of deliveries."""


def show_webhook(endpoint: Endpoint) -> WebhookView:
    """A webhook as it is answered."""
    return WebhookView(**_webhook_fields(endpoint))


def show_new_webhook(endpoint: Endpoint, secret: str) -> NewWebhookView:
    """A new webhook with the secret that we made for it."""
    return NewWebhookView(**_webhook_fields(endpoint), signing_secret=secret)


def show_webhook_again(endpoint: Endpoint) -> NewWebhookView:
    """What a repetition of the create gets: the secret was shown before."""
    return NewWebhookView(**_webhook_fields(endpoint), signing_secret=None, already_issued=True)


def _webhook_fields(endpoint: Endpoint) -> dict[str, Any]:
    settings, health = endpoint.settings, endpoint.health
    configs = ChannelConfigsView(
        url=settings.url,
        headers=dict.fromkeys(settings.headers, REDACTED),
        timeout=settings.timeout_seconds,
        signing_secret=REDACTED if endpoint.has_secret else None,
    )
    return {
        "webhook_id": endpoint.webhook_id,
        "webhook_name": settings.webhook_name,
        "event_types": list(settings.event_types),
        "resource_types": list(settings.resource_types) or None,
        "channels": [ChannelView(channel="webhook", configs=configs)],
        "is_active": settings.is_active,
        "delivery_health": DeliveryHealthView(
            consecutive_failures=health.consecutive_failures,
            first_failure_at=health.first_failure_at,
            last_failure_at=health.last_failure_at,
            last_failure_cause=health.last_failure_cause,
        ),
        "created_at": endpoint.created_at,
        "updated_at": endpoint.updated_at,
    }


def show_delivery(delivery: Delivery) -> DeliveryView:
    """A delivery as it is answered."""
    return DeliveryView(**_delivery_fields(delivery))


def show_delivery_detail(delivery: Delivery, attempts: list[dict[str, Any]]) -> DeliveryDetailView:
    """A delivery with its attempts, as the store has them."""
    return DeliveryDetailView(**_delivery_fields(delivery), attempt_history=[_show_attempt(one) for one in attempts])


def _delivery_fields(delivery: Delivery) -> dict[str, Any]:
    return {
        "delivery_id": delivery.delivery_id,
        "webhook_id": delivery.webhook_id,
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "namespace_id": delivery.namespace_id,
        "status": delivery.status,
        "attempts": delivery.attempts,
        "replays": delivery.replays,
        "next_attempt_at": delivery.due_at,
        "last_error": delivery.last_error,
        "created_at": delivery.created_at,
    }


def _show_attempt(stored: Mapping[str, Any]) -> AttemptView:
    fields = {name: stored[name] for name in AttemptView.model_fields if name in stored}
    return AttemptView.model_validate({**fields, "result": AttemptResult(stored["result"])})
