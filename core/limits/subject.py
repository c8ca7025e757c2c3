"""Who is counted, and under which policies. Pure: the policies follow from plan, key and route alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from config.plans import UNKNOWN_PLAN, PlanLimits
from core.limits.policy import Policy, RateClass

_MINUTE = 60


@dataclass(frozen=True)
class Subject:
    """A key of an organization, as the limiter sees it."""

    internal_id: str
    key_id: str
    plan: str
    key_requests_per_minute: int | None = None
    """less than the plan gives a key; more than the plan is not given"""
    class_overrides: Mapping[RateClass, int] = field(default_factory=dict)
    """requests a minute of the organization that replace the plan's; more than the plan is not given"""


def plan_of(plans: Mapping[str, PlanLimits], plan: str) -> PlanLimits:
    """The limits of a plan; those of `enterprise` when it has none."""
    return plans.get(plan) or plans[UNKNOWN_PLAN]


def key_policies(plan: PlanLimits, subject: Subject) -> tuple[Policy, ...]:
    """What one key may do."""
    own = subject.key_requests_per_minute
    # a customer's admin chooses this figure: it must not be a way around the plan
    per_minute = plan.requests_per_minute if own is None else min(own, plan.requests_per_minute)
    return (
        _per_minute("key-minute", per_minute, plan.burst),
        Policy("key-second", plan.requests_per_second, 1, plan.burst),
    )


def organization_policies(
    plan: PlanLimits, subject: Subject, rate_class: RateClass, route: str | None = None
) -> tuple[Policy, ...]:
    """What all keys of an organization may do together, on the one route too where its plan limits that."""
    per_minute = class_limit(plan, subject.class_overrides, rate_class)
    special = (_per_minute(f"route-{route}", plan.routes[route], plan.burst),) if route in plan.routes else ()
    return (
        _per_minute(f"organization-{rate_class.value}", per_minute, plan.burst),
        Policy("organization-second", plan.organization_requests_per_second, 1, plan.burst),
        *special,
    )


def class_limit(plan: PlanLimits, overrides: Mapping[RateClass, int], rate_class: RateClass) -> int:
    """Requests a minute of one class of routes: the plan's, or the organization's own figure below it."""
    # the field of the plan has the class's name
    of_plan: int = getattr(plan, rate_class.value)
    # set by a customer's admin, perhaps under a larger plan
    return min(overrides.get(rate_class, of_plan), of_plan)


def concurrency_policy(plan: PlanLimits) -> Policy:
    """What an organization may have under way."""
    return Policy("organization-concurrency", plan.concurrent, 0, plan.concurrent)


def _per_minute(name: str, quota: int, burst: int) -> Policy:
    return Policy(name, quota, _MINUTE, min(burst, quota))
