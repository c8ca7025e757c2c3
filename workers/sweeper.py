"""The sweeper process (`python -m workers.sweeper`): rings again for what is due, frees orphan holds, signs audit logs,
sees that every deletion of a namespace has its job, and once after its start seals what an earlier version did not.

One sweeper leads at a time, by a lease in MongoDB; the others wait. It decides nothing about a job. It is the one
process that holds the key which signs audit checkpoints.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from types import FrameType

import structlog

from config.logging_setup import configure_logging
from config.settings import settings_or_exit
from core.backends.backend import Backend
from core.bootstrap import Services, build_checkpointer, build_services
from core.errors import BackendAwayError
from core.health import HEARTBEAT_SECONDS, SlotsFacts
from core.jobs.lane import Lane
from core.jobs.leadership import Leadership
from core.storage.abilities.first_start import trusted_or_exit
from core.storage.failures import away
from core.storage.scope import OrganizationScope
from core.tenancy.tenant import Organization

_INTERVAL_SECONDS = 1.0
_RING_AFTER = timedelta(seconds=1)
"""A job that became due just now has most likely been rung for by intake."""
_ORPHAN_AFTER = timedelta(seconds=60)
"""A hold without a job is orphaned after this long; intake takes milliseconds between the two."""
_ORPHAN_INTERVAL_SECONDS = 10.0
_ORPHAN_WINDOW = timedelta(hours=24)
_ORPHAN_PAGE = 500
_CHECKPOINT_INTERVAL_SECONDS = 10.0
_DELETION_INTERVAL_SECONDS = 5.0
_SEALED_A_ROUND = 100
"""Organizations whose webhooks are looked at in one round."""

log = structlog.get_logger(__name__)


class Sweeper:
    """What the leading sweeper does."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._name = f"sweeper:{socket.gethostname()}:{os.getpid()}"
        self._leadership = Leadership(services.handles, services.clock, "sweeper", self._name)
        self._heartbeats = services.heartbeats
        self._beat_at = 0.0
        self._orphans_at = 0.0
        self._holds_checked_until: datetime | None = None
        self._checkpointer = build_checkpointer(services)
        self._checkpoints_at = 0.0
        self._checkpoints_wait = False
        """whether the object storage was away at the last try"""
        self._deletions_at = 0.0
        self._missed: Backend | None = None
        """because of whose absence the last round ended"""
        self._to_seal: Iterator[Organization] | None = None
        self._all_sealed = False
        if self._checkpointer is None:
            log.warning("sweeper.no_audit_signing_key", hint="set KEYSTAGE_AUDIT_SIGNING_KEY: nothing vouches for logs")

    def round(self) -> None:
        """One round, whatever comes of it: the next one looks at everything again."""
        absent = None
        try:
            self.sweep()
        except Exception as error:
            absent = away(error)
            if absent is None:
                log.exception("sweeper.round_broken")
        self._note(absent)

    def _note(self, absent: BackendAwayError | None) -> None:
        """Say for which backend, if for any, the round could not be ended."""
        missed, self._missed = self._missed, absent.backend if absent else None
        if missed and missed is not self._missed:
            self._services.absences.note(missed, self, away=False)
        if absent:
            self._services.absences.note(absent.backend, self, away=True, why=absent.message)

    def sweep(self) -> None:
        """One round: heartbeat, and, when leading, rings and orphans."""
        leads = self._leadership.hold()
        self._beat(leads)
        if not leads:
            return
        self.ring_for_due_jobs()
        if time.monotonic() - self._orphans_at > _ORPHAN_INTERVAL_SECONDS:
            self._orphans_at = time.monotonic()
            self.release_orphan_holds()
        if time.monotonic() - self._checkpoints_at > _CHECKPOINT_INTERVAL_SECONDS:
            self._checkpoints_at = time.monotonic()
            self.sign_audit_logs()
        if time.monotonic() - self._deletions_at > _DELETION_INTERVAL_SECONDS:
            self._deletions_at = time.monotonic()
            self.resume_deletions()
        if not self._all_sealed:
            self.seal_clear_headers()

    def ring_for_due_jobs(self) -> int:
        """Ring for jobs that stay due, in each lane at most twice its slots; how many rings."""
        return sum(map(self._ring_in, Lane))

    def _ring_in(self, lane: Lane) -> int:
        cap = 2 * self._slots(lane)
        waiting = self._services.doorbell.waiting(lane)
        if waiting is None or waiting >= cap:
            return 0
        overdue = self._services.clock.now() - _RING_AFTER
        due = [job for job in self._services.queue.due(4 * cap, lane.kinds) if job.due_at <= overdue]
        ring = self._services.doorbell.ring
        rung = sum(ring(lane, job.job_id, job.namespace_id) for job in due[: cap - waiting])
        if rung:
            log.info("sweeper.rang", lane=lane.value, rung=rung, due=len(due))
        return rung

    def release_orphan_holds(self) -> int:
        """Release holds older than a minute whose job was never recorded; how many."""
        end = self._services.clock.now() - _ORPHAN_AFTER
        start = self._holds_checked_until or end - _ORPHAN_WINDOW
        holds = self._services.ledger.holds_between(start, end, _ORPHAN_PAGE)
        owned = self._services.queue.holds_of([hold.job_id for hold in holds if hold.job_id])
        orphans = [hold for hold in holds if hold.hold_id not in owned]
        for hold in orphans:
            entries = self._services.ledger.entries_of(OrganizationScope(hold.internal_id), str(hold.hold_id))
            if not any(entry.closes_hold for entry in entries):
                self._services.ledger.release(OrganizationScope(hold.internal_id), hold)
                log.warning("sweeper.orphan_hold_released", job_id=hold.hold_id, amount=hold.amount)
        # a full page may have left holds of the same window unread: come back to where it ended
        self._holds_checked_until = max(hold.at for hold in holds) if len(holds) == _ORPHAN_PAGE else end
        return len(orphans)

    def sign_audit_logs(self) -> int:
        """Make the audit checkpoints that are due; how many. While the object storage is away they wait, which is said
        once: the rest of the round goes on."""
        try:
            made = len(self._checkpointer.run()) if self._checkpointer else 0
        except BackendAwayError as error:
            if not self._checkpoints_wait:
                log.warning("sweeper.audit_checkpoints_wait", backend=error.backend.value, error=error.message)
            self._checkpoints_wait = True
            return 0
        if self._checkpoints_wait:
            log.warning("sweeper.audit_checkpoints_go_on", made=made)
        self._checkpoints_wait = False
        return made

    def resume_deletions(self) -> int:
        """Submit the job of each deletion that has none, or whose job failed; how many."""
        resumed = sum(map(self._services.deletions.resume, self._services.namespaces.deletions()))
        if resumed:
            log.warning("sweeper.deletions_resumed", resumed=resumed)
        return resumed

    def seal_clear_headers(self) -> int:
        """Seal webhooks' header values that an earlier version stored in clear, some organizations a round; how many
        webhooks. Interrupted, it begins again with the first."""
        rest, self._to_seal = self._to_seal or iter(self._services.organizations.list()), None
        some = list(islice(rest, _SEALED_A_ROUND))
        sealed = sum(self._services.webhooks.seal_clear_headers(organization.scope) for organization in some)
        self._to_seal, self._all_sealed = rest, not some
        if sealed:
            log.info("sweeper.webhook_headers_sealed", webhooks=sealed)
        return sealed

    def _slots(self, lane: Lane) -> int:
        said = (SlotsFacts.of(worker, lane) for worker in self._heartbeats.fresh("worker"))
        settings = self._services.settings
        own = settings.interactive_slots if lane is Lane.INTERACTIVE else settings.batch_slots
        return sum(facts.slots for facts in said if facts) or own

    def _beat(self, leads: bool) -> None:
        if time.monotonic() - self._beat_at > HEARTBEAT_SECONDS:
            self._beat_at = time.monotonic()
            waiting = self._services.queue.waiting() if leads else {}
            self._heartbeats.beat(self._name, "sweeper", {"leads": leads, "waiting": waiting})

    def leave(self) -> None:
        """Give the lead up at once, so that another sweeper need not wait for the lease to end."""
        self._leadership.give_up()
        self._heartbeats.leave(self._name)


def main() -> None:
    """Run until told to stop."""
    settings = settings_or_exit()
    configure_logging(settings, "sweeper")
    trusted_or_exit(settings)
    services = build_services(settings)
    sweeper = Sweeper(services)
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    while not stopping.wait(_INTERVAL_SECONDS):
        sweeper.round()
    sweeper.leave()
    services.close()


if __name__ == "__main__":
    main()
