"""What the audit log says of a sealed value that does not open: it was changed, or copied from another record. Pure."""

from core.audit.actions import AuditAction
from core.audit.entry import Actor, AuditRecord, AuditStatus

SECRET, WEBHOOK = AuditAction.SECRET_CREATED.resource_type, AuditAction.WEBHOOK_CREATED.resource_type
"""What has sealed values: a secret, by its name, and an endpoint with its signing secret, by its id."""
_REASONS = {SECRET: "secret_unreadable", WEBHOOK: "signing_secret_unreadable"}


def unreadable(
    resource_type: str,
    resource_id: str,
    actor: Actor,
    *,
    used_for: str | None = None,
    namespace_id: str | None = None,
    count: int = 1,
) -> AuditRecord:
    """The record. `used_for` is the id of what the value was needed for; `count` says how many values do not open."""
    reason = _REASONS[resource_type]
    return AuditRecord(
        action=AuditAction.SECRET_ACCESSED,
        resource_type=resource_type,
        resource_id=resource_id,
        status=AuditStatus.FAILURE,
        actor=actor,
        reason=f"{reason}:{used_for}" if used_for else reason,
        namespace_id=namespace_id,
        count=count,
    )
