"""Keys for tests, made the way the operator makes them."""

import itertools
from typing import Any

from core.bootstrap import Services
from core.storage.scope import OrganizationScope
from core.tenancy.api_key import KeyGrant
from core.tenancy.keys import PresentedKey
from core.tenancy.permissions import Permission
from core.tenancy.user import Role

_numbers = itertools.count()


def fresh_address() -> str:
    """An address that has not failed to authenticate yet: failures are counted by address."""
    number = next(_numbers)
    return f"172.16.{number // 256 % 256}.{number % 256}"


def new_key(
    services: Services, scope: OrganizationScope, permission: Permission, name: str = "test", **grant: Any
) -> PresentedKey:
    """A key of a user of its own; `grant` may narrow it as KeyGrant does."""
    user = services.users.create(scope, f"user{next(_numbers)}@example.com", "A user", Role.ADMIN)
    return services.keys.issue(scope, user, name, KeyGrant(permissions=(permission,), **grant))
