"""Records what requests do: before the effect where that must be certain, after it, or beside it for reads.

It decides how and never whether an action is allowed: except that what must be recorded and cannot be is refused.
Nothing is dropped in silence: what could not be kept is counted and logged.
"""

import queue
import threading
import time
from dataclasses import dataclass, replace

import structlog

from core.audit.actions import ACCESS, FAIL_CLOSED
from core.audit.entry import AuditRecord, AuditStatus
from core.audit.trail import AuditTrail
from core.errors import UnavailableError
from core.storage.failures import away
from core.storage.scope import OrganizationScope

_QUEUE = 10_000
_DENIALS_A_MINUTE = 100
"""Denials of one key that are recorded one by one; further ones of the same minute are added up."""
_TICK_SECONDS = 1.0
_CLOSE_SECONDS = 10.0

log = structlog.get_logger(__name__)


@dataclass
class _Flood:
    """One key's denials in one minute."""

    scope: OrganizationScope
    minute: int
    seen: int = 0
    rest: AuditRecord | None = None
    """the newest one that was only added up, with how many it stands for"""


class Recorder:
    """Records for one process. Safe to use from several threads."""

    def __init__(self, trail: AuditTrail, queue_size: int = _QUEUE) -> None:
        self._trail = trail
        self._queue: queue.Queue[tuple[OrganizationScope, AuditRecord]] = queue.Queue(queue_size)
        self._lock = threading.Lock()
        self._floods: dict[str, _Flood] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.dropped = 0
        """entries that could not be kept"""

    def before(self, scope: OrganizationScope, record: AuditRecord) -> None:
        """Announce an action that must not happen unrecorded. Raises UnavailableError: then refuse the action."""
        if record.action not in FAIL_CLOSED:
            return
        try:
            self._trail.append(scope, replace(record, status=AuditStatus.ATTEMPTED))
        except Exception as error:
            if away(error) is None and not isinstance(error, UnavailableError):
                raise
            log.error("audit.refused_unrecorded", action=record.action.value, error=type(error).__name__)
            raise UnavailableError("The audit log cannot be written, so this was not done.") from error

    def after(self, scope: OrganizationScope, record: AuditRecord, *, read_auditing: bool) -> None:
        """Record what became of an action. Reads and executions only when the organization asked for it."""
        if record.action not in ACCESS:
            self._keep(scope, record)
        elif read_auditing:
            self._ensure_thread()
            try:
                self._queue.put_nowait((scope, record))
            except queue.Full:
                self._drop(record, "queue full")

    def denied(self, scope: OrganizationScope, record: AuditRecord) -> None:
        """Record that something was not allowed. A flood from one key becomes entries that say how many they are."""
        key, minute = f"{scope.internal_id} {record.actor.actor_id}", _minute()
        with self._lock:
            flood = self._floods.get(key)
            ended = flood if flood and flood.minute != minute else None
            if flood is None or ended:
                flood = self._floods[key] = _Flood(scope, minute)
            flood.seen += 1
            alone = flood.seen <= _DENIALS_A_MINUTE
            if not alone:
                flood.rest = replace(record, count=flood.rest.count + 1 if flood.rest else 1)
        if ended:
            self._keep_rest(ended)
        # which also forgets those whose minute is over
        self._ensure_thread()
        if alone:
            self._keep(scope, record)

    def close(self) -> None:
        """Record what waits, then stop."""
        self._stopping.set()
        if self._thread:
            self._thread.join(_CLOSE_SECONDS)
        self._drain()
        self._end_floods(everything=True)

    def _ensure_thread(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="audit-recorder", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        looked_at = time.monotonic()
        while not self._stopping.is_set():
            try:
                self._keep(*self._queue.get(timeout=_TICK_SECONDS))
            except queue.Empty:
                looked_at = 0.0
            if time.monotonic() - looked_at > _TICK_SECONDS:
                looked_at = time.monotonic()
                self._end_floods()

    def _drain(self) -> None:
        while True:
            try:
                self._keep(*self._queue.get_nowait())
            except queue.Empty:
                return

    def _end_floods(self, everything: bool = False) -> None:
        """Record the sums of minutes that are over."""
        minute = _minute()
        with self._lock:
            over = [key for key, flood in self._floods.items() if everything or flood.minute != minute]
            floods = [self._floods.pop(key) for key in over]
        for flood in floods:
            self._keep_rest(flood)

    def _keep_rest(self, flood: _Flood) -> None:
        if flood.rest:
            self._keep(flood.scope, flood.rest)

    def _keep(self, scope: OrganizationScope, record: AuditRecord) -> None:
        """Record; what fails is counted and logged, for its effect stands already."""
        try:
            self._trail.append(scope, record)
        except Exception as error:
            self._drop(record, type(error).__name__, None if away(error) else error)

    def _drop(self, record: AuditRecord, why: str, fault: Exception | None = None) -> None:
        with self._lock:
            self.dropped += record.count
            dropped = self.dropped
        facts = {"action": record.action.value, "status": record.status.value, "why": why, "dropped": dropped}
        log.error("audit.entry_dropped", exc_info=fault, **facts)


def _minute() -> int:
    return int(time.monotonic() // 60)
