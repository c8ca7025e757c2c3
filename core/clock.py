"""Time. Leases and due times use the database's clock, so that no worker's clock can steal or strand work."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_OFFSET_MAX_AGE_SECONDS = 60.0
"""How long the measured difference to the database's clock is used before it is measured again."""
_MEASURE_AGAIN_SECONDS = 5.0
"""How soon after a measurement that failed."""


def now() -> datetime:
    """This machine's time, for stamps that decide nothing. Whole milliseconds, as MongoDB stores them."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


class DatabaseClock:
    """The database's time, from this machine's and a difference that is measured once a minute."""

    def __init__(self, read_database_time: Callable[[], datetime]) -> None:
        self._read = read_database_time
        self._lock = threading.Lock()
        self._offset = timedelta()
        self._measured_at = float("-inf")

    def now(self) -> datetime:
        """The database's time, in whole milliseconds. Raises what the reader raises while there is no measurement."""
        if time.monotonic() - self._measured_at > _OFFSET_MAX_AGE_SECONDS:
            self._measure_once()
        return now() + self._offset

    def _measure_once(self) -> None:
        """Measure, unless somebody does; meanwhile, and while the database is away, the last measurement serves."""
        has_one = self._measured_at > float("-inf")
        if not self._lock.acquire(blocking=not has_one):
            return
        try:
            if time.monotonic() - self._measured_at > _OFFSET_MAX_AGE_SECONDS:
                self._measure()
        except Exception:
            if not has_one:
                raise
            self._measured_at = time.monotonic() - _OFFSET_MAX_AGE_SECONDS + _MEASURE_AGAIN_SECONDS
        finally:
            self._lock.release()

    def _measure(self) -> None:
        before = now()
        theirs = self._read()
        # half the round trip is the best guess of when the database looked at its clock; whole, as `now` is
        milliseconds = (theirs - (before + (now() - before) / 2)) // timedelta(milliseconds=1)
        self._offset = timedelta(milliseconds=milliseconds)
        self._measured_at = time.monotonic()
