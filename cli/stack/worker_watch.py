"""Watches for a worker that lives but takes no doorbell, in a thread of its own: a database that hangs must not hold
up the supervisor. It only tells; the supervisor restarts."""

import threading
from collections.abc import Callable

import structlog

_INTERVAL_SECONDS = 2.0
_LAST_ANSWER_SECONDS = 1.0

log = structlog.get_logger(__name__)


class WorkerWatch:
    """Asks `stalled()` every two seconds and keeps the last answer."""

    def __init__(self, stalled: Callable[[], bool], interval_seconds: float = _INTERVAL_SECONDS) -> None:
        """`stalled` may block."""
        self._stalled = stalled
        self._interval = interval_seconds
        self._verdict = threading.Event()
        self._closing = threading.Event()
        # a daemon: a question that never returns must not keep the supervisor from ending
        self._thread = threading.Thread(target=self._ask_until_closed, name="worker-watch", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    @property
    def sees_stall(self) -> bool:
        """Whether the last answer was that the worker stalls."""
        return self._verdict.is_set()

    def close(self) -> None:
        """Stop asking. What is asked right now may take a moment; one that never returns is not waited for."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(_LAST_ANSWER_SECONDS)

    def _ask_until_closed(self) -> None:
        while not self._closing.wait(self._interval):
            try:
                stalls = self._stalled()
            except Exception:
                # the watch must outlive one question that went wrong; at the end its connection may be closed already
                if not self._closing.is_set():
                    log.exception("worker_watch.broken")
                stalls = False
            if stalls:
                self._verdict.set()
            else:
                self._verdict.clear()
