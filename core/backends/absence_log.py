"""Says in the log that a backend went away and that it is back: once each, whoever of this process finds it so first.

A process meets the same absence in several places, and each of them notes what it finds here. It decides nothing.
"""

import threading
import time

import structlog

from core.backends.backend import Backend

log = structlog.get_logger(__name__)


class AbsenceLog:
    """One for each process. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._missed_by: dict[Backend, set[object]] = {}
        """those whose last word is that it is away"""
        self._since: dict[Backend, float] = {}

    def note(self, backend: Backend, by: object, *, away: bool, why: str = "") -> None:
        """Note the last word of `by`, which asks this backend. It is away while anybody says so."""
        with self._lock:
            missed_by = self._missed_by.setdefault(backend, set())
            was_away = bool(missed_by)
            (missed_by.add if away else missed_by.discard)(by)
            if bool(missed_by) is was_away:
                return
            if away:
                self._since[backend] = time.monotonic()
                log.warning("backend.away", backend=backend.value, why=why)
            else:
                seconds = round(time.monotonic() - self._since[backend], 1)
                log.warning("backend.back", backend=backend.value, seconds=seconds)
