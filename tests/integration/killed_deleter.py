"""A worker that SIGKILL ends in the middle of a deletion: `python -m tests.integration.killed_deleter JOB`."""

import os
import signal
import sys
from collections.abc import Iterator

from config.settings import load_settings
from core.bootstrap import build_services
from core.jobs.job import JobKind
from core.storage.scope import NamespaceScope
from core.tenancy.namespace_contents import NamespaceContents
from pipelines.runner import Runner
from workers.drive_job import JobDriver
from workers.namespace_deletion import NamespaceDeletionExecutor
from workers.watch import LeaseWatch

CHUNKS = 3
"""How many chunks of records it removes before it is killed."""


def main(job_id: str) -> None:
    """Drive the job and die."""
    original = NamespaceContents.remove

    def remove(self: NamespaceContents, scope: NamespaceScope) -> Iterator[tuple[str, int]]:
        for number, chunk in enumerate(original(self, scope), start=1):
            yield chunk
            if number == CHUNKS:
                os.kill(os.getpid(), signal.SIGKILL)

    NamespaceContents.remove = remove  # type: ignore[method-assign]
    settings = load_settings()
    services = build_services(settings)
    executor = NamespaceDeletionExecutor(services, Runner(settings))
    JobDriver(services, LeaseWatch(1), {JobKind.NAMESPACE_DELETION: executor}).drive(job_id)


if __name__ == "__main__":
    main(sys.argv[1])
