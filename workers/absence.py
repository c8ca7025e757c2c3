"""What becomes of a job whose backend is away: it waits, or fails at its age. The waiting itself is done by nobody."""

import random

import structlog

from config.settings import Settings
from core.backends.backend import TITLES, Backend
from core.backends.watch import BackendWatch
from core.clock import DatabaseClock
from core.errors import BackendAwayError
from core.jobs.away import FREE_TRIES, LONGEST_SECONDS, gives_up_at, needed, next_try
from core.jobs.job import MAINTENANCE, Decision, JobError, JobState
from core.jobs.lease import Lease
from workers.outcome import Wait
from workers.patience import Patience

log = structlog.get_logger(__name__)


class Absence:
    """Tells the outcome of a try that found, or would find, a backend away. Safe to use from several threads."""

    def __init__(self, settings: Settings, backends: BackendWatch, clock: DatabaseClock, patience: Patience) -> None:
        self._settings = settings
        self._backends = backends
        self._clock = clock
        self._patience = patience

    def foreseen(self, lease: Lease) -> Decision | Wait | None:
        """The outcome without a try, when it is known that one would be in vain."""
        away = sorted(self._backends.away(needed(lease.job)))
        return self._waits(lease, away[0], None) if away else None

    def met(self, lease: Lease, error: BackendAwayError) -> Decision | Wait | None:
        """The outcome of a try that ended so. None when it counts: the backend answers, so the job may be at fault.

        Maintenance is at no fault, and waits.
        """
        refused = self._is_there(error.backend)
        if refused and lease.job.kind not in MAINTENANCE and (error.silent or self._is_the_jobs(lease, error.backend)):
            return None
        return self._waits(lease, error.backend, error.spent, refused=refused)

    def _is_there(self, backend: Backend) -> bool:
        """Whether it answers its own probe."""
        # most are asked through Ray: without it nobody can tell. Asked now, so that the watch hears of it at once
        asked = {backend, Backend.RAY}
        return not self._backends.away({backend}) and all(self._backends.look(asked).values())

    def _is_the_jobs(self, lease: Lease, backend: Backend) -> bool:
        """Whether a refusal is more than a blink, after which the backend was back when it was asked."""
        return lease.refusals >= FREE_TRIES and self._backends.is_settled(backend, LONGEST_SECONDS)

    def _waits(self, lease: Lease, backend: Backend, spent: int | None, *, refused: bool = False) -> Decision | Wait:
        job, settings = lease.job, self._settings
        delay = next_try(lease.waits, job.awaited, random.random)
        if end := gives_up_at(job, settings.backend_wait_seconds, settings.execution_seconds):
            left = end - self._patience.until_done(self._clock.now)
            if left.total_seconds() <= 0:
                charge = min(job.spent if spent is None else spent, job.hold)
                return Decision(JobState.FAILED, charge=charge, error=JobError("backend_away", _gave_up(backend)))
            delay = min(delay, left)
        return Wait(backend, delay, spent, refused)


def _gave_up(backend: Backend) -> str:
    return f"{TITLES[backend]} does not answer, and the job has waited for it as long as it may."
