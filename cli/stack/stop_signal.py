"""What Ctrl-C, SIGTERM and the terminal's end mean: stop in order; Ctrl-C again: stop now."""

import signal
import threading
import time
from types import FrameType

_SAME_PRESS_SECONDS = 0.5
"""A wrapper may pass on a Ctrl-C that the terminal has sent already."""


class StopSignal:
    """Two events, set by signals once `listen` was called."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.at_once = threading.Event()
        """do not wait for any process to end by itself"""
        self._asked_at = 0.0

    def listen(self) -> None:
        """Take the signals from now on. For the main thread."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._asked)

    def _asked(self, number: int, _frame: FrameType | None) -> None:
        again = self.stopping.is_set() and time.monotonic() - self._asked_at > _SAME_PRESS_SECONDS
        if number == signal.SIGINT and again:
            self.at_once.set()
        if not self.stopping.is_set():
            self._asked_at = time.monotonic()
        self.stopping.set()
