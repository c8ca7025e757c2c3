"""Decides whether a request may go on. Never lets one through uncounted, and never fails because Redis is away."""

from collections.abc import Mapping

from redis import Redis

from config.plans import PlanLimits
from core.limits.decision import Ask, Decision, LeaseAsk
from core.limits.local import LocalRates
from core.limits.policy import Admitted, Lease, Policy, RateClass, Refused, Unavailable, Verdict
from core.limits.redis_rates import RedisRates
from core.limits.subject import Subject, concurrency_policy, key_policies, organization_policies, plan_of
from core.storage.redis import key_rate_key, lease_key, organization_rate_key

_COUNTED_LOCALLY = frozenset({RateClass.METADATA, RateClass.DATA, RateClass.SEARCH})
"""Classes that go on without Redis, each process with its share; the others start work that has to be counted."""
_AWAY_RETRY_SECONDS = 5


class Limiter:
    """Rates of key, organization and route, and the cap on what an organization has under way, in one decision."""

    def __init__(self, redis: Redis, plans: Mapping[str, PlanLimits], api_processes: int) -> None:
        self._plans = plans
        self._shared = RedisRates(redis)
        self._local = LocalRates(api_processes)

    def admit(
        self,
        subject: Subject,
        rate_class: RateClass,
        *,
        route: str | None = None,
        lease_id: str | None = None,
        lease_seconds: float = 60.0,
    ) -> Verdict:
        """Count one request of a route, or refuse it and count nothing.

        With `lease_id` it also takes a place until `release`.
        """
        plan = plan_of(self._plans, subject.plan)
        asks = [*_asks_of_key(plan, subject), *_asks_of_organization(plan, subject, rate_class, route)]
        lease = (
            LeaseAsk(lease_key(subject.internal_id), lease_id, concurrency_policy(plan), lease_seconds)
            if lease_id
            else None
        )
        decision = self._shared.decide(asks, lease)
        if decision is None:
            if rate_class not in _COUNTED_LOCALLY:
                return Unavailable(_AWAY_RETRY_SECONDS)
            decision = self._local.decide(asks, lease)
        return _verdict(decision, [ask.policy for ask in asks], subject, lease)

    def release(self, lease: Lease) -> None:
        """Give the place back, wherever it was taken. Redis away: it ends by itself."""
        key = lease_key(lease.internal_id)
        self._local.release(key, lease.lease_id)
        self._shared.release(key, lease.lease_id)


def _asks_of_key(plan: PlanLimits, subject: Subject) -> list[Ask]:
    policies = key_policies(plan, subject)
    return [Ask(key_rate_key(subject.internal_id, subject.key_id, policy.name), policy) for policy in policies]


def _asks_of_organization(plan: PlanLimits, subject: Subject, rate_class: RateClass, route: str | None) -> list[Ask]:
    policies = organization_policies(plan, subject, rate_class, route)
    return [Ask(organization_rate_key(subject.internal_id, policy.name), policy) for policy in policies]


def _verdict(decision: Decision, policies: list[Policy], subject: Subject, lease: LeaseAsk | None) -> Verdict:
    if lease:
        policies = [*policies, lease.policy]
    policy = policies[decision.binding]
    if decision.wait_us:
        seconds = _whole_seconds(decision.wait_us)
        return Refused(policy, decision.remaining, seconds, seconds)
    taken = Lease(subject.internal_id, lease.lease_id) if lease else None
    return Admitted(policy, decision.remaining, _whole_seconds(decision.reset_us), taken)


def _whole_seconds(microseconds: int) -> int:
    return -(-microseconds // 1_000_000)
