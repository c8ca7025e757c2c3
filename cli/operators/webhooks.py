"""`keystage webhooks`: what became of deliveries, and sending a failed one again."""

import click

from cli.operators.options import json_option, org_option
from cli.operators.session import operator_session, print_json, record, show
from core.audit.actions import AuditAction
from core.audit.entry import AuditStatus
from core.storage.paging import PageRequest
from core.storage.scope import OrganizationScope
from core.webhooks.delivery import Delivery, DeliveryStatus

_UNDELIVERED = "undelivered"


@click.group()
def webhooks() -> None:
    """Look at deliveries, and replay what failed."""


@webhooks.command()
@org_option
@click.option("--webhook", "webhook_id", help="One endpoint; all of them when left out.")
@click.option(
    "--status",
    type=click.Choice([*(status.value for status in DeliveryStatus), _UNDELIVERED]),
    help="Only deliveries in this state; `undelivered` is failed and blocked: what may want a replay.",
)
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@json_option
def deliveries(organization_id: str, webhook_id: str | None, status: str | None, limit: int, as_json: bool) -> None:
    """List deliveries, newest first."""
    with operator_session() as services:
        scope = services.organizations.find(organization_id).scope
        asked = PageRequest(limit=limit, include_total=True)
        # no endpoint named: every one's, removed ones too
        pages = [
            services.webhooks.page_deliveries(scope, webhook_id, asked, status=wanted) for wanted in _statuses(status)
        ]
        found = [delivery for page in pages for delivery in page.records]
        newest = sorted(found, key=lambda delivery: delivery.created_at, reverse=True)[:limit]
        show([_row(delivery) for delivery in newest], as_json, total=sum(page.known_count for page in pages))


@webhooks.command()
@click.argument("delivery_id")
@org_option
@json_option
def replay(delivery_id: str, organization_id: str, as_json: bool) -> None:
    """Send one delivery again, from the start of its schedule."""
    with operator_session() as services:
        scope: OrganizationScope = services.organizations.find(organization_id).scope
        delivery = services.webhooks.find_delivery(scope, delivery_id)
        row = _row(services.webhooks.replay(scope, delivery.webhook_id, delivery_id))
        record(services, scope, AuditAction.DELIVERY_REPLAYED, delivery_id, AuditStatus.SUCCESS)
        print_json(row) if as_json else show([row], as_json=False)


def _statuses(asked: str | None) -> tuple[DeliveryStatus | None, ...]:
    if asked == _UNDELIVERED:
        return (DeliveryStatus.FAILED, DeliveryStatus.BLOCKED)
    return (DeliveryStatus(asked) if asked else None,)


def _row(delivery: Delivery) -> dict[str, object]:
    return {
        "delivery_id": delivery.delivery_id,
        "webhook_id": delivery.webhook_id,
        "event_type": delivery.event_type,
        "status": delivery.status.value,
        "attempts": delivery.attempts,
        "replays": delivery.replays,
        "last_error": delivery.last_error,
        "created_at": delivery.created_at,
    }
