"""The tenant's values: the organization and its namespaces. Pure; holds no secret."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from core.limits.policy import RateClass
from core.storage.scope import NamespaceScope, OrganizationScope


class Environment(StrEnum):
    """What a namespace is used for. A key that is bound to one reaches no other."""

    DEV = "dev"
    STAGING = "staging"
    PROD = "prod"


class NamespaceState(StrEnum):
    """Where a namespace is in its life."""

    ACTIVE = "active"
    DELETING = "deleting"
    """nobody reads it any more; a job removes what is in it"""
    DELETED = "deleted"
    """nothing is left in it and its name is free; its id is never given again"""


@dataclass(frozen=True)
class Organization:
    """The paying tenant."""

    internal_id: str
    organization_id: str
    name: str
    email: str
    plan: str
    created_at: datetime
    updated_at: datetime
    logo_url: str | None = None
    billing_email: str | None = None
    notifications_email: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    rate_limit_overrides: Mapping[RateClass, int] = field(default_factory=dict)
    """requests a minute that replace the plan's, never above it"""
    default_llm_credentials: Mapping[str, str] = field(default_factory=dict)
    """provider → name of the secret that its stages use when they name none"""
    read_auditing_enabled: bool = False
    """whether reads and executions are audited too"""
    deleted_at: datetime | None = None
    """from then on it exists for operators only"""

    @property
    def scope(self) -> OrganizationScope:
        """Its scope for database handles."""
        return OrganizationScope(self.internal_id)


@dataclass(frozen=True)
class Deletion:
    """That a namespace is being deleted: the fact, from which its job follows."""

    scope: NamespaceScope
    since: datetime
    number: int
    """grows when a job of it has failed and another one is made"""
    operation_id: str
    """the request that asked for it; the same at each try under one Idempotency-Key"""
    request_id: str


@dataclass(frozen=True)
class IndexRebuild:
    """How far the rebuilding of a namespace's lexical index has come."""

    job_id: str
    """the job that works at it, or did until it failed"""
    following: str | None = None
    """the first point that is not rewritten yet; None before the first page"""
    points: int = 0
    """points that were looked at"""


@dataclass(frozen=True)
class Namespace:
    """The isolation boundary for data and compute."""

    namespace_id: str
    internal_id: str
    name: str
    description: str | None
    environment: Environment | None
    state: NamespaceState
    created_at: datetime
    updated_at: datetime
    index_form: int
    """the oldest form, as `core/words.py` counts them, that documents of its lexical index may have"""

    @property
    def scope(self) -> NamespaceScope:
        """Its scope for database handles."""
        return NamespaceScope(self.internal_id, self.namespace_id)
