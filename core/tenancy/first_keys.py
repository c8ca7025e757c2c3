"""Counts organizations that still hold the admin key which `keystage org create` gave them. It reads names, no keys."""

from collections.abc import Sequence

from core.storage.handles import Handles
from core.storage.scope import OrganizationScope
from core.tenancy.permissions import Permission

FIRST_KEY_NAME = "admin-key"
"""The name of the key that a new organization is given."""


def count_first_keys(handles: Handles, scopes: Sequence[OrganizationScope]) -> int:
    """How many of the organizations have a usable key of that name."""
    return sum(_has_first_key(handles, scope) for scope in scopes)


def _has_first_key(handles: Handles, scope: OrganizationScope) -> bool:
    admins = handles.organization(scope)["api_keys"].find({"permissions": Permission.ADMIN.value, "active": True})
    return any(key["name"] == FIRST_KEY_NAME for key in admins)
