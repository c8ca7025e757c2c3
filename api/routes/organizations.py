"""The organization itself, its credits, and who is calling."""

from api.call import Call, Reply
from api.route import ORGANIZATION, NamespaceMode, Route
from api.schemas.organizations import (
    BalanceView,
    MeView,
    OrganizationChanges,
    OrganizationView,
    show_balance,
    show_caller,
    show_organization,
)
from core.audit.actions import AuditAction
from core.errors import FieldProblem, ValidationFailedError
from core.tenancy.permissions import Permission, ResourceType


def get_organization(call: Call) -> Reply:
    """The caller's organization."""
    organization = call.services.organizations.get(call.organization)
    balance = call.services.ledger.balance(call.organization)
    return Reply(show_organization(organization, balance, call.services.plan_of(organization)))


def update_organization(call: Call) -> Reply:
    """Change the organization. An override of a rate limit is at most the plan's."""
    body, services = call.parse(OrganizationChanges), call.services
    before = services.organizations.get(call.organization)
    plan = services.plan_of(before)
    if body.rate_limit_overrides:
        for name, value in body.rate_limit_overrides.overrides().items():
            if value > (highest := getattr(plan, name)):
                message = f"must not exceed the plan's {highest} requests a minute"
                raise ValidationFailedError([FieldProblem(("rate_limit_overrides", name), message)])
    for secret_name in (body.default_llm_credentials or {}).values():
        call.require_readable(ResourceType.SECRET, secret_name)
    after = services.organizations.update(call.organization, body.changes())
    services.tenants.changed(call.organization)
    balance = services.ledger.balance(call.organization)
    old, new = (show_organization(one, balance, plan) for one in (before, after))
    return Reply(new, resource_id=after.organization_id, changes=call.changed(old, new))


def get_balance(call: Call) -> Reply:
    """The organization's credits."""
    organization = call.services.organizations.get(call.organization)
    return Reply(show_balance(organization, call.services.ledger.balance(call.organization)))


def me(call: Call) -> Reply:
    """Who is calling: the organization, the user and the key."""
    caller = call.known_caller
    return Reply(show_caller(caller, call.services.plan_of(caller.organization)))


_ORGANIZATION = "/v1/organizations"
_ANY = NamespaceMode.OPTIONAL

ROUTES = (
    Route("GET", "/v1/me", "me.get", me, Permission.READ, answers={200: MeView}, namespace=_ANY),
    Route(
        "GET",
        _ORGANIZATION,
        "organizations.get",
        get_organization,
        Permission.READ,
        ORGANIZATION,
        answers={200: OrganizationView},
        namespace=_ANY,
    ),
    Route(
        "PATCH",
        _ORGANIZATION,
        "organizations.update",
        update_organization,
        Permission.ADMIN,
        ORGANIZATION,
        body=OrganizationChanges,
        answers={200: OrganizationView},
        namespace=_ANY,
        audit=AuditAction.ORGANIZATION_UPDATED,
    ),
    Route(
        "GET",
        f"{_ORGANIZATION}/billing/balance",
        "billing.balance",
        get_balance,
        Permission.READ,
        ORGANIZATION,
        answers={200: BalanceView},
        namespace=_ANY,
    ),
)
