"""An actor for calls under which another one ended: one call at a time, and nobody else's work beside it.

It is made when it is needed, and ends when nobody needs it any more.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from config.beside import beside
from core.errors import UnavailableError
from pipelines.cluster import Attachment, Cluster
from pipelines.remote import CallCancelledError, end_actor

_LOOK_SECONDS = 0.1


class Alone:
    """The lonely actor of one kind of calls. Safe to use from several threads."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._users = 0
        self._actor: Any = None
        self._attachment: Attachment | None = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the actor for the block, between one call and the next."""
        with self._lock:
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._end()

    @contextmanager
    def actor(self, attachment: Attachment, should_stop: threading.Event) -> Iterator[Any]:
        """The actor, when it is this caller's turn. Raises CallCancelledError when told to stop before that."""
        while not self._turn.acquire(timeout=_LOOK_SECONDS):
            if should_stop.is_set():
                raise CallCancelledError
        try:
            if self._actor is None or self._attachment is not attachment:
                self._end()
                self._actor, self._attachment = self._cluster.new_stage_actor(attachment), attachment
            yield self._actor
        except (UnavailableError, CallCancelledError):
            # it ended, or nobody knows when it will be done
            self._end()
            raise
        finally:
            self._turn.release()

    def _end(self) -> None:
        actor, self._actor = self._actor, None
        if actor is not None:
            beside(lambda: end_actor(actor), "ray-kill")
