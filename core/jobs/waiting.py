"""Waiting for a job's end: a Redis signal makes it quick, MongoDB makes it true. Without Redis it only takes longer."""

import time

from redis import Redis
from redis.exceptions import RedisError

from core.jobs.job import Job
from core.jobs.store import JobStore
from core.storage.redis import SIGNAL_STEP_SECONDS, job_done_key
from core.storage.scope import NamespaceScope

_LOOK_SECONDS = 1.0
"""How long the signal is waited for before MongoDB is asked again."""
_FIRST_PAUSE_SECONDS = 0.02
"""Between two looks at MongoDB without Redis; the next ones grow up to `_LOOK_SECONDS`."""
_SIGNAL_KEPT_SECONDS = 60


def tell_waiting(redis: Redis, namespace_id: str, job_id: str) -> None:
    """Signal a job's end. Redis away: whoever waits re-reads MongoDB anyway."""
    key = job_done_key(namespace_id, job_id)
    try:
        with redis.pipeline(transaction=False) as pipeline:
            pipeline.lpush(key, "1")
            pipeline.expire(key, _SIGNAL_KEPT_SECONDS)
            pipeline.execute()
    except RedisError:
        return


def wait_for_end(redis: Redis, jobs: JobStore, scope: NamespaceScope, job_id: str, seconds: float) -> Job | None:
    """The job when it has ended or is stuck, or as it stands after `seconds`; None when it was withdrawn meanwhile."""
    deadline = time.monotonic() + seconds
    signal = _Signal(redis, job_done_key(scope.namespace_id, job_id))
    while True:
        signal.wait(min(_LOOK_SECONDS, max(deadline - time.monotonic(), 0.01)))
        job = jobs.find(scope, job_id)
        if job is None or job.is_final or job.is_stuck or time.monotonic() >= deadline:
            return job


class _Signal:
    """The signal of one job; for somebody who waits once."""

    def __init__(self, redis: Redis, key: str) -> None:
        self._redis = redis
        self._key = key
        self._pause = 0.0
        """without Redis: how long the next wait lasts"""

    def wait(self, seconds: float) -> None:
        """Return at the signal, or after `seconds`; when Redis is away sooner, at first much sooner."""
        if self._pause:
            time.sleep(min(self._pause, seconds))
            self._pause = min(self._pause * 2, _LOOK_SECONDS)
            return
        until = time.monotonic() + seconds
        try:
            while (left := until - time.monotonic()) > 0:
                if self._redis.blpop([self._key], timeout=max(min(SIGNAL_STEP_SECONDS, left), 0.01)):
                    return
        except RedisError:
            # for the rest of this wait nobody asks again: half a second was the price already
            self._pause = _FIRST_PAUSE_SECONDS
