"""How a job bears a backend that is away: which ones it needs, when it is tried again, when it gives up. Pure.

`docs/job-states.md` says the same to those who watch jobs.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from core.backends.backend import Backend
from core.backends.needs import of_execution
from core.jobs.job import MAINTENANCE, Job, JobKind

LONGEST_SECONDS = 30.0
"""Between two tries, however long a backend has been away."""
FREE_TRIES = 12
"""In a row, at a backend that refuses the job and answers its own probe, before each further one is an attempt.
They take three minutes: a store or an endpoint that is overloaded refuses for so long, and still answers a probe."""
_FIRST_SECONDS = 0.5
_AWAITED_SECONDS = 2.0
"""Before a job that an API thread waits for is tried again: the thread takes it back first."""
_RAY, _VECTORS = Backend.RAY, Backend.VECTORS


def needed(job: Job) -> frozenset[Backend]:
    """The backends without which a try is in vain, whatever the job holds; others it may need or not."""
    match job.kind:
        case JobKind.INGESTION:
            return frozenset({_RAY, _VECTORS, Backend.EMBEDDER})
        case JobKind.NAMESPACE_DELETION:
            return frozenset({_RAY, _VECTORS, Backend.BLOBS})
        case JobKind.INDEX_REBUILD:
            return frozenset({_RAY, _VECTORS})
        case JobKind.RETRIEVER:
            # the data key may still be in memory, and where there are no collections some stages read nothing
            in_doubt = {Backend.KEY_SERVICE} if job.spec.get("collection_ids") else {Backend.KEY_SERVICE, _VECTORS}
            return of_execution(job.spec.get("stages", ())) - in_doubt


def next_try(waits: int, awaited: bool, chance: Callable[[], float]) -> timedelta:
    """How long after a job's wait number `waits` + 1 it is due: half a second, doubled with each, at most 30 s.

    `chance` gives 0 to 1, by which up to a half is taken off, so that jobs which met the absence together come apart.
    """
    whole = min(_FIRST_SECONDS * 2 ** min(waits, 16), LONGEST_SECONDS)
    seconds = whole * (1 - chance() / 2)
    return timedelta(seconds=max(seconds, _AWAITED_SECONDS) if awaited else seconds)


def gives_up_at(job: Job, backend_wait_seconds: float, execution_seconds: float) -> datetime | None:
    """When a job that still waits then fails; None for maintenance, which nobody else would do."""
    if job.kind in MAINTENANCE:
        return None
    seconds = execution_seconds if job.kind is JobKind.RETRIEVER else backend_wait_seconds
    return job.created_at + timedelta(seconds=seconds)
