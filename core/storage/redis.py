"""The Redis client and every key it may hold, named in one place. Never the truth: losing Redis costs time only."""

import asyncio
from contextlib import suppress
from ssl import CERT_REQUIRED
from typing import Any

from redis import BlockingConnectionPool, Redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from config.tls import TlsFiles
from core.storage.redis_memory import RedisMemory, RememberingRedis

_SOCKET_TIMEOUT_SECONDS = 10.0
"""Above every blocking wait of ours; redis-py's default of 5 s would end a longer BLPOP with an error."""

_IMPATIENCE_SECONDS = 0.5
"""What a silent Redis may cost whoever finds it so."""
SIGNAL_STEP_SECONDS = 0.2
"""How long an impatient client may block on a list: well below its patience, or a busy machine looks like an outage."""
_CONNECTIONS = 64


_NO_TLS = TlsFiles()


def connect_redis(url: str, tls: TlsFiles = _NO_TLS) -> Redis:
    """A thread-safe client that waits for a free connection instead of raising."""
    # the client owns its pool: closing the one closes the other
    return Redis.from_pool(_pool(url, tls, _CONNECTIONS, waits=5, connects=2, answers=_SOCKET_TIMEOUT_SECONDS))


def connect_redis_impatiently(
    url: str, tls: TlsFiles = _NO_TLS, memory: RedisMemory | None = None, connections: int = _CONNECTIONS
) -> Redis:
    """The same for our processes: it gives up early, and remembers that Redis is away, with all that share `memory`."""
    patience = _IMPATIENCE_SECONDS
    pool = _pool(url, tls, connections, waits=patience, connects=patience, answers=patience)
    return RememberingRedis.over(pool, memory or RedisMemory())


def _pool(
    url: str, tls: TlsFiles, connections: int, waits: float, connects: float, answers: float
) -> BlockingConnectionPool:
    return BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=waits,
        socket_timeout=answers,
        socket_connect_timeout=connects,
        **tls_options(url, tls),
    )


def tls_options(url: str, tls: TlsFiles) -> dict[str, Any]:
    """redis-py's options for a rediss:// URL, and kombu's, which has the same names; none for a plain one."""
    if not url.startswith("rediss://"):
        return {}
    files = {"ssl_ca_certs": tls.ca_file, "ssl_certfile": tls.cert_file, "ssl_keyfile": tls.key_file}
    # said outright: kombu would believe any server
    return {"ssl_cert_reqs": CERT_REQUIRED, **{name: str(path) for name, path in files.items() if path}}


def job_done_key(namespace_id: str, job_id: str) -> str:
    """The list on which a waiting API thread is told that the job ended."""
    return f"ks:{namespace_id}:done:{job_id}"


def key_rate_key(internal_id: str, key_id: str, policy: str) -> str:
    """Where one API key stands under one of its rates."""
    return f"ks:{internal_id}:rate:{key_id}:{policy}"


def organization_rate_key(internal_id: str, policy: str) -> str:
    """Where an organization stands under one of its rates."""
    return f"ks:{internal_id}:rate:{policy}"


def lease_key(internal_id: str) -> str:
    """The sorted set of what an organization has under way, each with the moment its lease ends."""
    return f"ks:{internal_id}:leases"


def source_failures_key(source: str) -> str:
    """Where an address stands with failed authentications. Nobody is known yet: there is no organization in it."""
    return f"ks:auth-failures:source:{source}"


def key_failures_key(key_id: str) -> str:
    """Where a key id, which may not exist, stands with failed authentications."""
    return f"ks:auth-failures:key:{key_id}"


def tenant_epoch_key(internal_id: str) -> str:
    """What changes with every change of an organization or its namespaces."""
    return f"ks:{internal_id}:epoch"


DELIVERIES_CHANNEL = "ks:deliveries"
"""Publish here, with no content, after a delivery became due: the dispatcher looks at once."""


def wake_dispatcher(redis: Redis) -> None:
    """Tell the dispatcher that a delivery is due. Redis away: it looks every second anyway."""
    try:
        redis.publish(DELIVERIES_CHANNEL, "")
    except RedisError:
        return


_GREETING_SECONDS = 0.5


class DeliverySignal:
    """Waits for `wake_dispatcher` in an asyncio process. Without Redis each wait just takes its full time."""

    def __init__(self, url: str, tls: TlsFiles = _NO_TLS) -> None:
        self._redis = AsyncRedis.from_url(url, socket_connect_timeout=2, **tls_options(url, tls))
        self._subscription: PubSub | None = None

    async def wait(self, seconds: float) -> None:
        """Return at the next signal, or after `seconds`."""
        try:
            # one that is silent takes the connection and never greets: nothing else would end that wait
            async with asyncio.timeout(seconds + _GREETING_SECONDS):
                if self._subscription is None:
                    subscription = self._redis.pubsub(ignore_subscribe_messages=True)
                    await subscription.subscribe(DELIVERIES_CHANNEL)
                    self._subscription = subscription
                await self._subscription.get_message(timeout=seconds)
        except TimeoutError:
            self._subscription = None
        except (RedisError, OSError):
            self._subscription = None
            await asyncio.sleep(seconds)

    async def close(self) -> None:
        """Close the connection."""
        if self._subscription is not None:
            if connection := self._subscription.connection:
                with suppress(RedisError, OSError):
                    # the subscription would not wait for it, and over TLS the last word takes a moment
                    await connection.disconnect()
            await self._subscription.aclose()  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
        await self._redis.aclose()
