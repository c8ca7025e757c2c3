"""Runs a handler and sees that the audit log has it: before the effect where that must be certain, and after it."""

from collections.abc import Mapping
from dataclasses import replace

from flask import Request

from api.admission import Admission
from api.call import Call, Reply
from api.route import Resource, Route
from core.audit.actions import AuditAction
from core.audit.entry import Actor, ActorType, AuditRecord, AuditStatus
from core.bootstrap import Services
from core.errors import KeyRejectedError, KeystageError, PermissionDeniedError
from core.storage.failures import away
from core.tenancy.api_key import ApiKey, Caller

_ANY = "*"
"""What a record says of a thing that has no id yet."""


def perform(route: Route, call: Call) -> Reply:
    """The handler's answer, audited as the route's row says. Raises what the handler raises."""
    if route.audit is None or call.caller is None:
        return _handled(route, call)
    recorder, scope = call.services.recorder, call.organization
    record = _record(route, route.audit, call, call.caller)
    read_auditing = call.caller.organization.read_auditing_enabled
    recorder.before(scope, record)
    try:
        reply = _handled(route, call)
    except Exception as error:
        code = error.code if isinstance(error, KeystageError) else "internal_error"
        failed = replace(record, status=AuditStatus.FAILURE, reason=code)
        recorder.after(scope, failed, read_auditing=read_auditing)
        raise
    made = reply.resource_id or record.resource_id
    recorder.after(scope, replace(record, resource_id=made, changes=reply.changes), read_auditing=read_auditing)
    return reply


def _handled(route: Route, call: Call) -> Reply:
    try:
        return route.handler(call).with_warnings(call.warnings)
    except Exception as error:
        note_absence(call.services, error)
        raise


def note_absence(services: Services, error: Exception) -> None:
    """Have the backend that a failure tells of asked at once, so that the next request need not find out anew."""
    if absent := away(error):
        services.backends.doubt(absent.backend)


def note_denial(
    services: Services, route: Route, admission: Admission, error: Exception, request_id: str, request: Request
) -> None:
    """Record that somebody known to an organization was not let in."""
    if isinstance(error, KeyRejectedError):
        key, action = error.key, AuditAction.AUTHENTICATION_FAILED
    elif isinstance(error, PermissionDeniedError) and admission.caller:
        key, action = admission.caller.key, AuditAction.PERMISSION_DENIED
    else:
        return
    resource = route.resource
    record = AuditRecord(
        action=action,
        resource_type=resource.type.value if resource else "organization",
        resource_id=_named(resource, request.view_args or {}),
        status=AuditStatus.DENIED,
        actor=_actor(key),
        reason=f"{error.code}:{route.name}",
        request_id=request_id,
        ip_address=admission.address,
        user_agent=request.headers.get("User-Agent"),
        namespace_id=admission.namespace.namespace_id if admission.namespace else None,
    )
    services.recorder.denied(key.scope, record)


def _record(route: Route, action: AuditAction, call: Call, caller: Caller) -> AuditRecord:
    return AuditRecord(
        action=action,
        resource_type=action.resource_type,
        resource_id=_named(route.resource, call.path),
        status=AuditStatus.SUCCESS,
        actor=_actor(caller.key),
        request_id=call.request_id,
        ip_address=caller.address,
        user_agent=call.headers.get("User-Agent"),
        namespace_id=call.namespace.namespace_id if call.namespace else None,
    )


def _actor(key: ApiKey) -> Actor:
    return Actor(key.key_id, ActorType.API_KEY, key.name, key.user_email, key.name)


def _named(resource: Resource | None, path: Mapping[str, str]) -> str:
    values = list(path.values())
    return "/".join(values) if resource and resource.parameter and values else _ANY
