"""The Redis client and every key it may hold, named in one place. Redis is never the truth: losing it costs time only."""

from redis import BlockingConnectionPool, Redis

_SOCKET_TIMEOUT_SECONDS = 10.0
"""Above every blocking wait of ours; redis-py's default of 5 s would end a longer BLPOP with an error."""


def connect_redis(url: str) -> Redis:
    """A thread-safe client that waits for a free connection instead of raising."""
    pool = BlockingConnectionPool.from_url(
        url, max_connections=64, timeout=5, socket_timeout=_SOCKET_TIMEOUT_SECONDS, socket_connect_timeout=2
    )
    return Redis(connection_pool=pool)


def job_done_key(namespace_id: str, job_id: str) -> str:
    """The list on which a waiting API thread is told that the job ended."""
    return f"ks:{namespace_id}:done:{job_id}"


DELIVERIES_CHANNEL = "ks:deliveries"
"""Publish here, with no content, after a delivery became due: the dispatcher looks at once."""
