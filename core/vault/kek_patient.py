"""The key service as a process reaches it that serves all organizations at once: a data key that the service fails to
open costs nobody else anything. One that failed is left alone for a second, and is then asked for by one caller alone.

It wraps nothing itself. Whether the whole service is away is the watch's to say, by the service's own probe.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from core.backends.backend import Backend
from core.backends.watch import BackendWatch
from core.errors import BackendAwayError, KeystageError, UnavailableError
from core.vault.kek import KeyEncryption, KeyEncryptionBehind, Wrapped

_LEFT_ALONE_SECONDS = 1.0
_ASKED_AGAIN_AT_ONCE = 2
"""A service that takes calls and stays silent holds a thread for each: keys that failed before get few of them."""
_KEPT_AT_MOST = 10_000

log = structlog.get_logger(__name__)


@dataclass
class _Failed:
    """A data key that could not be opened."""

    ask_at: float
    """when it may be asked for again; never while somebody does"""
    is_told: bool = False


class PatientKeyEncryption(KeyEncryptionBehind):
    """A key service that is patient with single data keys. Safe to use from several threads."""

    def __init__(
        self, service: KeyEncryption, watch: BackendWatch, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`watch` asks the service itself when a key fails."""
        super().__init__(service)
        self._watch = watch
        self._clock = clock
        self._lock = threading.Lock()
        self._free = threading.Semaphore(_ASKED_AGAIN_AT_ONCE)
        self._failed: OrderedDict[tuple[str, int], _Failed] = OrderedDict()
        """by organization and version, those that failed last at the end"""

    def unwrap(self, wrapped: Wrapped, internal_id: str, version: int) -> bytes:
        """By the service, unless this key failed a moment ago: then BackendAwayError."""
        name = (internal_id, version)
        with self._turn(name) as again:
            try:
                key = super().unwrap(wrapped, internal_id, version)
            except UnavailableError as error:
                if self._note_failed(name, again):
                    log.warning("vault.data_key_fails", kek=wrapped.kek_id, version=version, why=error.message)
                raise
            except KeystageError:
                # it answered: what became of this key is another matter
                self._note_answered(name, wrapped.kek_id)
                raise
            self._note_answered(name, wrapped.kek_id)
            return key

    @contextmanager
    def _turn(self, name: tuple[str, int]) -> Iterator[bool]:
        """Around a call: whether the key failed before. Raises BackendAwayError when it is not to be asked for now."""
        with self._lock:
            failed = self._failed.get(name)
            if failed is not None:
                if self._clock() < failed.ask_at or not self._free.acquire(blocking=False):
                    raise BackendAwayError(Backend.KEY_SERVICE, "failed to open this key a moment ago")
                failed.ask_at = float("inf")
        try:
            yield failed is not None
        finally:
            if failed is not None:
                failed.ask_at = self._clock() + _LEFT_ALONE_SECONDS
                self._free.release()

    def _note_failed(self, name: tuple[str, int], again: bool) -> bool:
        """Remember it; whether it is to be told."""
        self._watch.doubt(Backend.KEY_SERVICE)
        with self._lock:
            failed = self._failed.pop(name, None) or _Failed(self._clock() + _LEFT_ALONE_SECONDS)
            self._failed[name] = failed
            if len(self._failed) > _KEPT_AT_MOST:
                self._failed.popitem(last=False)
            # after its first failure nobody knows yet whether the whole service is away: the watch tells that
            tell = again and not failed.is_told and not self._watch.away({Backend.KEY_SERVICE})
            failed.is_told = failed.is_told or tell
        return tell

    def _note_answered(self, name: tuple[str, int], kek_id: str) -> None:
        with self._lock:
            failed = self._failed.pop(name, None)
        if failed is not None and failed.is_told:
            log.warning("vault.data_key_answers", kek=kek_id, version=name[1])
