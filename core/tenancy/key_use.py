"""Remembers when keys were used and writes it down now and then, so that a request costs no write."""

import threading
from collections import defaultdict
from datetime import datetime

import structlog

from core.clock import DatabaseClock
from core.storage.failures import away
from core.tenancy.api_key import ApiKey
from core.tenancy.key_store import KeyStore

_WRITE_EVERY_SECONDS = 15.0

log = structlog.get_logger(__name__)


class KeyUse:
    """The uses that this process has seen and not yet written."""

    def __init__(self, keys: KeyStore, clock: DatabaseClock) -> None:
        self._keys = keys
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[str, dict[str, datetime]] = defaultdict(dict)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def note(self, key: ApiKey) -> None:
        """This key is used now."""
        moment = self._clock.now()
        with self._lock:
            self._seen[key.internal_id][key.key_id] = moment
            if self._thread is None:
                # at the first use: operators' commands never start it
                self._thread = threading.Thread(target=self._write_until_closed, name="key-use", daemon=True)
                self._thread.start()

    def write(self) -> None:
        """Write down what was seen. What cannot be written is kept for the next time."""
        with self._lock:
            seen, self._seen = self._seen, defaultdict(dict)
        for internal_id, used_at in seen.items():
            try:
                self._keys.note_use(internal_id, used_at)
            except Exception as error:
                if away(error) is None:
                    raise
                log.warning("key_use.not_written", keys=len(used_at), error=type(error).__name__)
                self._keep(internal_id, used_at)

    def close(self) -> None:
        """Write the rest."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            self.write()

    def _keep(self, internal_id: str, used_at: dict[str, datetime]) -> None:
        with self._lock:
            self._seen[internal_id] = {**used_at, **self._seen[internal_id]}

    def _write_until_closed(self) -> None:
        while not self._closing.wait(_WRITE_EVERY_SECONDS):
            self.write()
