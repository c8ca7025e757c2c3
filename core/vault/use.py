"""Remembers the uses of secrets and writes them down now and then, so that a use costs no write of its own.

Only the summary may lag, or lose its last seconds with a killed process: the audit log has each use before it happens.
"""

import threading
from collections import defaultdict
from datetime import datetime

import structlog

from core.storage.failures import away
from core.storage.scope import OrganizationScope
from core.vault.access import USED, Access, AccessStore
from core.vault.store import SecretStore

_WRITE_EVERY_SECONDS = 5.0

log = structlog.get_logger(__name__)


class SecretUse:
    """The uses that this process has seen and not yet written."""

    def __init__(self, secrets: SecretStore, patterns: AccessStore) -> None:
        self._secrets = secrets
        self._patterns = patterns
        self._lock = threading.Lock()
        self._seen: dict[str, list[Access]] = defaultdict(list)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def note(self, scope: OrganizationScope, access: Access) -> None:
        """Count this use."""
        with self._lock:
            self._seen[scope.internal_id].append(access)
            if self._thread is None:
                # at the first use: processes that use no secret never start it
                self._thread = threading.Thread(target=self._write_until_closed, name="secret-use", daemon=True)
                self._thread.start()

    def write(self) -> None:
        """Write down what was seen. What cannot be written is kept for the next time."""
        with self._lock:
            seen, self._seen = self._seen, defaultdict(list)
        for internal_id, accesses in seen.items():
            try:
                # in this order: what is added last cannot be added twice because the other failed
                self._secrets.note_use(internal_id, _last_used(accesses))
                self._patterns.add(OrganizationScope(internal_id), accesses)
            except Exception as error:
                if away(error) is None:
                    raise
                log.warning("secret_use.not_written", uses=len(accesses), error=type(error).__name__)
                with self._lock:
                    self._seen[internal_id] = [*accesses, *self._seen[internal_id]]

    def close(self) -> None:
        """Write the rest."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            self.write()

    def _write_until_closed(self) -> None:
        while not self._closing.wait(_WRITE_EVERY_SECONDS):
            self.write()


def _last_used(accesses: list[Access]) -> dict[str, datetime]:
    """When each secret was last used, to the minute."""
    latest: dict[str, datetime] = {}
    for access in accesses:
        if access.outcome == USED:
            minute = access.at.replace(second=0, microsecond=0)
            latest[access.secret_id] = max(minute, latest.get(access.secret_id, minute))
    return latest
