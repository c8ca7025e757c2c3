"""Says when the disk of the data directory is full, and when it has room again: once each, not at every look."""

import time

import structlog

from cli.stack.layout import DataDirectory
from core.storage.disk import FULL_BELOW_BYTES, free_bytes

_INTERVAL_SECONDS = 5.0

log = structlog.get_logger(__name__)


class DiskWatch:
    """Looks every five seconds at most, when it is asked to."""

    def __init__(self, layout: DataDirectory, interval_seconds: float = _INTERVAL_SECONDS) -> None:
        self._root = layout.root
        self._interval = interval_seconds
        self._looked_at = float("-inf")
        self._full = False

    def look(self) -> None:
        """Write a line when the disk filled up or was freed since the last look."""
        if time.monotonic() - self._looked_at < self._interval:
            return
        self._looked_at = time.monotonic()
        free = free_bytes(self._root)
        was_full, self._full = self._full, free < FULL_BELOW_BYTES
        if self._full and not was_full:
            log.error("disk.full", path=str(self._root), free_bytes=free, hint="free some: nothing can be stored")
        elif was_full and not self._full:
            log.info("disk.has_room", path=str(self._root), free_bytes=free)
