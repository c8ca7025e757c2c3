"""The limiter's decision beside a plain INCR on the same Redis in the same run: rates, their ratio, bytes a key.

Timings differ between machines and moments: the ratio is the figure to compare.
"""

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

from redis import Redis

from config.plans import published_plans
from core.limits.decision import Ask
from core.limits.limiter import Limiter
from core.limits.policy import Admitted, Policy, RateClass
from core.limits.redis_rates import RedisRates
from core.limits.subject import Subject
from core.storage.redis import connect_redis, key_rate_key
from tests.servers import redis_server

_CALLS = 10_000
_THREADS = 8
_KEYS = 10_000


def measure() -> dict[str, float]:
    """Figures by name: decisions and increments per second, their ratios, bytes of Redis' memory a key."""
    with tempfile.TemporaryDirectory(prefix="ks-bench-") as directory, redis_server(Path(directory)) as server:
        redis = connect_redis(server.url)
        subject, names = Subject("int_bench", "key", "enterprise"), count()
        limiter = Limiter(redis, published_plans(), 1)

        def with_lease() -> None:
            verdict = limiter.admit(subject, RateClass.SEARCH, lease_id=f"{next(names)}", lease_seconds=1)
            if isinstance(verdict, Admitted) and verdict.lease:
                limiter.release(verdict.lease)

        figures = _compared(redis, lambda: limiter.admit(subject, RateClass.DATA))
        figures["decisions_with_lease_and_release_per_second"] = _per_second(with_lease)
        figures["bytes_per_rate_key"] = _bytes_per_rate_key(redis)
        redis.close()
    return figures


def _compared(redis: Redis, decide: Callable[[], object]) -> dict[str, float]:
    """A decision over four rates beside an increment: as callers see it, and what either costs Redis itself."""
    increments = _per_second(lambda: redis.incr("plain"))
    decisions = _per_second(decide)
    spent = redis.info("commandstats")
    increment_us = spent["cmdstat_incrby"]["usec_per_call"]  # what redis-py sends for incr
    decision_us = spent["cmdstat_evalsha"]["usec_per_call"]
    return {
        "increments_per_second": increments,
        "decisions_per_second": decisions,
        "increments_per_decision": increments / decisions,
        "redis_us_per_increment": increment_us,
        "redis_us_per_decision": decision_us,
        "redis_us_decision_per_increment": decision_us / increment_us,
    }


def _per_second(call: Callable[[], object]) -> float:
    call()
    started = time.perf_counter()
    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(lambda _: call(), range(_CALLS)):
            pass
    return _CALLS / (time.perf_counter() - started)


def _bytes_per_rate_key(redis: Redis) -> float:
    """What one key adds to Redis' memory, its name and expiry included."""
    rates, policy = RedisRates(redis), Policy("key-minute", 1, 3_600, 1)
    redis.flushdb()
    before = redis.info("memory")["used_memory"]
    for number in range(_KEYS):
        rates.decide([Ask(key_rate_key(f"int_{number:022}", f"{number:012}", policy.name), policy)], None)
    assert redis.dbsize() == _KEYS
    return float(redis.info("memory")["used_memory"] - before) / _KEYS
