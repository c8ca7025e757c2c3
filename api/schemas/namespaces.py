"""Namespaces and the organization on the wire."""

from typing import Annotated, Any

from pydantic import StringConstraints

from api.schemas.fields import Body, Description
from core.credits.entry import Balance
from core.credits.prices import MILLI, whole_credits
from core.tenancy.tenant import Namespace, Organization

_ACCOUNT_TYPES = frozenset({"build", "scale", "enterprise", "free", "pro", "team"})
"""The published plans; a plan of the operator's own is shown as `enterprise`."""


class NamespaceBody(Body):
    """POST /v1/namespaces"""

    namespace_name: Annotated[str, StringConstraints(min_length=3, max_length=63)]
    description: Description | None = None


def show_namespace(namespace: Namespace) -> dict[str, Any]:
    """The published NamespaceModel."""
    return {
        "object": "namespace",
        "namespace_id": namespace.namespace_id,
        "namespace_name": namespace.name,
        "description": namespace.description,
        "namespace_ready": True,
        "created_at": namespace.created_at,
        "updated_at": namespace.created_at,
    }


def show_organization(organization: Organization, balance: Balance) -> dict[str, Any]:
    """The published OrganizationModelResponse. No limits are enforced yet, so it names none."""
    return {
        "organization_id": organization.organization_id,
        "organization_name": organization.name,
        "account_type": account_type(organization),
        "credit_count": whole_credits(max(balance.available, 0)),
        "rate_limits": {},
        "created_at": organization.created_at,
        "updated_at": organization.created_at,
    }


def show_balance(organization: Organization, balance: Balance) -> dict[str, Any]:
    """The published CreditBalanceResponse; `pending_*` carry what whole credits cannot."""
    return {
        "organization_id": organization.organization_id,
        "credit_balance": whole_credits(balance.posted),
        "account_tier": account_type(organization),
        "credits_held": whole_credits(balance.held),
        "credits_available": whole_credits(balance.available),
        "pending_credit_balance": balance.posted % MILLI / MILLI,
        "pending_credits_held": balance.held % MILLI / MILLI,
    }


def account_type(organization: Organization) -> str:
    """The plan, as a published client can read it."""
    return organization.plan if organization.plan in _ACCOUNT_TYPES else "enterprise"
