"""Namespaces of the organization."""

from api.call import Call, Reply
from api.pagination import list_request, newest_first
from api.route import NAMESPACE, NAMESPACES, NamespaceMode, Route
from api.schemas.namespaces import (
    DeletionQuery,
    NamespaceBody,
    NamespaceChanges,
    NamespaceList,
    NamespaceView,
    show_namespace,
)
from api.schemas.paging import PagingQuery
from api.schemas.tasks import TaskView, show_task
from core.audit.actions import AuditAction
from core.errors import ConflictError, NotFoundError
from core.ids import Prefix
from core.tenancy.api_key import require_environment
from core.tenancy.permissions import Permission
from core.tenancy.tenant import Deletion, Namespace

_NAMED = 10
"""Tasks under way that a refusal names."""


def create_namespace(call: Call) -> Reply:
    """A new namespace of the caller's organization."""
    body = call.parse(NamespaceBody)
    require_environment(call.known_caller.key, body.environment)
    namespace = call.services.namespaces.create(
        call.organization, body.namespace_name, body.description, call.new_id, body.environment
    )
    call.services.tenants.changed(call.organization)
    return Reply(show_namespace(namespace), resource_id=namespace.namespace_id)


def get_namespace(call: Call) -> Reply:
    """One namespace, by id or name."""
    return Reply(show_namespace(namespace_of(call)))


def update_namespace(call: Call) -> Reply:
    """Change a namespace's name, description or environment."""
    namespace, body = namespace_of(call), call.parse(NamespaceChanges)
    if "environment" in body.model_fields_set:
        require_environment(call.known_caller.key, body.environment)
    updated = call.services.namespaces.update(call.organization, namespace.namespace_id, body.changes())
    call.services.tenants.changed(call.organization)
    old, new = show_namespace(namespace), show_namespace(updated)
    return Reply(new, resource_id=namespace.namespace_id, changes=call.changed(old, new))


def delete_namespace(call: Call) -> Reply:
    """Take a namespace away at once, and start the job that removes all that is in it.

    Raises ConflictError while jobs of it are under way, unless `force` has them cancelled.
    """
    deletion = _deletion_under_way(call)
    if deletion is None:
        namespace, asked = namespace_of(call), call.parse_query(DeletionQuery)
        under_way = call.services.jobs.owing(namespace.scope, announcements=False)
        if under_way and not asked.force:
            raise ConflictError(
                "Jobs of the namespace are under way: wait for their end, or send force=true to cancel them.",
                task_ids=under_way[:_NAMED],
            )
        deletion = call.services.deletions.begin(namespace.scope, call.new_id(Prefix.OPERATION), call.request_id)
        for job_id in under_way:
            call.services.submission.cancel(namespace.scope, job_id)
    job = call.services.deletions.submit(deletion)
    return Reply(
        show_task(job), headers={"Location": f"/v1/tasks/{job.job_id}"}, resource_id=deletion.scope.namespace_id
    )


def _deletion_under_way(call: Call) -> Deletion | None:
    """What an earlier try of this very request began before it crashed. To every other request it is not there."""
    deletion = call.services.namespaces.deletion_of(call.organization, call.path["namespace_id"])
    if deletion is None or deletion.operation_id != call.new_id(Prefix.OPERATION):
        return None
    return deletion


def list_namespaces(call: Call) -> Reply:
    """The organization's namespaces, newest first: few enough to be read whole."""
    bound = call.known_caller.key.grant.environment
    every = call.services.namespaces.list(call.organization, call.visible, bound)
    page = newest_first(every, list_request(call), lambda namespace: (namespace.created_at, namespace.namespace_id))
    return Reply(NamespaceList.of(page, show_namespace))


def namespace_of(call: Call) -> Namespace:
    """The namespace that the path names.

    Raises NotFoundError; to a key that is bound to an environment PermissionDeniedError for all that is not in it.
    """
    key = call.known_caller.key
    try:
        namespace = call.services.namespaces.get(call.organization, call.path["namespace_id"])
    except NotFoundError:
        require_environment(key, None)
        raise
    require_environment(key, namespace.environment)
    return namespace


_NAMESPACES = "/v1/namespaces"
_NAMESPACE = f"{_NAMESPACES}/<namespace_id>"
_ANY = NamespaceMode.OPTIONAL

ROUTES = (
    Route(
        "POST",
        _NAMESPACES,
        "namespaces.create",
        create_namespace,
        Permission.ADMIN,
        NAMESPACES,
        body=NamespaceBody,
        answers={200: NamespaceView},
        namespace=_ANY,
        audit=AuditAction.NAMESPACE_CREATED,
        idempotent=True,
    ),
    Route(
        "GET",
        _NAMESPACES,
        "namespaces.list_by_get",
        list_namespaces,
        Permission.READ,
        NAMESPACES,
        query=PagingQuery,
        answers={200: NamespaceList},
        namespace=_ANY,
    ),
    Route(
        "POST",
        f"{_NAMESPACES}/list",
        "namespaces.list",
        list_namespaces,
        Permission.READ,
        NAMESPACES,
        query=PagingQuery,
        answers={200: NamespaceList},
        namespace=_ANY,
    ),
    Route(
        "GET",
        _NAMESPACE,
        "namespaces.get",
        get_namespace,
        Permission.READ,
        NAMESPACE,
        answers={200: NamespaceView},
        namespace=_ANY,
    ),
    Route(
        "PATCH",
        _NAMESPACE,
        "namespaces.update",
        update_namespace,
        Permission.ADMIN,
        NAMESPACE,
        body=NamespaceChanges,
        answers={200: NamespaceView},
        namespace=_ANY,
        audit=AuditAction.NAMESPACE_UPDATED,
    ),
    Route(
        "PUT",
        _NAMESPACE,
        "namespaces.replace",
        update_namespace,
        Permission.ADMIN,
        NAMESPACE,
        body=NamespaceChanges,
        answers={200: NamespaceView},
        namespace=_ANY,
        audit=AuditAction.NAMESPACE_UPDATED,
    ),
    Route(
        "DELETE",
        _NAMESPACE,
        "namespaces.delete",
        delete_namespace,
        Permission.ADMIN,
        NAMESPACE,
        query=DeletionQuery,
        answers={200: TaskView},
        namespace=_ANY,
        audit=AuditAction.NAMESPACE_DELETED,
        idempotent=True,
    ),
)
