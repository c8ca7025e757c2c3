"""How the broker is reached: the queues, the deadlines for each kind of broker, and a way over Redis that outlives what
is no message. It rings for nothing and decides nothing.

Whatever may write to the broker can put anything there. kombu's way over Redis raises whatever the reading of it
raises, in the middle of its event loop.
"""

from typing import Any

from kombu import Connection, Exchange, Queue
from kombu.transport import redis
from kombu.transport.virtual import Empty
from redis.exceptions import RedisError

from config.tls import TlsFiles
from core.jobs.lane import Lane
from core.storage.redis import tls_options

QUEUES = tuple(
    # a doorbell that was taken needs no word back: what is lost is still due, and found
    Queue(lane.queue_name, Exchange(lane.queue_name, type="direct"), routing_key=lane.queue_name, no_ack=True)
    for lane in Lane
)
"""One for each lane. Fairness between namespaces belongs in MongoDB, not in a queue for each."""

UNREADABLE = "unreadable"
"""The transport option that is told of each thing in a queue that is no message."""

_FAILURES = (RedisError, OSError)
"""What says that Redis does not do its part, and nothing about a message."""


def connection(broker_url: str, tls: TlsFiles, answer_seconds: float) -> Connection:
    """A connection that is made when it is first used, and waits so long for each answer."""
    return Connection(
        broker_url,
        # an empty `ssl` would read as "believe any server" where the URL asks for TLS
        ssl=tls_options(broker_url, tls) or False,
        transport_options=transport_options(broker_url, answer_seconds),
        connect_timeout=answer_seconds,
    )


def transport_options(broker_url: str, answer_seconds: float) -> dict[str, Any]:
    """What bounds each call to the broker at this URL."""
    # one that refuses is not asked again before it is used again
    once = {"max_retries": 0}
    if broker_url.startswith("amqp"):
        return {**once, "read_timeout": answer_seconds, "write_timeout": answer_seconds}
    return {
        **once,
        "socket_timeout": answer_seconds,
        "socket_connect_timeout": answer_seconds,
        # nothing is kept for messages that nobody acknowledged: nobody owes that
        "ack_emulation": False,
        # one list for each queue, not one for each of the priorities that no doorbell has
        "priority_steps": [0],
    }


class _Channel(redis.Channel):  # type: ignore[misc]  # kombu ships no types
    """Goes on after what is no JSON."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except (Empty, KeyError, *_FAILURES):
            raise
        except Exception as error:
            # it left the queue when it was read
            self.connection.drop(error)
            return True


class RedisTransport(redis.Transport):  # type: ignore[misc]  # kombu ships no types
    """kombu's, but that what is no message is told to the option `unreadable` and dropped."""

    Channel = _Channel

    def _deliver(self, message: Any, queue: str) -> None:
        try:
            super()._deliver(message, queue)
        except _FAILURES:
            raise
        except Exception as error:
            self.drop(error)

    def drop(self, error: Exception) -> None:
        """Tell that something was no message."""
        self.client.transport_options[UNREADABLE](error)
