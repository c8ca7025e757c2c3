"""The audit log on the wire. Whose chain an entry belongs to, and its seals, are not shown."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from api.schemas.fields import Body, Identifier, to_utc
from core.audit.actions import AuditAction
from core.audit.entry import AuditEntry
from core.audit.pages import MAX_LIMIT, MAX_SKIP, LogFilter
from core.audit.trail import AuditSettings
from core.tenancy.tenant import Namespace

MAX_EXPORT = 10_000
"""Events of one export."""


Moment = Annotated[datetime, AfterValidator(to_utc)]
"""A time of RFC 3339; in UTC when it names no zone."""


class LogQuery(BaseModel):
    """The query parameters that choose entries. Parameters are text, so numbers are read from it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    resource_type: Identifier | None = None
    resource_id: Identifier | None = None
    actor_id: Identifier | None = None
    action: AuditAction | None = None
    start: Moment | None = None
    end: Moment | None = None

    @model_validator(mode="before")
    @classmethod
    def _absent_when_empty(cls, value: object) -> object:
        return {name: text for name, text in value.items() if text != ""} if isinstance(value, dict) else value

    def to_filter(self, namespace: Namespace | None) -> LogFilter:
        """The entries that are asked for, narrowed to the request's namespace."""
        return LogFilter(
            resource_type=self.resource_type,
            resource_id=self.resource_id,
            actor_id=self.actor_id,
            action=self.action.value if self.action else None,
            namespace_id=namespace.namespace_id if namespace else None,
            start=self.start,
            end=self.end,
        )


class ListQuery(LogQuery):
    """GET /v1/organizations/audit/logs"""

    skip: int = Field(default=0, ge=0, le=MAX_SKIP)
    limit: int = Field(default=100, ge=1, le=MAX_LIMIT)


class ExportQuery(LogQuery):
    """GET /v1/organizations/audit/logs/export"""

    max_events: int = Field(default=MAX_EXPORT, ge=1, le=MAX_EXPORT)


class SettingsBody(Body):
    """PATCH /v1/organizations/audit/settings"""

    read_auditing_enabled: bool


def show_event(entry: AuditEntry) -> dict[str, Any]:
    """The published AuditEvent, and beside it the entry's number, request, namespace and count."""
    return {
        "audit_id": entry.audit_id,
        "timestamp": entry.at,
        "resource_type": entry.resource_type,
        "resource_id": entry.resource_id,
        "action": entry.action,
        "actor_id": entry.actor_id,
        "actor_type": entry.actor_type,
        "status": entry.status,
        "changes": entry.changes,
        "reason": entry.reason,
        "ip_address": entry.ip_address,
        "user_agent": entry.user_agent,
        "actor_name": entry.actor_name,
        "actor_email": entry.actor_email,
        "actor_key_name": entry.actor_key_name,
        "seq": entry.seq,
        "request_id": entry.request_id,
        "namespace_id": entry.namespace_id,
        "count": entry.count,
    }


def show_settings(settings: AuditSettings) -> dict[str, Any]:
    """The published settings."""
    return {"read_auditing_enabled": settings.read_auditing_enabled}
