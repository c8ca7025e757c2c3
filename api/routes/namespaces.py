"""Namespaces, the organization itself, and its credits."""

from api.call import Call, Reply
from api.compat import created, created_status
from api.pagination import list_request, whole_list_page
from api.route import NAMESPACE, NAMESPACES, ORGANIZATION, NamespaceMode, Route
from api.schemas.namespaces import (
    BalanceView,
    NamespaceBody,
    NamespaceList,
    NamespaceView,
    OrganizationView,
    show_balance,
    show_namespace,
    show_organization,
)
from api.schemas.paging import PagingQuery
from core.audit.actions import AuditAction
from core.tenancy.permissions import Permission


def create_namespace(call: Call) -> Reply:
    """A new namespace of the caller's organization."""
    body = call.parse(NamespaceBody)
    namespace = call.services.tenancy.create_namespace(
        call.organization, body.namespace_name, body.description, call.new_id
    )
    return Reply(show_namespace(namespace), created_status(call))


def get_namespace(call: Call) -> Reply:
    """One namespace, by id or name."""
    return Reply(show_namespace(call.services.tenancy.resolve_namespace(call.organization, call.path["namespace_id"])))


def list_namespaces(call: Call) -> Reply:
    """The organization's namespaces, newest first: few enough to be read whole."""
    every = call.services.tenancy.list_namespaces(call.organization)
    return Reply(NamespaceList.of(whole_list_page(every, list_request(call)), show_namespace))


def get_organization(call: Call) -> Reply:
    """The caller's organization."""
    organization = call.services.tenancy.get_organization(call.organization)
    return Reply(show_organization(organization, call.services.ledger.balance(call.organization)))


def get_balance(call: Call) -> Reply:
    """The organization's credits."""
    organization = call.services.tenancy.get_organization(call.organization)
    return Reply(show_balance(organization, call.services.ledger.balance(call.organization)))


_OPTIONAL = NamespaceMode.OPTIONAL

ROUTES = (
    Route(
        "POST",
        "/v1/namespaces",
        "namespaces.create",
        create_namespace,
        Permission.ADMIN,
        NAMESPACES,
        namespace=_OPTIONAL,
        audit=AuditAction.NAMESPACE_CREATED,
        idempotent=True,
        body=NamespaceBody,
        answers=created(NamespaceView),
    ),
    Route(
        "GET",
        "/v1/namespaces",
        "namespaces.list_by_get",
        list_namespaces,
        Permission.READ,
        NAMESPACES,
        namespace=_OPTIONAL,
        query=PagingQuery,
        answers={200: NamespaceList},
    ),
    Route(
        "POST",
        "/v1/namespaces/list",
        "namespaces.list",
        list_namespaces,
        Permission.READ,
        NAMESPACES,
        namespace=_OPTIONAL,
        query=PagingQuery,
        answers={200: NamespaceList},
    ),
    Route(
        "GET",
        "/v1/namespaces/<namespace_id>",
        "namespaces.get",
        get_namespace,
        Permission.READ,
        NAMESPACE,
        namespace=_OPTIONAL,
        answers={200: NamespaceView},
    ),
    Route(
        "GET",
        "/v1/organizations",
        "organizations.get",
        get_organization,
        Permission.READ,
        ORGANIZATION,
        namespace=_OPTIONAL,
        answers={200: OrganizationView},
    ),
    Route(
        "GET",
        "/v1/organizations/billing/balance",
        "billing.balance",
        get_balance,
        Permission.READ,
        ORGANIZATION,
        namespace=_OPTIONAL,
        answers={200: BalanceView},
    ),
)
