"""The doorbell: a message that carries a job id and a namespace id, and means "there may be work". It rings; it never
waits for a broker twice.

Nothing depends on its arrival: the lanes look for due work themselves, and the sweeper rings again. So whoever rings on
a broker that just went silent loses half a second, and everybody after that nothing, until the broker is back.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import structlog
from kombu import Connection, Producer
from kombu.exceptions import OperationalError

from config.tls import TlsFiles
from core.backends.absence_log import AbsenceLog
from core.backends.backend import Backend
from core.jobs import doorbell_message
from core.jobs.broker import QUEUES, connection
from core.jobs.lane import Lane

_ANSWER_SECONDS = 0.25
"""To connect, and for an answer: together half a second."""
_LOOK_EVERY_SECONDS = 1.0
"""How often a broker that is away is asked whether it is back."""

_NO_TLS = TlsFiles()

Answer = TypeVar("Answer")

log = structlog.get_logger(__name__)


class Doorbell:
    """Rings for jobs, from any thread."""

    def __init__(
        self,
        broker_url: str,
        tls: TlsFiles = _NO_TLS,
        is_known_away: Callable[[], bool] = lambda: False,
        absences: AbsenceLog | None = None,
    ) -> None:
        """`is_known_away` is asked first: who else uses that server may have found out already, and paid for it."""
        self._is_known_away = is_known_away
        self._absences = absences or AbsenceLog()
        self._new_connection: Callable[[], Connection] = lambda: connection(broker_url, tls, _ANSWER_SECONDS)
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._away = threading.Event()
        self._closed = threading.Event()
        # a connection that was open raises the driver's own exceptions, which kombu names but does not wrap
        unused = self._new_connection()
        self._broker_away = (OperationalError, *unused.connection_errors)
        self._refused = unused.channel_errors

    def ring(self, lane: Lane, job_id: str, namespace_id: str, request_id: str = "") -> bool:
        """Say that a job of this lane may be due. False when it was not taken: the lane finds the job by itself."""
        headers = doorbell_message.headers_of(job_id, namespace_id, request_id)

        def publish(to: Connection) -> bool:
            Producer(to.default_channel, auto_declare=False).publish(
                doorbell_message.body_of(job_id, namespace_id),
                # the default exchange routes by queue name, without a look at any binding table
                exchange="",
                routing_key=lane.queue_name,
                serializer="json",
                headers=headers,
                correlation_id=headers["id"],
                delivery_mode=2,
                retry=False,
            )
            return True

        return bool(self._ask(publish))

    def waiting(self, lane: Lane | None = None) -> int | None:
        """How many doorbells, of this lane or of all, nobody has taken, or None when the broker is away."""
        queues = [queue for queue in QUEUES if lane is None or queue.name == lane.queue_name]

        def count(at: Connection) -> int:
            channel = at.default_channel
            return sum(int(queue(channel).queue_declare(passive=False).message_count) for queue in queues)

        return self._ask(count)

    def close(self) -> None:
        """Close the connection, and look for the broker no longer."""
        self._closed.set()
        with self._lock:
            self._forget_connection()

    def _ask(self, ask: Callable[[Connection], Answer]) -> Answer | None:
        """What the broker answers, or None while it is away."""
        if self._away.is_set() or self._is_known_away():
            return None
        with self._lock:
            # those that waited for the lock while somebody found out need not find out themselves
            if self._away.is_set():
                return None
            try:
                self._connection = self._connection or self._new_connection()
                return ask(self._connection)
            except self._broker_away as error:
                self._absences.note(Backend.BROKER, self, away=True, why=type(error).__name__)
                self._away.set()
                broken, self._connection = self._connection, None
                threading.Thread(target=self._replace, args=(broken,), name="broker-watch", daemon=True).start()
            except self._refused as error:
                # it is full, say, or its list of users knows us not: it answers, and the next may be taken
                log.warning("doorbell.refused", error=type(error).__name__)
                self._forget_connection()
            return None

    def _replace(self, broken: Connection) -> None:
        """Connect again: at once, as a connection breaks also when a broker was restarted; then once a second."""
        self._release(broken)
        found = self._new_connection()
        while not self._closed.is_set():
            try:
                # a channel is there when the broker has answered
                found.default_channel  # noqa: B018
            except self._broker_away:
                self._release(found)
                self._closed.wait(_LOOK_EVERY_SECONDS)
            else:
                self._came_back(found)
                return

    def _came_back(self, found: Connection) -> None:
        with self._lock:
            self._connection = found
            self._absences.note(Backend.BROKER, self, away=False)
            self._away.clear()
            if self._closed.is_set():
                self._forget_connection()

    def _forget_connection(self) -> None:
        forgotten, self._connection = self._connection, None
        if forgotten is not None:
            self._release(forgotten)

    def _release(self, broken: Connection) -> None:
        # it may be said good-bye to in vain
        with suppress(*self._broker_away):
            broken.release()
