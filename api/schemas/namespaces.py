"""Namespaces and the organization on the wire."""

from datetime import datetime
from typing import Annotated, Literal, get_args

from pydantic import Field, StringConstraints

from api.schemas.fields import Answer, Body, Description, View
from api.schemas.paging import TotalCountListView
from core.credits.entry import Balance
from core.credits.prices import MILLI, whole_credits
from core.tenancy.tenant import Namespace, Organization

AccountType = Literal["build", "scale", "enterprise", "free", "pro", "team"]
"""The published plans; a plan of the operator's own is shown as `enterprise`."""


class NamespaceBody(Body):
    """A new namespace."""

    namespace_name: Annotated[str, StringConstraints(min_length=3, max_length=63)] = Field(
        json_schema_extra={"pattern": r"^(?!ns_)[a-z0-9][a-z0-9_-]*$"}
    )
    """Lower-case letters, digits, `_` and `-`; not to be mistaken for an id."""
    description: Description | None = None


class NamespaceView(Answer):
    """The published NamespaceModel."""

    object: Literal["namespace"]
    """Always `namespace`."""
    namespace_id: str
    """The id to name it by."""
    namespace_name: str
    """Unique in its organization."""
    description: str | None
    """What its owner says about it."""
    namespace_ready: Literal[True]
    """A namespace can be used as soon as it exists."""
    created_at: datetime
    """When it was made."""
    updated_at: datetime
    """When it was changed last."""


class RateLimitsView(View):
    """Requests a minute by rate class: none is set."""


class OrganizationView(Answer):
    """The published OrganizationModelResponse."""

    organization_id: str
    """The organization."""
    organization_name: str
    """As it was given."""
    account_type: AccountType
    """The plan."""
    credit_count: int
    """Whole credits that can be spent now."""
    rate_limits: RateLimitsView
    """The limits that are set."""
    created_at: datetime
    """When it was made."""
    updated_at: datetime
    """When it was changed last."""


class BalanceView(Answer):
    """The published CreditBalanceResponse; `pending_*` carry what whole credits cannot."""

    organization_id: str
    """The organization."""
    credit_balance: int
    """Whole credits, those included that are held for tasks under way."""
    account_tier: AccountType
    """The plan."""
    credits_held: int
    """Whole credits that are held for tasks under way."""
    credits_available: int
    """Whole credits that can be spent now."""
    pending_credit_balance: float
    """The fraction of a credit that `credit_balance` leaves out."""
    pending_credits_held: float
    """The fraction of a credit that `credits_held` leaves out."""


class NamespaceList(TotalCountListView[NamespaceView]):
    """A page of namespaces."""


def show_namespace(namespace: Namespace) -> NamespaceView:
    """A namespace as it is answered."""
    return NamespaceView(
        object="namespace",
        namespace_id=namespace.namespace_id,
        namespace_name=namespace.name,
        description=namespace.description,
        namespace_ready=True,
        created_at=namespace.created_at,
        updated_at=namespace.created_at,
    )


def show_organization(organization: Organization, balance: Balance) -> OrganizationView:
    """An organization as it is answered. No limits are enforced yet, so it names none."""
    return OrganizationView(
        organization_id=organization.organization_id,
        organization_name=organization.name,
        account_type=account_type(organization),
        credit_count=whole_credits(max(balance.available, 0)),
        rate_limits=RateLimitsView(),
        created_at=organization.created_at,
        updated_at=organization.created_at,
    )


def show_balance(organization: Organization, balance: Balance) -> BalanceView:
    """An organization's credits as they are answered."""
    return BalanceView(
        organization_id=organization.organization_id,
        credit_balance=whole_credits(balance.posted),
        account_tier=account_type(organization),
        credits_held=whole_credits(balance.held),
        credits_available=whole_credits(balance.available),
        pending_credit_balance=balance.posted % MILLI / MILLI,
        pending_credits_held=balance.held % MILLI / MILLI,
    )


def account_type(organization: Organization) -> AccountType:
    """The plan, as a published client can read it."""
    return next((plan for plan in get_args(AccountType) if plan == organization.plan), "enterprise")
