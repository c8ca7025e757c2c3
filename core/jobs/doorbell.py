"""The doorbell: a Celery message that carries a job id and a namespace id, and means "there may be work".

It is built with kombu in Celery's message protocol 2, so that intake and sweeper need no Celery; a test lets a real
Celery worker take one. Nothing depends on its arrival: the sweeper rings again.
"""

import threading
import uuid

import structlog
from kombu import Connection, Exchange, Producer, Queue
from kombu.exceptions import OperationalError

from config.tls import TlsFiles
from core.storage.redis import tls_options

QUEUE_NAME = "keystage.jobs"
TASK_NAME = "keystage.drive_job"

JOBS_QUEUE = Queue(QUEUE_NAME, Exchange(QUEUE_NAME, type="direct"), routing_key=QUEUE_NAME)
"""The one queue. Fairness between namespaces belongs in MongoDB, not in a queue for each."""

TRANSPORT_OPTIONS = {"socket_timeout": 10, "socket_connect_timeout": 2, "visibility_timeout": 120}
"""Kept equal in every process on this broker: with different visibility timeouts the shortest wins."""

_NO_TLS = TlsFiles()

log = structlog.get_logger(__name__)


class Doorbell:
    """Rings for jobs, from any thread."""

    def __init__(self, broker_url: str, tls: TlsFiles = _NO_TLS) -> None:
        self._url = broker_url
        self._ssl = tls_options(broker_url, tls)
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        # a connection that was open raises the driver's own exceptions, which kombu names but does not wrap
        self._broker_away = (OperationalError, *self._new_connection().recoverable_connection_errors)

    def ring(self, job_id: str, namespace_id: str, request_id: str = "") -> bool:
        """Say that a job may be due. False when the broker is away: the sweeper will ring instead."""
        headers = _headers(job_id, namespace_id, request_id)
        body: tuple[object, ...] = (
            [job_id, namespace_id],
            {},
            {"callbacks": None, "errbacks": None, "chain": None, "chord": None},
        )
        try:
            with self._lock:
                self._producer().publish(
                    body,
                    # the default exchange routes by queue name, without a look at any binding table
                    exchange="",
                    routing_key=QUEUE_NAME,
                    serializer="json",
                    headers=headers,
                    correlation_id=headers["id"],
                    delivery_mode=2,
                    retry=False,
                )
        except self._broker_away as error:
            # the job is recorded; a lost doorbell costs the sweeper's interval
            log.warning("doorbell.not_rung", job_id=job_id, error=type(error).__name__)
            self._forget_connection()
            return False
        return True

    def waiting(self) -> int | None:
        """How many doorbells nobody has taken, or None when the broker is away."""
        try:
            with self._lock:
                channel = self._connect().default_channel
                return int(JOBS_QUEUE(channel).queue_declare(passive=False).message_count)
        except self._broker_away:
            self._forget_connection()
            return None

    def close(self) -> None:
        """Close the connection."""
        self._forget_connection()

    def _producer(self) -> Producer:
        return Producer(self._connect().default_channel, auto_declare=False)

    def _connect(self) -> Connection:
        if self._connection is None:
            self._connection = self._new_connection()
        return self._connection

    def _new_connection(self) -> Connection:
        # an empty `ssl` would read as "believe any server" where the URL asks for TLS
        return Connection(self._url, ssl=self._ssl or False, transport_options=TRANSPORT_OPTIONS, connect_timeout=2)

    def _forget_connection(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()


def _headers(job_id: str, namespace_id: str, request_id: str) -> dict[str, object]:
    """Celery's protocol 2 headers, and the ids that logs need before the job is read."""
    message_id = str(uuid.uuid4())
    return {
        "lang": "py",
        "task": TASK_NAME,
        "id": message_id,
        "root_id": message_id,
        "parent_id": None,
        "group": None,
        "argsrepr": repr([job_id, namespace_id]),
        "kwargsrepr": "{}",
        "retries": 0,
        "eta": None,
        "expires": None,
        "timelimit": [None, None],
        "namespace_id": namespace_id,
        "request_id": request_id,
    }
