"""Celery, as far as we use it: it listens to both queues of doorbells and hands each on. It runs no task.

A doorbell is acknowledged when it arrives, and what is none is counted and dropped: nothing depends on either. So a
message can end nobody, and a broker that is away or silent holds up nobody but the thread that listens to it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import structlog
from celery import Celery, bootsteps
from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown

from config.settings import Settings
from core.backends.absence_log import AbsenceLog
from core.backends.backend import Backend
from core.jobs.broker import QUEUES, UNREADABLE, RedisTransport, transport_options
from core.jobs.doorbell_message import CONTENT_TYPE, NoDoorbell, Rung, read
from core.storage.redis import tls_options

_ANSWER_SECONDS = 2.0
"""How long the broker may be silent where it should answer; above the second for which Redis waits for a doorbell."""
_RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Listener:
    """Hears doorbells, until a signal ends the process's Celery."""

    def __init__(self, settings: Settings, heard: Callable[[Rung], None], absences: AbsenceLog | None = None) -> None:
        self._heard = heard
        self._absences = absences or AbsenceLog()
        self.dropped = 0
        """what came and was no doorbell"""
        self.app = celery_app(settings, self._drop_unreadable)
        self.app.conf.worker_consumer = partial(_Consumer, self)

    def listen(self, name: str, ready: Callable[[], None] = lambda: None) -> None:
        """Listen in the main thread until a signal says stop. `ready` is called when such a signal would be heard."""

        class Ready(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery ships no types
            """The step of Celery's start that tells."""

            def start(self, _: Any) -> None:
                ready()

        self.app.steps["worker"].add(Ready)
        self.app.Worker(
            hostname=name,
            # its banner is no line of a log
            quiet=True,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        ).start()

    def take(self, message: Any) -> None:
        """Hand a doorbell on, or drop what is none."""
        match read(message):
            case NoDoorbell(why):
                self.drop(why)
            case rung:
                self._heard(rung)

    def drop(self, why: str) -> None:
        """Count something that was no doorbell."""
        self.dropped += 1
        log.warning("doorbell.dropped", why=why, dropped=self.dropped)

    def note_broker(self, *, away: bool, why: str = "") -> None:
        """Say whether the broker is there."""
        self._absences.note(Backend.BROKER, self, away=away, why=why)

    def _drop_unreadable(self, error: Exception) -> None:
        self.drop(f"it is no message: {type(error).__name__}")


def celery_app(settings: Settings, unreadable: Callable[[Exception], None]) -> Celery:
    """A Celery that only listens; `unreadable` is told of each thing in a queue that is no message."""
    options = transport_options(settings.broker, _ANSWER_SECONDS)
    app = Celery("keystage", broker=settings.broker)
    app.conf.update(
        task_queues=QUEUES,
        task_create_missing_queues=False,
        task_ignore_result=True,
        # no limit: what came is handed on at once
        worker_prefetch_multiplier=0,
        worker_pool="solo",
        worker_concurrency=1,
        worker_redirect_stdouts=False,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        # there are none; said, because Celery warns of its silence
        worker_cancel_long_running_tasks_on_connection_loss=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # a key of another type where a queue belongs is the operator's to remove, and no end of ours
        broker_channel_error_retry=True,
        broker_connection_timeout=_ANSWER_SECONDS,
        # falsy means plain; Celery hands it to kombu as it is
        broker_use_ssl=tls_options(settings.broker, settings.redis_tls) or None,
        broker_transport_options=options,
        accept_content=[CONTENT_TYPE],
    )
    if settings.broker.startswith("redis"):
        app.conf.broker_transport = RedisTransport
        options[UNREADABLE] = unreadable
    return app


class _Consumer(Consumer):  # type: ignore[misc]  # Celery ships no types
    """Celery's consumer, but that messages are not tasks."""

    def __init__(self, listener: Listener, *arguments: Any, **named: Any) -> None:
        self._listener = listener
        super().__init__(*arguments, **named)

    def create_task_handler(self, *_: Any, **__: Any) -> Callable[[Any], None]:
        """What is called with each message."""
        return self._listener.take

    def on_decode_error(self, _: Any, exc: Exception) -> None:
        """Called instead of it when kombu cannot even unpack the message, which it has taken already."""
        self._listener.drop(f"it cannot be unpacked: {type(exc).__name__}")

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, and try again every second: a broker that is back should be heard soon."""

        def note(error: Exception, _interval: float) -> None:
            self._listener.note_broker(away=True, why=type(error).__name__)

        connected = conn.ensure_connection(
            note, None, interval_start=_RETRY_SECONDS, interval_step=0, interval_max=_RETRY_SECONDS,
            callback=maybe_shutdown,
        )  # fmt: skip
        self.first_connection_attempt = False
        self._listener.note_broker(away=False)
        return connected

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Called when the connection broke, or the broker refused what was asked for over it."""
        if isinstance(exc, self.connection_errors):
            self._listener.note_broker(away=True, why=type(exc).__name__)
        else:
            log.warning("listener.refused", error=type(exc).__name__)
        super().on_connection_error_after_connected(exc)
