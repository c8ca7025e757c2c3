"""Ends the wait for a library that bounds no call as a whole. What it does after that goes on by itself, unheard."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TypeVar

Answer = TypeVar("Answer")


class Bounded:
    """Makes calls in threads of its own, at most so many at once. Safe to use from several threads."""

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._free = threading.BoundedSemaphore(most)

    def within(self, seconds: float, call: Callable[[], Answer]) -> Answer:
        """What `call` gives or raises. Raises TimeoutError after so many seconds, of which it may wait for a thread."""
        ends_at = time.monotonic() + seconds
        if not self._free.acquire(timeout=max(seconds, 0.0)):
            raise TimeoutError("too many calls are under way")
        answer: Future[Answer] = Future()
        # a daemon: one that never ends must not hold up the end of the process
        threading.Thread(target=self._make, args=(call, answer), name=self._name, daemon=True).start()
        try:
            return answer.result(max(ends_at - time.monotonic(), 0.0))
        except FutureTimeoutError:
            if answer.done():
                # raised by the call itself
                raise
            raise TimeoutError("no answer in time") from None

    def _make(self, call: Callable[[], Answer], answer: "Future[Answer]") -> None:
        try:
            answer.set_result(call())
        except BaseException as error:
            answer.set_exception(error)
        finally:
            self._free.release()
