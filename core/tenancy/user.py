"""A person of an organization, and what the role lets their keys hold. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from core.tenancy.permissions import Permission

EMAIL_PATTERN = r"^[^@\s/]+@[^@\s/]+$"
"""An address that can stand in a path; whether mail arrives there is not known."""


class Role(StrEnum):
    """What somebody is in the organization. It caps the permission of their keys."""

    ADMIN = "admin"
    MEMBER = "member"
    VIEWER = "viewer"

    @property
    def highest_permission(self) -> Permission:
        """What a key of such a user may hold at most."""
        return {Role.ADMIN: Permission.ADMIN, Role.MEMBER: Permission.DELETE, Role.VIEWER: Permission.READ}[self]


class UserStatus(StrEnum):
    """Whether somebody's keys work."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    PENDING = "pending"


@dataclass(frozen=True)
class User:
    """One person. The email names them inside the organization."""

    user_id: str
    internal_id: str
    email: str
    name: str
    role: Role
    status: UserStatus
    created_at: datetime
    updated_at: datetime
    avatar_url: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
