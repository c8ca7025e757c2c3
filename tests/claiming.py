"""Takes a job that is due at once, as soon as the database agrees that it is."""

import time

from core.jobs.lease import Lease
from core.jobs.queue import JobQueue

_PATIENCE_SECONDS = 5.0


def claimed(queue: JobQueue, job_id: str, owner: str) -> Lease:
    """The job's lease. The clock by which it was made due is an estimate, and may be ahead of the database's own."""
    give_up_at = time.monotonic() + _PATIENCE_SECONDS
    while not (lease := queue.claim(job_id, owner)):
        assert time.monotonic() < give_up_at, "the job cannot be claimed"
        time.sleep(0.01)
    return lease
