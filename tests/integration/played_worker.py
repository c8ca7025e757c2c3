"""A worker process that is real but for its stages: `python -m tests.integration.played_worker DIRECTORY`.

An execution ends at once. A batch ends when the file `end-<job id>` is in the directory, or `end-all`; it notes itself
in the file `begun` when it begins.
"""

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from config.logging_setup import configure_logging
from config.settings import load_settings
from core.bootstrap import Services, build_services
from core.jobs.job import Decision, JobState
from pipelines.runner import CallCancelledError, Runner
from workers import worker
from workers.backends import through_ray
from workers.watch import Watched

_LOOK_SECONDS = 0.02
_noting = threading.Lock()


class PlayedRunner(Runner):
    """Says that all is well, and reaches no Ray."""

    def probe_ray(self) -> None:
        """All is well."""

    def probe_vectors(self) -> None:
        """All is well."""

    def probe_inference(self) -> None:
        """All is well."""


def _played(run: Callable[[Watched], Decision]) -> Callable[[Services, Runner], Any]:
    return lambda _services, _runner: SimpleNamespace(run=run)


def _executed(watched: Watched) -> Decision:
    return Decision(JobState.SUCCEEDED, result={"document_count": 0})


def main(directory: Path) -> None:
    """Work until told to stop."""

    def ingested(watched: Watched) -> Decision:
        job_id = watched.lease.job.job_id
        with _noting, (directory / "begun").open("a") as begun:
            begun.write(f"{job_id}\n")
        while not ((directory / f"end-{job_id}").exists() or (directory / "end-all").exists()):
            if watched.stop.wait(_LOOK_SECONDS):
                raise CallCancelledError
        return Decision(JobState.SUCCEEDED, result={"documents_written": 0})

    for name, run in (("RetrieverExecutor", _executed), ("IngestionExecutor", ingested)):
        setattr(worker, name, _played(run))
    settings = load_settings()
    configure_logging(settings, "worker")
    runner = PlayedRunner(settings)
    worker.Worker(build_services(settings, through_ray=through_ray(runner)), runner).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
