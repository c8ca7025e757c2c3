"""Counting in Redis: one script call decides. Never raises because Redis is away, and never waits for it twice.

After a call that failed, one caller a second tries again; everyone else is told at once that Redis is away.
"""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import structlog
from redis import Redis
from redis.commands.core import Script
from redis.exceptions import RedisError

from core.limits.decision import LONGEST_LEASE_SECONDS, Ask, Decision, LeaseAsk

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

_AWAY_SECONDS = 1.0
"""How long a failure is remembered before one caller tries again."""


class RedisWatch:
    """Runs calls to Redis and remembers that it is away."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._try_again_at: float | None = None

    def call(self, ask: Callable[[], Answer]) -> Answer | None:
        """What `ask` returns, or None while Redis is away."""
        if not self._may_try():
            return None
        try:
            answer = ask()
        except RedisError as error:
            self._note(away=True, reason=type(error).__name__)
            return None
        if self._try_again_at is not None:
            self._note(away=False)
        return answer

    def _may_try(self) -> bool:
        if self._try_again_at is None:
            return True
        with self._lock:
            if self._try_again_at is None:
                return True
            if self._clock() < self._try_again_at:
                return False
            # the one that tries keeps the others away while it waits
            self._try_again_at = self._clock() + _AWAY_SECONDS
            return True

    def _note(self, away: bool, reason: str | None = None) -> None:
        with self._lock:
            changed = away is (self._try_again_at is None)
            self._try_again_at = self._clock() + _AWAY_SECONDS if away else None
        if changed:
            log.warning("limits.redis_away" if away else "limits.redis_back", reason=reason)


class RedisRates:
    """Rates and leases that all processes share."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._watch = RedisWatch()
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
        answer = self._watch.call(lambda: self._script(keys=keys, args=arguments))
        return None if answer is None else Decision(*answer)

    def release(self, key: str, lease_id: str) -> None:
        """Give a lease back. Redis away: it ends by itself."""
        self._watch.call(lambda: self._redis.zrem(key, lease_id))


def load_script(redis: Redis, name: str) -> Script:
    """A script of this folder, called by its digest and sent again when Redis has forgotten it."""
    folder = Path(__file__).parent
    return redis.register_script((folder / "rates.lua").read_text() + (folder / f"{name}.lua").read_text())
