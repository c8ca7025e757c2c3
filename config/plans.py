"""What each plan allows, as published, and how an operator's own figures are laid over it. Counts nothing itself."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

UNKNOWN_PLAN = "enterprise"
"""The plan whose limits hold for an organization whose plan has no entry."""


class PlanLimits(BaseModel):
    """The limits of one plan. Per key unless a field says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests_per_minute: int = Field(gt=0)
    """Requests a minute of one API key, over all routes."""
    requests_per_second: int = Field(gt=0)
    """Requests a second of one API key, over all routes."""
    burst: int = Field(gt=0)
    """Requests that may come at once, of one key and of the whole organization, before the rates above pace them."""
    concurrent: int = Field(gt=0)
    """Executions, uploads and compute requests under way at the same time, of the whole organization."""
    metadata: int = Field(gt=0)
    """Requests a minute of the whole organization that read or change configuration."""
    data: int = Field(gt=0)
    """Requests a minute of the whole organization for objects and documents."""
    search: int = Field(gt=0)
    """Requests a minute of the whole organization that execute a retriever."""
    upload: int = Field(gt=0)
    """Requests a minute of the whole organization that upload."""
    compute: int = Field(gt=0)
    """Requests a minute of the whole organization that start batches and other work."""
    organization_requests_per_second: int = Field(gt=0)
    """Requests a second of the whole organization, over all keys and routes."""
    routes: dict[str, Annotated[int, Field(gt=0)]] = Field(default_factory=dict)
    """Requests a minute of the whole organization on single routes, by their names in /openapi.json."""


def _plan(per_minute: int, per_second: int, burst: int, concurrent: int) -> PlanLimits:
    # An organization gets twice what one of its keys gets, so that more keys do not mean more of everything.
    return PlanLimits(
        requests_per_minute=per_minute,
        requests_per_second=per_second,
        burst=burst,
        concurrent=concurrent,
        metadata=2 * per_minute,
        data=2 * per_minute,
        search=2 * per_minute,
        upload=per_minute,
        compute=per_minute,
        organization_requests_per_second=2 * per_second,
    )


def published_plans() -> dict[str, PlanLimits]:
    """The plans by name. `free` and `pro` are the published figures."""
    return {
        "free": _plan(60, 10, 20, 5),
        "pro": _plan(600, 100, 200, 50),
        "team": _plan(3_000, 250, 500, 100),
        "build": _plan(600, 100, 200, 50),
        "scale": _plan(3_000, 250, 500, 100),
        # said to have no limits: these only keep one organization from taking the whole house
        "enterprise": _plan(60_000, 2_000, 5_000, 1_000),
    }


def over_published(given: Mapping[str, Any]) -> dict[str, Any]:
    """The published plans with an operator's figures in place of theirs; a new plan has to name every figure."""
    plans: dict[str, Any] = {**published_plans()}
    for name, figures in given.items():
        published = plans[name].model_dump() if name in plans else {}
        plans[name] = {**published, **figures} if isinstance(figures, Mapping) else figures
    return plans
