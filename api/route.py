"""A route as data: all that the one dispatcher enforces before a handler runs."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from api.call import Call, Reply
from core.audit.actions import AuditAction
from core.tenancy.tenant import Permission

MEBIBYTE = 1024 * 1024


class NamespaceMode(Enum):
    """What a route does with `X-Namespace`."""

    REQUIRED = "required"
    """400 without it"""
    OPTIONAL = "optional"
    """its absence is fine; when sent it is checked, and narrows lists"""
    NONE = "none"
    """not looked at"""


@dataclass(frozen=True)
class Route:
    """One method on one path."""

    method: str
    rule: str
    name: str
    """`noun.verb`, unique; logs and Idempotency-Keys carry it"""
    handler: Callable[[Call], Reply]
    permission: Permission | None
    """what the key must allow; None needs no key at all"""
    namespace: NamespaceMode = NamespaceMode.REQUIRED
    audit: AuditAction | None = None
    idempotent: bool = False
    """whether an Idempotency-Key is honoured: every POST that creates or starts something"""
    max_body_bytes: int = MEBIBYTE
