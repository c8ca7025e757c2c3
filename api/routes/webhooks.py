"""Webhooks of an organization, and what became of their deliveries."""

import hashlib

from api.call import Call, Reply
from api.pagination import newest_first, page_request
from api.route import WEBHOOK, WEBHOOKS, NamespaceMode, Route
from api.schemas.paging import PagingQuery
from api.schemas.webhooks import (
    DeliveryDetailView,
    DeliveryList,
    DeliveryQuery,
    DeliveryView,
    NewWebhookView,
    WebhookBody,
    WebhookFilter,
    WebhookList,
    WebhookView,
    show_delivery,
    show_delivery_detail,
    show_new_webhook,
    show_webhook,
    show_webhook_again,
)
from core.audit.actions import AuditAction
from core.egress.policy import EgressPolicy
from core.egress.target import foreseen, target_of
from core.errors import NotFoundError, ValidationFailedError
from core.ids import Prefix, webhook_id
from core.limits.policy import RateClass
from core.tenancy.permissions import Permission
from core.vault.references import references_anywhere
from core.webhooks.endpoint import Endpoint, EndpointSettings, never_told
from core.webhooks.signature import generate_secret


def create_webhook(call: Call) -> Reply:
    """A new webhook. A secret that we make is in this answer and never shown again."""
    body = _parsed(call)
    new_id = _new_webhook_id(call)
    if standing := _standing(call, new_id):
        # a request that crashed after it had made the webhook: its secret went to nobody
        _warn(call, standing.settings)
        return Reply(show_webhook_again(standing))
    made = generate_secret() if body.secret is None else None
    settings = body.settings()
    endpoint = call.services.webhooks.create(call.organization, new_id, settings, made or body.secret)
    _warn(call, settings)
    if made is None:
        return Reply(show_webhook(endpoint))
    return Reply(show_new_webhook(endpoint, made), replay=show_webhook_again(endpoint))


def create_webhook_201(call: Call) -> Reply:
    """The path with a trailing slash, which only clients use that expect 201."""
    reply = create_webhook(call)
    return Reply(reply.body, 201, reply.headers, reply.replay)


def _parsed(call: Call) -> WebhookBody:
    """The body. Raises ValidationFailedError, too, where it names a secret of the vault: a webhook cannot use one."""
    if misplaced := references_anywhere(call.body, ()):
        raise ValidationFailedError(misplaced)
    return call.parse(WebhookBody)


def _warn(call: Call, settings: EndpointSettings) -> None:
    """Say what was accepted and will not work, as far as one can know it now."""
    call.warnings.extend(never_told(settings))
    if refusal := foreseen(target_of(settings.url), EgressPolicy.allowing(call.services.settings.egress_allow_cidrs)):
        call.warnings.append(f"Deliveries to this URL will be blocked: {refusal}.")
    if settings.timeout_seconds > (most := call.services.settings.webhook_timeout_seconds):
        call.warnings.append(
            f"An attempt ends after {most:g} seconds, which the operator has set, although timeout is more."
        )


def _new_webhook_id(call: Call) -> str:
    # the shape that clients check has no room for one of our ids
    return webhook_id(hashlib.sha256(call.new_id(Prefix.OPERATION).encode()).hexdigest()[:16])


def _standing(call: Call, new_id: str) -> Endpoint | None:
    try:
        return call.services.webhooks.get(call.organization, new_id)
    except NotFoundError:
        return None


def get_webhook(call: Call) -> Reply:
    """One webhook."""
    return Reply(show_webhook(call.services.webhooks.get(call.organization, call.path["webhook_id"])))


def update_webhook(call: Call) -> Reply:
    """Replace a webhook's settings. An absent or `redacted` secret stays, an empty one is removed."""
    body = _parsed(call)
    settings = body.settings()
    endpoint = call.services.webhooks.update(call.organization, call.path["webhook_id"], settings, body.secret)
    _warn(call, settings)
    return Reply(show_webhook(endpoint))


def delete_webhook(call: Call) -> Reply:
    """Remove a webhook. Foreign, absent and removed before get the same answer."""
    call.services.webhooks.delete(call.organization, call.path["webhook_id"])
    return Reply(status=204)


def list_webhooks(call: Call) -> Reply:
    """Webhooks, newest first: few enough to be read whole."""
    asked, wanted = page_request(call), call.parse_filter(WebhookFilter)
    endpoints = call.services.webhooks.list_endpoints(call.organization, call.visible)
    kept = filter(wanted.keeps, endpoints)
    page = newest_first(kept, asked, lambda endpoint: (endpoint.created_at, endpoint.webhook_id))
    return Reply(WebhookList.of(page, show_webhook))


def list_deliveries(call: Call) -> Reply:
    """Deliveries to a webhook, newest first, after it was removed too; `?status=` and `X-Namespace` narrow them."""
    wanted = call.parse_query(DeliveryQuery)
    page = call.services.webhooks.page_deliveries(
        call.narrowest_scope,
        call.path["webhook_id"],
        wanted.request(),
        status=wanted.status,
    )
    return Reply(DeliveryList.of(page, show_delivery))


def get_delivery(call: Call) -> Reply:
    """One delivery, with its attempts."""
    webhooks = call.services.webhooks
    delivery = webhooks.get_delivery(call.narrowest_scope, call.path["webhook_id"], call.path["delivery_id"])
    attempts = webhooks.attempts_of(call.organization, delivery.delivery_id)
    return Reply(show_delivery_detail(delivery, attempts))


def replay_delivery(call: Call) -> Reply:
    """Send a delivery again, from the start of its schedule. Raises ConflictError while it is under way."""
    call.take_nothing()
    delivery = call.services.webhooks.replay(call.narrowest_scope, call.path["webhook_id"], call.path["delivery_id"])
    return Reply(show_delivery(delivery))


_WEBHOOKS = "/v1/organizations/webhooks"
_WEBHOOK = f"{_WEBHOOKS}/<webhook_id>"
_DELIVERY = f"{_WEBHOOK}/deliveries/<delivery_id>"
_ANY = NamespaceMode.OPTIONAL

ROUTES = (
    Route(
        "POST",
        _WEBHOOKS,
        "webhooks.create",
        create_webhook,
        Permission.WRITE,
        WEBHOOKS,
        namespace=_ANY,
        audit=AuditAction.WEBHOOK_CREATED,
        idempotent=True,
        body=WebhookBody,
        answers={200: NewWebhookView},
    ),
    Route(
        "POST",
        f"{_WEBHOOKS}/",
        "webhooks.create_201",
        create_webhook_201,
        Permission.WRITE,
        WEBHOOKS,
        namespace=_ANY,
        audit=AuditAction.WEBHOOK_CREATED,
        idempotent=True,
        body=WebhookBody,
        answers={201: NewWebhookView},
    ),
    Route(
        "POST",
        f"{_WEBHOOKS}/list",
        "webhooks.list",
        list_webhooks,
        Permission.READ,
        WEBHOOKS,
        namespace=_ANY,
        body=WebhookFilter,
        query=PagingQuery,
        answers={200: WebhookList},
    ),
    Route(
        "GET",
        _WEBHOOK,
        "webhooks.get",
        get_webhook,
        Permission.READ,
        WEBHOOK,
        namespace=_ANY,
        answers={200: WebhookView},
    ),
    Route(
        "PUT",
        _WEBHOOK,
        "webhooks.update",
        update_webhook,
        Permission.WRITE,
        WEBHOOK,
        namespace=_ANY,
        audit=AuditAction.WEBHOOK_UPDATED,
        body=WebhookBody,
        answers={200: WebhookView},
    ),
    Route(
        "DELETE",
        _WEBHOOK,
        "webhooks.delete",
        delete_webhook,
        Permission.DELETE,
        WEBHOOK,
        namespace=_ANY,
        audit=AuditAction.WEBHOOK_DELETED,
        answers={204: None},
    ),
    Route(
        "GET",
        f"{_WEBHOOK}/deliveries",
        "deliveries.list",
        list_deliveries,
        Permission.READ,
        WEBHOOK,
        rate=RateClass.DATA,
        namespace=_ANY,
        query=DeliveryQuery,
        answers={200: DeliveryList},
    ),
    Route(
        "GET",
        _DELIVERY,
        "deliveries.get",
        get_delivery,
        Permission.READ,
        WEBHOOK,
        rate=RateClass.DATA,
        namespace=_ANY,
        answers={200: DeliveryDetailView},
    ),
    Route(
        "POST",
        f"{_DELIVERY}/replay",
        "deliveries.replay",
        replay_delivery,
        Permission.WRITE,
        WEBHOOK,
        rate=RateClass.DATA,
        namespace=_ANY,
        audit=AuditAction.DELIVERY_REPLAYED,
        idempotent=True,
        answers={200: DeliveryView},
    ),
)
