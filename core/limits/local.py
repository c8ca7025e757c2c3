"""Counting in one process, while Redis is away: each process allows its share. Pure but for its lock and clock."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.limits.decision import Ask, Decision, LeaseAsk
from core.limits.policy import Policy
from core.recent import Recent

_MAX_KEYS = 20_000
"""Rates that are remembered, about 4 MB; beyond, the one that was asked for longest ago is forgotten."""


@dataclass(frozen=True)
class Step:
    """One request on one rate, by the generic cell rate algorithm; moments are in microseconds."""

    paid_at: int
    """when everything asked for so far, this request included, is paid for"""
    late_us: int
    """how much too early it came; 0 or less means that it may pass"""
    interval_us: int
    cost: int

    @property
    def remaining(self) -> int:
        """Units that are left: after the request when it may pass, before it when not."""
        unused = -self.late_us + (self.cost * self.interval_us if self.late_us > 0 else 0)
        return max(unused // self.interval_us, 0)

    @property
    def more_us(self) -> int:
        """Microseconds until one more unit is there, after a request that passed."""
        return (self.remaining + 1) * self.interval_us + self.late_us


def take_step(paid_at: int, now: int, policy: Policy, share: int = 1) -> Step:
    """One request at `now`, with the given fraction of what the policy allows."""
    interval = policy.interval_us * share
    latest = now + max(policy.burst // share, policy.cost) * interval
    paid_next = max(paid_at, now) + policy.cost * interval
    return Step(paid_next, paid_next - latest, interval, policy.cost)


class LocalRates:
    """Rates and leases of one process among `share`."""

    def __init__(self, share: int, max_keys: int = _MAX_KEYS, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._share = share
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._paid_at = Recent[str, int](max_keys)
        self._leases = Recent[str, dict[str, int]](max_keys)

    def decide(self, asks: Sequence[Ask], lease: LeaseAsk | None) -> Decision:
        """The decision over at least one rate, all or nothing."""
        with self._lock:
            now = self._clock_ns() // 1000
            steps = [take_step(self._paid_at.get(ask.key, now), now, ask.policy, self._share) for ask in asks]
            decision = _tightest(steps, self._lease_wait_us(lease, now) if lease else 0)
            if decision.wait_us == 0:
                for ask, step in zip(asks, steps, strict=True):
                    self._paid_at.put(ask.key, step.paid_at)
                if lease:
                    held = self._leases.get(lease.key, {})
                    self._leases.put(lease.key, {**held, lease.lease_id: now + lease.lasts_us})
            return decision

    def release(self, key: str, lease_id: str) -> None:
        """Give a lease back."""
        with self._lock:
            held = self._leases.get(key, {})
            held.pop(lease_id, None)
            if not held:
                self._leases.drop(key)

    def _lease_wait_us(self, lease: LeaseAsk, now: int) -> int:
        held = {name: end for name, end in self._leases.get(lease.key, {}).items() if end > now}
        self._leases.put(lease.key, held)
        cap = max(lease.policy.quota // self._share, 1)
        if lease.lease_id in held or len(held) < cap:
            return 0
        return sorted(held.values())[len(held) - cap] - now


def _tightest(steps: Sequence[Step], lease_wait_us: int) -> Decision:
    """The policy that decides: of those that refuse the longest wait, else the least that is left."""
    waits = [*(max(step.late_us, 0) for step in steps), lease_wait_us]
    longest = max(waits)
    if longest > 0:
        binding = waits.index(longest)
        return Decision(binding, steps[binding].remaining if binding < len(steps) else 0, longest, longest)
    binding = min(range(len(steps)), key=lambda position: (steps[position].remaining, -steps[position].more_us))
    return Decision(binding, steps[binding].remaining, steps[binding].more_us, 0)
