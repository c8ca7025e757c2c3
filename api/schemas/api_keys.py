"""API keys on the wire. A key's text is in the answer that made it, and in no other."""

import ipaddress
import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from api.schemas.fields import USABLE_NAME, Answer, Body, Moment, View, usable_name
from api.schemas.paging import PaginationView, PagingQuery
from core.storage.paging import MAX_LIMIT, Page
from core.strict_types import POINT_ALLOWED
from core.tenancy.api_key import GRACE_MAX, ApiKey, KeyGrant, KeyStatus, text_kind
from core.tenancy.permissions import Operation, Permission, ResourceType, Scope
from core.tenancy.tenant import Environment

_ORIGIN = re.compile(r"https?://(\*\.)?[A-Za-z0-9.-]+(:\d{1,5})?")
_PREFIX_LENGTH = 10
"""Characters of a key that may be shown."""


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise ValueError("must be an address range such as 203.0.113.0/24 or 2001:db8::/32") from None


def _origin(text: str) -> str:
    if text != "*" and not _ORIGIN.fullmatch(text):
        raise ValueError("must be an origin such as https://app.example.com or https://*.example.com")
    return text


def _resource(text: str) -> str:
    if "*" in text[:-1]:
        raise ValueError("`*` may stand alone or at the end")
    return text


KeyName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=100),
    AfterValidator(usable_name),
    Field(json_schema_extra=USABLE_NAME),
]
_Description = Annotated[str, StringConstraints(max_length=500)]
_Origins = Annotated[list[Annotated[str, AfterValidator(_origin)]], Field(max_length=50)]
_Cidrs = Annotated[list[Annotated[str, AfterValidator(_network)]], Field(max_length=50)]
_Permissions = Annotated[list[Annotated[Permission, Field(strict=False)]], Field(min_length=1, max_length=4)]
_PerMinute = Annotated[int, Field(ge=1, le=1_000_000), POINT_ALLOWED]


class ScopeBody(Body):
    """One resource that a key reaches, or all of a type."""

    resource_type: Annotated[ResourceType, Field(strict=False)]
    resource_id: Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_resource)]
    """An id or a name, `*` for all, or the beginning of several followed by `*`."""
    operations: Annotated[list[Annotated[Operation, Field(strict=False)]], Field(max_length=20)] | None = None
    """What may be done; left out: whatever the key's permission allows."""

    def scope(self) -> Scope:
        """The same for the rules."""
        return Scope(self.resource_type, self.resource_id, frozenset(self.operations or ()))


_Scopes = Annotated[list[ScopeBody], Field(max_length=100)]


class KeyBody(Body):
    """POST of a key. What is left out is as with the key that makes it, permissions apart."""

    name: KeyName
    description: _Description | None = None
    permissions: _Permissions | None = None
    """Read, write and delete when left out, as far as the maker has them."""
    scopes: _Scopes | None = None
    environment: Annotated[Environment, Field(strict=False)] | None = None
    """Binds the key to namespaces of this environment."""
    allowed_origins: _Origins | None = None
    allowed_cidrs: _Cidrs | None = None
    """Addresses that may use the key."""
    rate_limit_override: _PerMinute | None = None
    """Requests a minute; at most the plan's."""
    expires_at: Moment | None = None


class KeyChanges(Body):
    """PATCH of a key: what is left out stays; null lifts a restriction that the caller's own key does not have."""

    name: KeyName | None = None
    description: _Description | None = None
    permissions: _Permissions | None = None
    scopes: _Scopes | None = None
    allowed_origins: _Origins | None = None
    allowed_cidrs: _Cidrs | None = None
    rate_limit_override: _PerMinute | None = None
    expires_at: Moment | None = None
    status: Literal["active", "revoked", "expired"] | None = None
    """`revoked` ends the key; a revoked key never works again."""


class RotateBody(Body):
    """POST …/rotate"""

    grace_seconds: Annotated[int, Field(ge=0, le=int(GRACE_MAX.total_seconds())), POINT_ALLOWED] = 0
    """How long the old key goes on working, never beyond its own end."""


class KeyQuery(PagingQuery):
    """GET of a user's keys. Published without paging: who sends none gets as many as a page may have."""

    default_limit = MAX_LIMIT

    include_revoked: bool = False
    """Whether keys that were revoked are listed too."""


def asked_grant(body: KeyBody, maker: KeyGrant) -> KeyGrant:
    """What a new key shall hold: as asked, and where nothing was said as its maker."""
    usual = tuple(each for each in KeyGrant().permissions if each.rank <= maker.permission.rank)
    return KeyGrant(
        permissions=tuple(dict.fromkeys(body.permissions)) if body.permissions else usual,
        scopes=maker.scopes if body.scopes is None else tuple(scope.scope() for scope in body.scopes),
        environment=body.environment or maker.environment,
        allowed_origins=_given(body.allowed_origins, maker.allowed_origins),
        allowed_cidrs=_given(body.allowed_cidrs, maker.allowed_cidrs),
        requests_per_minute=body.rate_limit_override or maker.requests_per_minute,
        expires_at=_in_milliseconds(body.expires_at) or maker.expires_at,
    )


def changed_grant(body: KeyChanges, grant: KeyGrant) -> KeyGrant:
    """What a key shall hold after a PATCH."""
    sent = body.model_fields_set
    return KeyGrant(
        permissions=tuple(dict.fromkeys(body.permissions)) if body.permissions else grant.permissions,
        scopes=tuple(scope.scope() for scope in body.scopes or ()) if "scopes" in sent else grant.scopes,
        environment=grant.environment,
        allowed_origins=tuple(body.allowed_origins or ()) if "allowed_origins" in sent else grant.allowed_origins,
        allowed_cidrs=tuple(body.allowed_cidrs or ()) if "allowed_cidrs" in sent else grant.allowed_cidrs,
        requests_per_minute=(body.rate_limit_override if "rate_limit_override" in sent else grant.requests_per_minute),
        expires_at=_in_milliseconds(body.expires_at) if "expires_at" in sent else grant.expires_at,
    )


def _given(asked: list[str] | None, holder: tuple[str, ...]) -> tuple[str, ...]:
    return holder if asked is None else tuple(asked)


def _in_milliseconds(moment: datetime | None) -> datetime | None:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000) if moment else None


class ScopeView(View):
    """One scope of a key."""

    resource_type: ResourceType
    """The kind of resource."""
    resource_id: str
    """An id, a name, or a beginning with `*`."""
    operations: list[Operation] | None
    """What may be done; null: whatever the permission allows."""


class KeyView(Answer):
    """A key without its text."""

    key_id: str
    """The part of the key that may be known."""
    key_prefix: str
    """How the key's text begins."""
    key_hint: str
    """How it ends."""
    key_type: Literal["standard"]
    """The published kind."""
    organization_id: str
    """Whose key it is."""
    user_email: str
    """Whose it is inside the organization."""
    name: str
    """Unique among the user's active keys."""
    description: str
    """What it is for; empty when nobody said."""
    permissions: list[Permission]
    """Each contains the lower ones."""
    scopes: list[ScopeView] | None
    """What it reaches; null for everything."""
    environment: Environment | None
    """Namespaces of this environment only; null for all."""
    allowed_origins: list[str] | None
    """Browser origins; null for all."""
    allowed_cidrs: list[str] | None
    """Source addresses; null for all."""
    rate_limit_override: int | None
    """Requests a minute; null for the plan's."""
    status: KeyStatus
    """Whether it works."""
    expires_at: datetime | None
    """When it ends by itself."""
    grace_until: datetime | None
    """After a rotation: until when the old text works."""
    last_used_at: datetime | None
    """To the quarter of a minute."""
    created_at: datetime
    """When it was made."""
    created_by: str | None
    """The key that made it; null for the operator."""
    revoked_at: datetime | None
    """When it was revoked."""


class IssuedKeyView(KeyView):
    """A key that was just made. `key` is shown this once; a repetition of the request gets null."""

    key: str | None
    """The whole text: send it as `Authorization: Bearer`."""
    already_issued: bool = False
    """Whether the text went out with an earlier answer."""


class KeyListView(Answer):
    """Keys of a user."""

    results: list[KeyView]
    """Newest first."""
    total: int
    """How many there are."""
    pagination: PaginationView
    """The same as in every list, and the `next_cursor`."""


class RevokedView(Answer):
    """The answer to a revocation, which holds from the next request on, everywhere."""

    success: bool
    """Always true."""
    message: str
    """For people."""


def show_keys(page: Page[ApiKey], show: Callable[[ApiKey], KeyView]) -> KeyListView:
    """A page of keys."""
    return KeyListView(
        results=list(map(show, page.records)), total=page.known_count, pagination=PaginationView.of(page)
    )


def show_key(key: ApiKey, organization_id: str, status: KeyStatus) -> KeyView:
    """A key as the organization sees it."""
    return KeyView(**_shown(key, organization_id, status))


def show_issued_key(key: ApiKey, organization_id: str, status: KeyStatus, text: str | None) -> IssuedKeyView:
    """The same for the one who asked for it, with its text when it was never shown."""
    return IssuedKeyView(**_shown(key, organization_id, status), key=text, already_issued=text is None)


def _shown(key: ApiKey, organization_id: str, status: KeyStatus) -> dict[str, Any]:
    grant = key.grant
    return {
        "key_id": key.key_id,
        "key_prefix": f"ks_{text_kind(grant.environment)}_{key.key_id}"[:_PREFIX_LENGTH],
        "key_hint": key.hint,
        "key_type": "standard",
        "organization_id": organization_id,
        "user_email": key.user_email,
        "name": key.name,
        "description": key.description or "",
        "permissions": list(grant.permissions),
        "scopes": [_show_scope(scope) for scope in grant.scopes] or None,
        "environment": grant.environment,
        "allowed_origins": list(grant.allowed_origins) or None,
        "allowed_cidrs": list(grant.allowed_cidrs) or None,
        "rate_limit_override": grant.requests_per_minute,
        "status": status,
        "expires_at": grant.expires_at,
        "grace_until": key.grace_until,
        "last_used_at": key.last_used_at,
        "created_at": key.created_at,
        "created_by": key.created_by,
        "revoked_at": key.revoked_at,
    }


def _show_scope(scope: Scope) -> ScopeView:
    return ScopeView(
        resource_type=scope.resource_type,
        resource_id=scope.resource_id,
        operations=sorted(scope.operations) or None,
    )
