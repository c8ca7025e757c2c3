"""Keeps the leases of running jobs alive, and tells a job when to stop. It never ends a job itself."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

import structlog

from core.jobs.lease import Lease
from core.storage.failures import away
from core.storage.mongo import within
from workers.patience import Patience

log = structlog.get_logger(__name__)

_LONGEST_BEAT_SECONDS = 2.0
"""A cancel reaches a running stage at the next heartbeat, so heartbeats come at least this often."""


class StopReason(StrEnum):
    """Why a running job must stop."""

    CANCELLED = "cancelled"
    LEASE_LOST = "lease lost"
    SHUTDOWN = "shutdown"
    TIMED_OUT = "timed out"


@dataclass
class Watched:
    """One running job: `stop` is set when it must stop, and `reason` says why."""

    lease: Lease
    until: float
    """when it has run for too long, by this process's monotonic clock"""
    patience: Patience
    """repeats this job's writes while MongoDB is away"""
    stop: threading.Event = field(default_factory=threading.Event)
    reason: StopReason | None = None
    kept_at: float = field(default_factory=time.monotonic)
    """when its lease was prolonged last, or could not be because MongoDB was away"""

    def tell_stop(self, reason: StopReason) -> None:
        """Ask the job to stop; the first reason stays."""
        self.reason = self.reason or reason
        self.stop.set()


class LeaseWatch:
    """One thread that sends the heartbeats of all jobs of this worker."""

    def __init__(self, lease_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self._interval = min(lease_seconds / 4, _LONGEST_BEAT_SECONDS)
        self._by_id: dict[int, Watched] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self.patience = Patience(self._closing)
        self._thread = threading.Thread(target=self._beat_until_closed, name="lease-watch", daemon=True)

    def start(self) -> None:
        """Begin to send heartbeats."""
        self._thread.start()

    @property
    def busy(self) -> int:
        """Jobs running now."""
        return len(self._by_id)

    def drives(self, job_id: str) -> bool:
        """Whether the job runs here, so that it need not be claimed however long MongoDB was away."""
        mine = [watched for watched in self._snapshot() if watched.lease.job.job_id == job_id]
        return any(watched.reason is not StopReason.LEASE_LOST for watched in mine)

    @contextmanager
    def over(self, lease: Lease, seconds: float = math.inf) -> Iterator[Watched]:
        """Keep this lease alive while the block runs, which has so many seconds before it is told to stop."""
        watched = Watched(lease, time.monotonic() + seconds, self.patience)
        with self._lock:
            self._by_id[id(watched)] = watched
        if self._closing.is_set():
            watched.tell_stop(StopReason.SHUTDOWN)
        try:
            yield watched
        finally:
            with self._lock:
                del self._by_id[id(watched)]

    def shut_down(self) -> None:
        """Ask every running job to stop; their leases stay alive until they did."""
        self._closing.set()
        for watched in self._snapshot():
            watched.tell_stop(StopReason.SHUTDOWN)

    def _snapshot(self) -> list[Watched]:
        with self._lock:
            return list(self._by_id.values())

    def _beat_until_closed(self) -> None:
        while not (self._closing.is_set() and not self._by_id):
            time.sleep(self._interval)
            self._beat_all()

    def _beat_all(self) -> None:
        all_watched, mongo_answers = self._snapshot(), True
        for watched in all_watched:
            if time.monotonic() > watched.until:
                watched.tell_stop(StopReason.TIMED_OUT)
        for watched in all_watched:
            # one silence is enough to know of
            mongo_answers = mongo_answers and self._beat(watched)
            if not mongo_answers:
                # the fence says later who has the job; the time that went by does not
                watched.kept_at = time.monotonic()

    def _beat(self, watched: Watched) -> bool:
        """Prolong one lease; False when MongoDB is away."""
        try:
            # a database that is slow is not away: half a lease is as long as there is time
            with within(max(_LONGEST_BEAT_SECONDS, self._lease_seconds / 2)):
                self._prolong(watched)
        except Exception as error:
            if away(error):
                return False
            log.exception("heartbeat.broken", job_id=watched.lease.job.job_id)
            if time.monotonic() - watched.kept_at > self._lease_seconds:
                # the lease has run out unseen: somebody else may have the job by now
                watched.tell_stop(StopReason.LEASE_LOST)
        return True

    def _prolong(self, watched: Watched) -> None:
        if watched.lease.heartbeat():
            watched.kept_at = time.monotonic()
        elif watched.lease.cancel_requested():
            watched.tell_stop(StopReason.CANCELLED)
        else:
            watched.tell_stop(StopReason.LEASE_LOST)
