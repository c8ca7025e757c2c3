"""Counts organizations that still hold the admin key which `keystage org create` gave them. It reads names, no keys."""

from collections.abc import Sequence

from core.storage.handles import Handles
from core.storage.scope import OrganizationScope

FIRST_KEY_NAME = "admin-key"
"""The name of the key that a new organization is given."""


def count_first_keys(handles: Handles, scopes: Sequence[OrganizationScope]) -> int:
    """How many of the organizations have a usable key of that name."""
    found = (handles.organization(scope)["api_keys"].find_one({"name": FIRST_KEY_NAME}) for scope in scopes)
    return sum(key is not None and bool(key["is_active"]) for key in found)
