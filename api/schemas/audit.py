"""The audit log on the wire. Whose chain an entry belongs to, and its seals, are not shown."""

from datetime import datetime
from typing import Annotated, Any

from api.schemas.fields import Answer, Body, Identifier, Moment, Query, WholeNumber
from api.schemas.paging import PaginationView, PagingQuery
from core.audit.actions import AuditAction
from core.audit.entry import AuditEntry
from core.audit.pages import LogFilter
from core.audit.trail import AuditSettings
from core.storage.paging import Page
from core.tenancy.tenant import Namespace

MAX_EXPORT = 10_000
"""Events of one export."""


class LogQuery(Query):
    """The query parameters that choose entries."""

    resource_type: Identifier | None = None
    resource_id: Identifier | None = None
    actor_id: Identifier | None = None
    action: AuditAction | None = None
    start: Moment | None = None
    end: Moment | None = None

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


class ListQuery(LogQuery, PagingQuery):
    """GET /v1/organizations/audit/logs"""

    default_limit = 100


class ExportQuery(LogQuery):
    """GET /v1/organizations/audit/logs/export"""

    max_events: Annotated[int, WholeNumber(1, MAX_EXPORT)] = MAX_EXPORT


class SettingsBody(Body):
    """PATCH /v1/organizations/audit/settings"""

    read_auditing_enabled: bool


class AuditEventView(Answer):
    """The published AuditEvent, and beside it the entry's number, request, namespace and count."""

    audit_id: str
    """The event."""
    timestamp: datetime
    """When it happened."""
    resource_type: str
    """What it was done to."""
    resource_id: str
    """`*` for what had no id yet."""
    action: str
    """What was done."""
    actor_id: str
    """Who did it."""
    actor_type: str
    """What kind of actor that is."""
    status: str
    """`attempted` stands before the effect, its outcome is an event of its own."""
    changes: dict[str, Any] | None
    """Names of fields, and digests that tell two states apart. Never a value."""
    reason: str | None
    """Why it failed."""
    ip_address: str | None
    """Where the request came from."""
    user_agent: str | None
    """What the client called itself."""
    actor_name: str | None
    """Who did it, by name."""
    actor_email: str | None
    """Who did it, by address."""
    actor_key_name: str | None
    """The key that was used."""
    seq: int
    """1, 2, 3 … without a gap in an organization."""
    request_id: str | None
    """The request that did it."""
    namespace_id: str | None
    """The namespace that it was about."""
    count: int
    """How many alike requests it stands for."""


class AuditListView(Answer):
    """Events, newest first."""

    results: list[AuditEventView]
    """The events."""
    total: int
    """How many match."""
    skip: int
    """How many were left out before these."""
    limit: int
    """The most that were asked for."""
    pagination: PaginationView
    """The same as in every list, and the `next_cursor`."""


class AuditSettingsView(Answer):
    """The published settings."""

    read_auditing_enabled: bool
    """Whether reads and executions are recorded too."""


def show_event(entry: AuditEntry) -> AuditEventView:
    """An entry as it is answered."""
    return AuditEventView(
        audit_id=entry.audit_id,
        timestamp=entry.at,
        resource_type=entry.resource_type,
        resource_id=entry.resource_id,
        action=entry.action,
        actor_id=entry.actor_id,
        actor_type=entry.actor_type,
        status=entry.status,
        changes=dict(entry.changes) if entry.changes else None,
        reason=entry.reason,
        ip_address=entry.ip_address,
        user_agent=entry.user_agent,
        actor_name=entry.actor_name,
        actor_email=entry.actor_email,
        actor_key_name=entry.actor_key_name,
        seq=entry.seq,
        request_id=entry.request_id,
        namespace_id=entry.namespace_id,
        count=entry.count,
    )


def show_events(page: Page[AuditEntry]) -> AuditListView:
    """A page of entries as it is answered."""
    return AuditListView(
        results=list(map(show_event, page.records)),
        total=page.known_count,
        skip=page.offset,
        limit=page.limit,
        pagination=PaginationView.of(page),
    )


def show_settings(settings: AuditSettings) -> AuditSettingsView:
    """What the organization chose."""
    return AuditSettingsView(read_auditing_enabled=settings.read_auditing_enabled)
