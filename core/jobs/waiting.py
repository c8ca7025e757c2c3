"""Waiting for a job's end: a Redis signal makes it quick, MongoDB makes it true. Without Redis it only takes longer."""

import time

from redis import Redis
from redis.exceptions import RedisError

from core.jobs.job import Job
from core.jobs.store import JobStore
from core.storage.redis import job_done_key
from core.storage.scope import NamespaceScope

_STEP_SECONDS = 1
"""How long one wait on the signal lasts before MongoDB is asked again."""
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


def wait_for_end(redis: Redis, jobs: JobStore, scope: NamespaceScope, job_id: str, seconds: float) -> Job:
    """The job when it has ended, or as it stands after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        _await_signal(redis, job_done_key(scope.namespace_id, job_id), deadline - time.monotonic())
        job = jobs.get(scope, job_id)
        if job.is_final or time.monotonic() >= deadline:
            return job


def _await_signal(redis: Redis, key: str, remaining: float) -> None:
    step = min(_STEP_SECONDS, max(remaining, 0.01))
    try:
        redis.blpop([key], timeout=step)
    except RedisError:
        time.sleep(step)
