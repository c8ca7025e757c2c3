"""Work beside the thread that waits for it: what may never come back keeps a thread of its own, and nobody else's.

These threads keep no process alive. What nobody waits for any more goes on by itself, unheard.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


def beside(work: Callable[[], Answer], name: str) -> "Future[Answer]":
    """Begin the work; its end is in the future."""
    future: Future[Answer] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


class Shared(Generic[Answer]):
    """Work that is done once for all who ask for it while it is under way. Safe to use from several threads."""

    def __init__(self, work: Callable[[], Answer], name: str) -> None:
        self._work = work
        self._name = name
        self._lock = threading.Lock()
        self._under_way: Future[Answer] | None = None

    def ask(self) -> "Future[Answer]":
        """What is under way, or begins now."""
        with self._lock:
            if self._under_way is None or self._under_way.done():
                self._under_way = beside(self._work, self._name)
            return self._under_way


class Bounded:
    """Bounds calls of a library that bounds none as a whole. Safe to use from several threads."""

    def __init__(self, name: str, most: int) -> None:
        """At most so many calls are under way at once."""
        self._name = name
        self._free = threading.BoundedSemaphore(most)

    def within(self, seconds: float, call: Callable[[], Answer]) -> Answer:
        """What `call` gives or raises. Raises TimeoutError after so many seconds, of which it may wait for a thread."""
        ends_at = time.monotonic() + seconds
        if not self._free.acquire(timeout=max(seconds, 0.0)):
            raise TimeoutError("too many calls are under way")
        answer = beside(lambda: self._make(call), self._name)
        try:
            return answer.result(max(ends_at - time.monotonic(), 0.0))
        except FutureTimeoutError:
            if answer.done():
                # raised by the call itself
                raise
            raise TimeoutError("no answer in time") from None

    def _make(self, call: Callable[[], Answer]) -> Answer:
        try:
            return call()
        finally:
            self._free.release()
