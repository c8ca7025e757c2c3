"""Counting in Redis: one script call decides. Never raises because Redis is away."""

from collections.abc import Sequence
from pathlib import Path

from redis import Redis
from redis.commands.core import Script

from core.limits.decision import LONGEST_LEASE_SECONDS, Ask, Decision, LeaseAsk
from core.storage.redis_memory import is_known_away, unless_away


class RedisRates:
    """Rates and leases that all processes share."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._script = load_script(redis, "admit")

    def decide(self, asks: Sequence[Ask], lease: LeaseAsk | None) -> Decision | None:
        """The decision over at least one rate, all or nothing; None when Redis is away."""
        keys = [ask.key for ask in asks]
        arguments: list[str | int] = [len(asks)]
        for ask in asks:
            arguments += [ask.policy.interval_us, ask.policy.burst, ask.policy.cost]
        if lease:
            keys.append(lease.key)
            longest_us = int(LONGEST_LEASE_SECONDS * 1_000_000)
            arguments += [lease.lease_id, lease.policy.quota, lease.lasts_us, longest_us]
        answer = unless_away(lambda: self._script(keys=keys, args=arguments))
        return None if answer is None else Decision(*answer)

    def release(self, key: str, lease_id: str) -> None:
        """Give a lease back. Redis away: it ends by itself."""
        if not is_known_away(self._redis):
            unless_away(lambda: self._redis.zrem(key, lease_id))


def load_script(redis: Redis, name: str) -> Script:
    """A script of this folder, called by its digest and sent again when Redis has forgotten it."""
    folder = Path(__file__).parent
    return redis.register_script((folder / "rates.lua").read_text() + (folder / f"{name}.lua").read_text())
