"""What the audit log says of a sealed value that does not open: it was changed, or copied from another record. Pure."""

from dataclasses import dataclass

from core.audit.actions import AuditAction
from core.audit.entry import Actor, AuditRecord, AuditStatus


@dataclass(frozen=True)
class Part:
    """A kind of sealed value: what it belongs to, and how the log calls it."""

    resource_type: str
    name: str


SECRET = Part(AuditAction.SECRET_CREATED.resource_type, "secret")
"""A secret of the vault, by its name."""
WEBHOOK = Part(AuditAction.WEBHOOK_CREATED.resource_type, "signing_secret")
"""An endpoint's signing secret, by the endpoint's id."""
WEBHOOK_HEADERS = Part(AuditAction.WEBHOOK_CREATED.resource_type, "headers")
"""An endpoint's own headers, by the endpoint's id."""


def unreadable(
    part: Part,
    resource_id: str,
    actor: Actor,
    *,
    used_for: str | None = None,
    namespace_id: str | None = None,
    count: int = 1,
) -> AuditRecord:
    """The record. `used_for` is the id of what the value was needed for; `count` says how many values do not open."""
    reason = f"{part.name}_unreadable"
    return AuditRecord(
        action=AuditAction.SECRET_ACCESSED,
        resource_type=part.resource_type,
        resource_id=resource_id,
        status=AuditStatus.FAILURE,
        actor=actor,
        reason=f"{reason}:{used_for}" if used_for else reason,
        namespace_id=namespace_id,
        count=count,
    )
