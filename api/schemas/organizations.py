"""The organization and its credits on the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, StringConstraints

from api.schemas.fields import Answer, Body, Email, FreeForm, ShortText, View
from config.plans import PlanLimits
from core.credits.entry import Balance
from core.credits.prices import pending_credits, whole_credits
from core.limits.policy import RateClass
from core.limits.subject import class_limit
from core.strict_types import POINT_ALLOWED
from core.tenancy.api_key import Caller
from core.tenancy.permissions import Permission
from core.tenancy.tenant import Organization
from core.vault.secret import NAME_PATTERN

AccountType = Literal["build", "scale", "enterprise", "free", "pro", "team"]
_ACCOUNT_TYPES: dict[str, AccountType] = {name: name for name in get_args(AccountType)}
"""The published plans; a plan of the operator's own is shown as `enterprise`."""

_PerMinute = Annotated[int, Field(ge=1, le=1_000_000), POINT_ALLOWED]
_SecretName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


class RateLimitsBody(Body):
    """Requests a minute by class of route. None may exceed the plan's."""

    metadata: _PerMinute | None = None
    data: _PerMinute | None = None
    search: _PerMinute | None = None
    upload: _PerMinute | None = None
    compute: _PerMinute | None = None

    def overrides(self) -> dict[str, int]:
        """The classes that are named."""
        return self.model_dump(exclude_none=True)


class OrganizationChanges(Body):
    """PATCH /v1/organizations: what is left out stays."""

    organization_name: ShortText | None = None
    logo_url: Annotated[str, StringConstraints(max_length=2048)] | None = None
    billing_email: Email | None = None
    notifications_email: Email | None = None
    metadata: FreeForm | None = None
    rate_limit_overrides: RateLimitsBody | None = None
    """Replaces all earlier overrides; null removes them."""
    default_llm_credentials: (
        Annotated[dict[Literal["openai", "anthropic", "google"], _SecretName], Field(max_length=3)] | None
    ) = None
    """Provider → name of the secret that stages use when they name none."""

    def changes(self) -> dict[str, Any]:
        """The fields that were sent, as the store names them."""
        sent = self.model_dump(exclude_unset=True)
        if "organization_name" in sent:
            sent["name"] = sent.pop("organization_name")
            if sent["name"] is None:
                del sent["name"]
        if "rate_limit_overrides" in sent:
            sent["rate_limit_overrides"] = self.rate_limit_overrides.overrides() if self.rate_limit_overrides else {}
        return sent


class RateLimitsView(View):
    """Requests a minute by class of route."""

    metadata: int
    """Configuration."""
    data: int
    """Objects, documents, tasks."""
    search: int
    """Executions."""
    upload: int
    """Bodies with a customer's bytes."""
    compute: int
    """Batches."""


class OrganizationView(Answer):
    """The published OrganizationModelResponse."""

    organization_id: str
    """The public id."""
    organization_name: str
    """What it is called."""
    logo_url: str | None
    """A picture."""
    account_type: AccountType
    """The plan."""
    credit_count: int
    """Whole credits that are available."""
    metadata: dict[str, Any]
    """The customer's own data."""
    billing_email: str | None
    """Where bills go."""
    notifications_email: str | None
    """Where notices go."""
    rate_limits: RateLimitsView
    """What is in force."""
    default_llm_credentials: dict[str, str]
    """Provider → secret."""
    created_at: datetime
    """When it was made."""
    updated_at: datetime
    """When it was changed last."""


class BalanceView(Answer):
    """The published CreditBalanceResponse; `pending_*` carry what whole credits cannot."""

    organization_id: str
    """The public id."""
    credit_balance: int
    """Whole credits that are posted."""
    account_tier: AccountType
    """The plan."""
    credits_held: int
    """Whole credits that are reserved."""
    credits_available: int
    """Whole credits that a new job may use."""
    pending_credit_balance: float
    """The posted rest below one credit."""
    pending_credits_held: float
    """The reserved rest below one credit."""


class MeKeyView(View):
    """The key that asks."""

    key_id: str
    """Its public part."""
    name: str
    """What it is called."""
    key_type: Literal["standard"]
    """The published kind."""
    permissions: list[Permission]
    """What it may do."""
    expires_at: datetime | None
    """When it ends."""


class MeView(Answer):
    """Who is calling."""

    organization_id: str
    """The public id."""
    organization_name: str
    """What the organization is called."""
    account_type: AccountType
    """The plan."""
    user_email: str
    """Whose key it is."""
    key: MeKeyView
    """The key."""
    rate_limits: RateLimitsView
    """What is in force."""
    principal_scoped: bool
    """Whether the key reaches only some resources."""


def show_organization(organization: Organization, balance: Balance, plan: PlanLimits) -> OrganizationView:
    """The organization as its people see it."""
    return OrganizationView(
        organization_id=organization.organization_id,
        organization_name=organization.name,
        logo_url=organization.logo_url,
        account_type=account_type(organization),
        credit_count=whole_credits(max(balance.available, 0)),
        metadata=dict(organization.metadata),
        billing_email=organization.billing_email,
        notifications_email=organization.notifications_email,
        rate_limits=show_rate_limits(organization, plan),
        default_llm_credentials=dict(organization.default_llm_credentials),
        created_at=organization.created_at,
        updated_at=organization.updated_at,
    )


def show_balance(organization: Organization, balance: Balance) -> BalanceView:
    """The organization's credits."""
    return BalanceView(
        organization_id=organization.organization_id,
        credit_balance=whole_credits(balance.posted),
        account_tier=account_type(organization),
        credits_held=whole_credits(balance.held),
        credits_available=whole_credits(balance.available),
        pending_credit_balance=pending_credits(balance.posted),
        pending_credits_held=pending_credits(balance.held),
    )


def show_caller(caller: Caller, plan: PlanLimits) -> MeView:
    """Who is calling."""
    organization, key = caller.organization, caller.key
    return MeView(
        organization_id=organization.organization_id,
        organization_name=organization.name,
        account_type=account_type(organization),
        user_email=key.user_email,
        key=MeKeyView(
            key_id=key.key_id,
            name=key.name,
            key_type="standard",
            permissions=list(key.grant.permissions),
            expires_at=key.grant.expires_at,
        ),
        rate_limits=show_rate_limits(organization, plan),
        principal_scoped=bool(key.grant.scopes),
    )


def show_rate_limits(organization: Organization, plan: PlanLimits) -> RateLimitsView:
    """What is in force: the plan, and below it the organization's own overrides."""
    overrides = organization.rate_limit_overrides
    return RateLimitsView(**{one.value: class_limit(plan, overrides, one) for one in RateClass})


def account_type(organization: Organization) -> AccountType:
    """The plan, as a published client can read it."""
    return _ACCOUNT_TYPES.get(organization.plan, "enterprise")
