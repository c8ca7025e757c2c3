"""Repeats what is safe to repeat for as long as MongoDB is away. It gives up when the worker stops, and never decides.

A job whose record cannot be written keeps its slot: without MongoDB nothing else could be claimed for it either.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

from core.backends.backend import Backend
from core.storage.failures import is_absence_of
from core.storage.mongo import within

Value = TypeVar("Value")

TRY_SECONDS = 10.0
"""How long one try may take: a database that froze and was replaced never answers."""
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 1.0
"""Between two tries, so that what was claimed before goes on before the sweeper rings for it."""


class Patience:
    """Safe to use from several threads."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping

    def until_done(self, act: Callable[[], Value]) -> Value:
        """The value of `act`, which may be done twice. Raises what the last try raised when the worker stops."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                with within(TRY_SECONDS):
                    return act()
            except Exception as error:
                if not is_absence_of(Backend.MONGO, error) or self._stopping.wait(pause):
                    raise
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
