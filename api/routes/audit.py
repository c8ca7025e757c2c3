"""An organization's audit log: look, export, and choose whether reads are recorded. It changes no entry."""

from dataclasses import replace

from api.call import Call, Reply
from api.compat import lines_type
from api.route import ORGANIZATION, NamespaceMode, Route
from api.schemas.audit import (
    AuditEventView,
    AuditListView,
    AuditSettingsView,
    ExportQuery,
    ListQuery,
    SettingsBody,
    show_event,
    show_events,
    show_settings,
)
from api.wire import encode
from core.audit.actions import AuditAction
from core.audit.trail import AuditSettings
from core.tenancy.permissions import Permission

_TRUNCATED = "__truncated__"
_NDJSON = "application/x-ndjson"


def list_logs(call: Call) -> Reply:
    """Events, newest first."""
    asked = call.parse_query(ListQuery)
    # the published answer has a total, always
    request = replace(asked.request(), include_total=True)
    return Reply(show_events(call.services.audit.page(call.organization, asked.to_filter(call.namespace), request)))


def export_logs(call: Call) -> Reply:
    """Events, newest first, one JSON object a line. When there are more, a last line says so."""
    asked = call.parse_query(ExportQuery)
    entries, cut = call.services.audit.export(call.organization, asked.to_filter(call.namespace), asked.max_events)
    lines = [encode(show_event(entry)) for entry in entries]
    if cut:
        lines.append(encode({_TRUNCATED: True, "max_events": asked.max_events}))
    content = b"".join(line + b"\n" for line in lines)
    return Reply(content, headers={"Content-Type": lines_type(call)})


def get_log(call: Call) -> Reply:
    """One event."""
    return Reply(show_event(call.services.audit.get(call.organization, call.path["audit_id"])))


def get_settings(call: Call) -> Reply:
    """What is recorded beyond the least."""
    return Reply(show_settings(call.services.audit.settings(call.organization)))


def update_settings(call: Call) -> Reply:
    """Choose whether reads and executions are recorded."""
    body = call.parse(SettingsBody)
    chosen = AuditSettings(read_auditing_enabled=body.read_auditing_enabled)
    settings = call.services.audit.update_settings(call.organization, chosen)
    call.services.tenants.changed(call.organization)
    return Reply(show_settings(settings))


_AUDIT = "/v1/organizations/audit"
_LOGS = f"{_AUDIT}/logs"
_SETTINGS = f"{_AUDIT}/settings"
_ANY = NamespaceMode.OPTIONAL

ROUTES = (
    Route(
        "GET",
        _LOGS,
        "audit.list",
        list_logs,
        Permission.ADMIN,
        ORGANIZATION,
        query=ListQuery,
        answers={200: AuditListView},
        namespace=_ANY,
    ),
    Route(
        "GET",
        f"{_LOGS}/export",
        "audit.export",
        export_logs,
        Permission.ADMIN,
        ORGANIZATION,
        query=ExportQuery,
        answers={200: None},
        produces=(_NDJSON,),
        namespace=_ANY,
        audit=AuditAction.AUDIT_EXPORTED,
    ),
    Route(
        "GET",
        f"{_LOGS}/<audit_id>",
        "audit.get",
        get_log,
        Permission.ADMIN,
        ORGANIZATION,
        answers={200: AuditEventView},
        namespace=_ANY,
    ),
    Route(
        "GET",
        _SETTINGS,
        "audit.settings",
        get_settings,
        Permission.ADMIN,
        ORGANIZATION,
        answers={200: AuditSettingsView},
        namespace=_ANY,
    ),
    Route(
        "PATCH",
        _SETTINGS,
        "audit.update_settings",
        update_settings,
        Permission.ADMIN,
        ORGANIZATION,
        body=SettingsBody,
        answers={200: AuditSettingsView},
        namespace=_ANY,
        audit=AuditAction.AUDIT_SETTINGS_UPDATED,
    ),
)
