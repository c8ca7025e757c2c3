"""An API key without its secret: what it may do, until when, and what it may give to another key. Pure."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from core.errors import PermissionDeniedError
from core.storage.scope import OrganizationScope
from core.tenancy.permissions import Permission, Scope, scopes_contain
from core.tenancy.tenant import Environment, Organization

GRACE_MAX = timedelta(days=7)
"""How long a rotated key may go on working at most."""
_ORIGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[^\s/\\?#@\[\]]+)")
"""A browser's Origin as far as subdomains can be compared; whatever else somebody sends matches nothing."""


class KeyStatus(StrEnum):
    """What has become of a key, as the wire says it."""

    ACTIVE = "active"
    REVOKED = "revoked"
    EXPIRED = "expired"


@dataclass(frozen=True)
class KeyGrant:
    """Everything a key may do. Empty tuples and None restrict nothing."""

    permissions: tuple[Permission, ...] = (Permission.READ, Permission.WRITE, Permission.DELETE)
    scopes: tuple[Scope, ...] = ()
    environment: Environment | None = None
    allowed_origins: tuple[str, ...] = ()
    """browser origins; `https://*.example.com` means the subdomains"""
    allowed_cidrs: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    expires_at: datetime | None = None

    @property
    def permission(self) -> Permission:
        """The highest of the permissions: each contains the lower ones."""
        return max(self.permissions, key=lambda permission: permission.rank)

    @property
    def is_full_admin(self) -> bool:
        """Whether the key can restore every other key: the last of these is never lost."""
        return self.permission is Permission.ADMIN and not self.scopes and self.environment is None

    @property
    def restrictions(self) -> str:
        """All that a full admin key has not, as one text: the same for keys that may do the same."""
        limits = {
            "permission": None if self.permission is Permission.ADMIN else self.permission.value,
            "scopes": sorted(repr(scope.to_document()) for scope in self.scopes),
            "environment": self.environment and self.environment.value,
            "allowed_origins": sorted(self.allowed_origins),
            "allowed_cidrs": sorted(self.allowed_cidrs),
            "requests_per_minute": self.requests_per_minute,
            "expires_at": self.expires_at and self.expires_at.isoformat(),
        }
        return ", ".join(f"{name}: {value!r}" for name, value in limits.items() if value)

    def excess_of(self, other: "KeyGrant") -> str | None:
        """The field in which `other` would give more than this grant has, or None when it gives no more."""
        within = {
            "permissions": self.permission.allows(other.permission),
            "scopes": scopes_contain(self.scopes, other.scopes),
            "environment": self.environment in (None, other.environment),
            "allowed_origins": _narrows(self.allowed_origins, other.allowed_origins),
            "allowed_cidrs": _cidrs_narrow(self.allowed_cidrs, other.allowed_cidrs),
            "rate_limit_override": _at_most(other.requests_per_minute, self.requests_per_minute),
            "expires_at": _at_most(other.expires_at, self.expires_at),
        }
        return next((field for field, holds in within.items() if not holds), None)


@dataclass(frozen=True)
class ApiKey:
    """A stored key, without anything that could verify or rebuild it."""

    key_id: str
    internal_id: str
    user_id: str
    user_email: str
    name: str
    grant: KeyGrant
    hint: str
    """the last characters of its text"""
    created_at: datetime
    description: str | None = None
    created_by: str | None = None
    """the key that made it; None for the operator"""
    is_active: bool = True
    is_suspended: bool = False
    """its user is not active"""
    grace_until: datetime | None = None
    """after a rotation: until when the old text still works"""
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    @property
    def scope(self) -> OrganizationScope:
        """Its organization."""
        return OrganizationScope(self.internal_id)

    def is_usable(self, now: datetime, unused_for: timedelta | None) -> bool:
        """Whether a request may be made with it. `unused_for`: keys that slept this long have expired."""
        return self.status(now, unused_for) is KeyStatus.ACTIVE and not self.is_suspended

    def status(self, now: datetime, unused_for: timedelta | None = None) -> KeyStatus:
        """What the wire says of it."""
        if self.revoked_at is not None:
            return KeyStatus.REVOKED
        slept = unused_for is not None and (self.last_used_at or self.created_at) + unused_for <= now
        ended = self.grant.expires_at is not None and self.grant.expires_at <= now
        rotated_away = not self.is_active and (self.grace_until is None or self.grace_until <= now)
        return KeyStatus.EXPIRED if slept or ended or rotated_away else KeyStatus.ACTIVE

    def takes_calls_from(self, address: str) -> bool:
        """Whether the source address is one that the key allows."""
        if not self.grant.allowed_cidrs:
            return True
        try:
            source = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(source in ipaddress.ip_network(cidr) for cidr in self.grant.allowed_cidrs)

    def takes_origin(self, origin: str | None) -> bool:
        """Whether a browser page of this origin may use the key. A request without an origin is no browser's."""
        return origin is None or not self.grant.allowed_origins or origin_allowed(self.grant.allowed_origins, origin)


@dataclass(frozen=True)
class Caller:
    """Who makes a request: an active key of one organization, and where it calls from."""

    key: ApiKey
    organization: Organization
    address: str
    epoch: str | None
    """the organization's epoch when the request came: for look-ups in the tenant cache"""

    @property
    def scope(self) -> OrganizationScope:
        """The caller's organization."""
        return OrganizationScope(self.key.internal_id)


def require_environment(key: ApiKey, environment: Environment | None) -> None:
    """Raises PermissionDeniedError when the key is bound to another environment than this."""
    if (bound := key.grant.environment) and environment is not bound:
        message = f"This API key reaches only namespaces of the environment {bound.value!r}."
        raise PermissionDeniedError(message, environment=bound.value)


def text_kind(environment: Environment | None) -> Literal["live", "test"]:
    """What a key's text says: `test` for what is not production."""
    return "test" if environment in (Environment.DEV, Environment.STAGING) else "live"


def origin_allowed(patterns: Sequence[str], origin: str) -> bool:
    """Whether a browser's Origin is one of these: exact, `*`, or subdomains by `https://*.example.com`."""
    return any(_origin_matches(pattern, origin) for pattern in patterns)


def _origin_matches(pattern: str, origin: str) -> bool:
    if pattern in ("*", origin):
        return True
    scheme, _, host = pattern.partition("://")
    given = _ORIGIN.fullmatch(origin)
    if given is None or not host.startswith("*."):
        return False
    return given["scheme"] == scheme and given["host"].endswith(host[1:])


def _narrows(holder: Sequence[str], asked: Sequence[str]) -> bool:
    return not holder or (bool(asked) and all(origin in holder or origin_allowed(holder, origin) for origin in asked))


def _cidrs_narrow(holder: Sequence[str], asked: Sequence[str]) -> bool:
    return not holder or (bool(asked) and all(any(_inside(one, cidr) for cidr in holder) for one in asked))


def _inside(inner: str, outer: str) -> bool:
    small, large = ipaddress.ip_network(inner), ipaddress.ip_network(outer)
    if isinstance(small, ipaddress.IPv4Network) and isinstance(large, ipaddress.IPv4Network):
        return small.subnet_of(large)
    if isinstance(small, ipaddress.IPv6Network) and isinstance(large, ipaddress.IPv6Network):
        return small.subnet_of(large)
    return False


def _at_most(asked: "int | datetime | None", holder: "int | datetime | None") -> bool:
    """Whether a limit is no looser than the holder's; None is no limit."""
    return holder is None or (asked is not None and asked <= holder)  # type: ignore[operator]  # both of one kind
