"""A worker that SIGKILL ends between two pages of a rebuilding: `python -m tests.integration.killed_rebuilder JOB`."""

import os
import signal
import sys

from config.settings import load_settings
from core.bootstrap import build_services
from core.jobs.job import JobKind
from core.storage.scope import NamespaceScope
from core.tenancy.index_rebuild import IndexRebuilds
from core.tenancy.tenant import IndexRebuild
from pipelines.runner import Runner
from workers.drive_job import JobDriver
from workers.index_rebuild import IndexRebuildExecutor
from workers.watch import LeaseWatch


def main(job_id: str) -> None:
    """Drive the job and die after its first page."""
    original = IndexRebuilds.note

    def note(self: IndexRebuilds, scope: NamespaceScope, rebuild: IndexRebuild) -> None:
        original(self, scope, rebuild)
        os.kill(os.getpid(), signal.SIGKILL)

    IndexRebuilds.note = note  # type: ignore[method-assign]
    settings = load_settings()
    services = build_services(settings)
    executor = IndexRebuildExecutor(services, Runner(settings))
    JobDriver(services, LeaseWatch(1), {JobKind.INDEX_REBUILD: executor}).drive(job_id)


if __name__ == "__main__":
    main(sys.argv[1])
