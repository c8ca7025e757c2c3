"""Secrets on the wire. No answer has a field for a value."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from pydantic import Field, SecretStr, StringConstraints

from api.schemas.fields import Answer, Body, Identifier, Moment, View
from api.schemas.paging import PaginationView, PagingQuery
from core.storage.paging import MAX_LIMIT, Page
from core.strict_types import POINT_ALLOWED
from core.vault.access import AccessPattern
from core.vault.secret import (
    MAX_VALUE_BYTES,
    MIN_VALUE_CHARACTERS,
    NAME_PATTERN,
    Secret,
    SecretLimits,
    SecretVersion,
)
from core.vault.used_by import SecretUsers

_MAX_HOSTS = 50
_MAX_NAMESPACES = 100


_Host = Annotated[str, StringConstraints(min_length=1, max_length=253, to_lower=True)]
_Hosts = Annotated[list[_Host], Field(max_length=_MAX_HOSTS)]
_Namespaces = Annotated[list[Identifier], Field(max_length=_MAX_NAMESPACES)]
# both are checked in the core, which has the words for what is wrong
_Name = Annotated[str, Field(json_schema_extra={"pattern": NAME_PATTERN})]
_Value = Annotated[
    SecretStr, Field(json_schema_extra={"minLength": MIN_VALUE_CHARACTERS, "maxLength": MAX_VALUE_BYTES})
]


class SecretBody(Body):
    """POST /v1/organizations/secrets"""

    secret_name: _Name
    """A lower-case letter, then up to 99 lower-case letters, digits and underscores."""
    secret_value: _Value
    """8 characters to 64 KiB. It is never shown again."""
    expires_at: Moment | None = None
    """From then on it cannot be used."""
    disabled: bool = False
    """Whether its use is refused for now."""
    allowed_hosts: _Hosts = Field(default_factory=list)
    """Hosts it may be sent to, `*.example.com` for subdomains; empty for any."""
    allowed_namespaces: _Namespaces = Field(default_factory=list)
    """Namespaces, by id or name, whose jobs may use it; empty for all."""


class SecretValueBody(Body):
    """PUT /v1/organizations/secrets/{secret_name}"""

    secret_value: _Value
    """8 characters to 64 KiB. It is never shown again."""


class SecretChanges(Body):
    """PATCH /v1/organizations/secrets/{secret_name}: what is left out stays."""

    expires_at: Moment | None = None
    """Null takes the end away."""
    disabled: bool | None = None
    """Whether its use is refused for now."""
    allowed_hosts: _Hosts | None = None
    """Replaces the list."""
    allowed_namespaces: _Namespaces | None = None
    """Replaces the list."""

    def applied_to(self, limits: SecretLimits, namespaces: Sequence[str] | None) -> SecretLimits:
        """The limits after the change; `namespaces` are the ids of those that were sent."""
        sent = self.model_fields_set
        return SecretLimits(
            expires_at=self.expires_at if "expires_at" in sent else limits.expires_at,
            disabled=limits.disabled if self.disabled is None else self.disabled,
            allowed_hosts=limits.allowed_hosts if self.allowed_hosts is None else tuple(self.allowed_hosts),
            allowed_namespaces=limits.allowed_namespaces if namespaces is None else tuple(namespaces),
        )


class RollbackBody(Body):
    """POST /v1/organizations/secrets/{secret_name}/rollback"""

    version: Annotated[int, Field(ge=1), POINT_ALLOWED]
    """The version whose value comes back."""


class SecretsQuery(PagingQuery):
    """GET /v1/organizations/secrets. Published without paging: who sends none gets as many as a page may have."""

    default_limit = MAX_LIMIT


class SecretCreatedView(Answer):
    """The published answer to a create."""

    secret_name: str
    """Its name."""
    created: bool
    """Always true."""


class SecretUpdatedView(Answer):
    """The published answer to an update."""

    secret_name: str
    """Its name."""
    updated: bool
    """Always true."""
    version: int
    """The version that the value is."""


class SecretDeletedView(Answer):
    """The published answer to a delete."""

    secret_name: str
    """Its name."""
    deleted: bool
    """Always true."""


class SecretListView(Answer):
    """The published list: names alone."""

    secrets: list[str]
    """The names, in order."""
    count: int
    """How many there are."""
    pagination: PaginationView
    """The same as in every list, and the `next_cursor`."""


class SecretVersionView(View):
    """One value that the secret has, or had."""

    version: int
    """1, 2, 3 …"""
    created_at: datetime
    """When it was stored."""
    created_by: str | None
    """The API key that stored it."""


class SecretUsersView(View):
    """What would fail without the secret."""

    retrievers: dict[str, list[str]]
    """Namespace id → ids of its retrievers whose stages name it."""
    default_llm_credentials: list[str]
    """Providers for which the organization's stages use it when they name none."""


class SecretView(Answer):
    """All about a secret but its value."""

    secret_name: str
    """Its name."""
    version: int
    """The version in use."""
    versions: list[SecretVersionView]
    """The versions that are kept, newest first."""
    expires_at: datetime | None
    """From then on it cannot be used."""
    disabled: bool
    """Whether its use is refused."""
    allowed_hosts: list[str]
    """Hosts it may be sent to; empty for any."""
    allowed_namespaces: list[str]
    """Ids of namespaces whose jobs may use it; empty for all."""
    used_by: SecretUsersView
    """What names it."""
    last_used_at: datetime | None
    """When a job used it last, to the minute."""
    created_by: str | None
    """The API key that made it."""
    created_at: datetime
    """When it was made."""
    updated_at: datetime
    """When its value or a limit was changed last."""


class AccessDayView(View):
    """One day's uses."""

    day: datetime
    """Its beginning, in UTC."""
    uses: int
    """Uses, denied ones included."""
    hours: dict[str, int]
    """Hour of the day → uses."""
    outcomes: dict[str, int]
    """`used`, or the code of the error → how often."""


class FindingView(View):
    """Something that today or yesterday has and the secret's history has not."""

    kind: str
    """new_caller, new_host, burst or denied"""
    what: str
    """The caller, the host, the hour, or the reason."""
    count: int
    """How often."""


class AccessView(Answer):
    """Who used a secret, where to, how often and how it went."""

    secret_name: str
    """Its name."""
    unusual: list[FindingView]
    """What stands out today and yesterday (UTC) against the secret's own history."""
    callers: dict[str, int]
    """API key → uses, over all days."""
    hosts: dict[str, int]
    """Where its value was to be sent → uses, over all days."""
    outcomes: dict[str, int]
    """How it went → uses, over all days."""
    days: list[AccessDayView]
    """The last 90 days on which it was used, newest first."""


def show_names(page: Page[str]) -> SecretListView:
    """A page of names."""
    return SecretListView(secrets=page.records, count=page.known_count, pagination=PaginationView.of(page))


def show_secret(secret: Secret, versions: Sequence[SecretVersion], users: SecretUsers) -> SecretView:
    """A secret as its organization sees it."""
    return SecretView(
        secret_name=secret.name,
        version=secret.version,
        versions=[
            SecretVersionView(version=each.version, created_at=each.created_at, created_by=each.created_by)
            for each in versions
        ],
        expires_at=secret.limits.expires_at,
        disabled=secret.limits.disabled,
        allowed_hosts=list(secret.limits.allowed_hosts),
        allowed_namespaces=list(secret.limits.allowed_namespaces),
        used_by=SecretUsersView(
            retrievers={namespace_id: list(ids) for namespace_id, ids in users.retrievers.items()},
            default_llm_credentials=list(users.default_credentials),
        ),
        last_used_at=secret.last_used_at,
        created_by=secret.created_by,
        created_at=secret.created_at,
        updated_at=secret.updated_at,
    )


def show_access(name: str, pattern: AccessPattern) -> AccessView:
    """A secret's access pattern."""
    return AccessView(
        secret_name=name,
        unusual=[FindingView(kind=found.kind.value, what=found.what, count=found.count) for found in pattern.findings],
        callers=pattern.total("callers"),
        hosts=pattern.total("hosts"),
        outcomes=pattern.total("outcomes"),
        days=[
            AccessDayView(
                day=day.day,
                uses=day.uses,
                hours={str(hour): count for hour, count in sorted(day.hours.items())},
                outcomes=dict(day.outcomes),
            )
            for day in pattern.days
        ],
    )
