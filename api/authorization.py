"""May this key do this to that? Permission level, environment and scopes, decided before anything is looked for.

An answer never tells whether something out of a key's scope exists.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from api.route import Resource, Route
from core.bootstrap import Services
from core.errors import NotFoundError, PermissionDeniedError
from core.storage.scope import NamespaceScope, OrganizationScope
from core.storage.selection import Selection
from core.tenancy.api_key import ApiKey, Caller
from core.tenancy.permissions import IN_NAMESPACE, Named, Operation, Permission, ResourceType, Scope, scopes_permit
from core.tenancy.tenant import Namespace


@dataclass(frozen=True)
class Target:
    """Where a request goes: its route, the namespace it named, and the path's parameters."""

    route: Route
    namespace: Namespace | None
    path: Mapping[str, str]


def require_permission(key: ApiKey, route: Route) -> None:
    """Raises PermissionDeniedError when the key's permission is below the route's, wherever it leads."""
    if route.permission is not None and not key.grant.permission.allows(route.permission):
        raise PermissionDeniedError(needed=route.permission.value)


def require_one_environment(key: ApiKey, route: Route) -> None:
    """Raises PermissionDeniedError when a key that is bound to an environment would change what all of them share."""
    shared = route.resource is not None and route.resource.type in _SHARED
    if key.grant.environment and shared and route.permission is not Permission.READ:
        raise PermissionDeniedError("This API key is bound to an environment, and this belongs to all of them.")


def authorize(services: Services, caller: Caller, target: Target) -> Selection | None:
    """Raises PermissionDeniedError unless the key's scopes allow the route on what the path names.

    For a list that scopes narrow: what may be shown. None narrows nothing.
    """
    key, route = caller.key, target.route
    if not key.grant.scopes or route.resource is None:
        return None
    operation = route.operation_needed
    if scopes_permit(key.grant.scopes, operation, _targets(services, caller, target)):
        return None
    narrowed = _visible(key.grant.scopes, operation, route.resource)
    if narrowed is None:
        raise PermissionDeniedError("This API key's scopes do not cover this.", operation=operation.value)
    return narrowed


def _targets(services: Services, caller: Caller, target: Target) -> Iterator[Named]:
    """What the request is about, from the inside out: the resource, its parents, the namespace that holds it."""
    resource = target.route.resource
    held = resource is not None and resource.type in IN_NAMESPACE
    while resource is not None:
        yield Named(resource.type, _names(services, caller, target, resource))
        resource = resource.parent
    if held and target.namespace is not None:
        yield Named(ResourceType.NAMESPACE, (target.namespace.namespace_id, target.namespace.name))


def _names(services: Services, caller: Caller, target: Target, resource: Resource) -> tuple[str, ...]:
    if resource.type is ResourceType.ORGANIZATION:
        return (caller.organization.organization_id,)
    if resource.sent and target.namespace is not None:
        return (target.namespace.namespace_id, target.namespace.name)
    given = target.path.get(resource.parameter or "")
    if given is None:
        return ()
    scope = target.namespace.scope if target.namespace else caller.scope
    find = _FIND.get(resource.type)
    if find is None or any(_means(one, resource.type, given) for one in caller.key.grant.scopes):
        return (given,)
    try:
        return find(services, scope, given)
    except NotFoundError:
        return (given,)


def _means(scope: Scope, type: ResourceType, given: str) -> bool:
    return scope.resource_type is type and scope.matches(given)


def _visible(scopes: tuple[Scope, ...], operation: Operation, resource: Resource) -> Selection | None:
    """What a list may show to a key that may not see all of it; None when the route is no list, or may show nothing."""
    if not is_list(resource, operation):
        return None
    patterns = [
        one.resource_id
        for one in scopes
        if one.resource_type is resource.type and (not one.operations or operation in one.operations)
    ]
    return Selection.of(patterns) if patterns else None


def is_list(resource: Resource, operation: Operation) -> bool:
    """Whether a route shows several of a type, so that a key may be shown those that its scopes cover."""
    one = resource.sent or resource.parameter is not None or resource.type is ResourceType.ORGANIZATION
    return not one and operation is Operation.READ_DATA


def _bucket(services: Services, scope: Any, given: str) -> tuple[str, ...]:
    found = services.buckets.get(scope, given)
    return (found.bucket_id, found.bucket_name)


def _collection(services: Services, scope: Any, given: str) -> tuple[str, ...]:
    found = services.collections.get(scope, given)
    return (found.collection_id, found.collection_name)


def _retriever(services: Services, scope: Any, given: str) -> tuple[str, ...]:
    found = services.retrievers.get(scope, given)
    return (found.retriever_id, found.retriever_name)


def _namespace(services: Services, scope: Any, given: str) -> tuple[str, ...]:
    found = services.namespaces.get(OrganizationScope(scope.internal_id), given)
    return (found.namespace_id, found.name)


_SHARED = frozenset({ResourceType.ORGANIZATION, ResourceType.USER, ResourceType.WEBHOOK, ResourceType.SECRET})
"""What belongs to no environment: a webhook hears of all of them, and the audit log tells of all."""

_FIND: Mapping[ResourceType, Callable[[Services, OrganizationScope | NamespaceScope, str], tuple[str, ...]]] = {
    ResourceType.BUCKET: _bucket,
    ResourceType.COLLECTION: _collection,
    ResourceType.RETRIEVER: _retriever,
    ResourceType.NAMESPACE: _namespace,
}
"""Resources that go by two names: a scope on either covers them."""
