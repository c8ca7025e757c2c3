"""The worker process (`python -m workers.worker`): Celery listens for doorbells, the slots of two lanes drive the jobs.

Celery carries wake-ups and nothing else: no tasks, no results, no retries. The slots are threads, never processes,
because the Ray driver does not survive a fork.
"""

import logging
import os
import socket
import threading
from typing import Any

import structlog
from celery.signals import setup_logging, worker_shutting_down

from config.logging_setup import configure_logging
from config.settings import settings_or_exit
from core.bootstrap import Services, build_services
from core.health import HEARTBEAT_SECONDS
from core.jobs.doorbell_message import Rung
from core.jobs.job import JobKind
from core.jobs.lane import Lane
from core.storage.abilities.first_start import trusted_or_exit
from core.storage.failures import away
from pipelines.runner import Runner
from workers.backends import through_ray
from workers.drive_job import JobDriver
from workers.execution import RetrieverExecutor
from workers.index_rebuild import IndexRebuildExecutor
from workers.ingestion import IngestionExecutor
from workers.lane import LaneSlots
from workers.listener import Listener
from workers.namespace_deletion import NamespaceDeletionExecutor
from workers.watch import LeaseWatch

log = structlog.get_logger(__name__)


def main() -> None:
    """Run until told to stop."""
    settings = settings_or_exit()
    configure_logging(settings, "worker")
    trusted_or_exit(settings)
    runner = Runner(settings)
    services = build_services(settings, through_ray=through_ray(runner))
    _attach_in_a_thread(runner)
    Worker(services, runner).run()
    _leave()


def _leave() -> None:
    """End now that nothing is owed: Python's own end would take Ray's leave for seconds, and the cluster sees us go."""
    logging.shutdown()
    os._exit(0)


def _attach_in_a_thread(runner: Runner) -> None:
    """Attach to Ray outside the main thread, where Ray would take over SIGTERM, and prove that an actor answers."""
    failures: list[BaseException] = []

    def attach() -> None:
        try:
            runner.attach()
            runner.self_test()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=attach, name="ray-attach")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def _keep_our_logging(**_: Any) -> None:
    """Celery leaves all of logging alone where somebody else sets it up; otherwise it changes the root's level."""
    logging.getLogger("celery").setLevel(logging.WARNING)
    # it warns of a broker that is away, which the listener says
    logging.getLogger("celery.worker.consumer.consumer").setLevel(logging.ERROR)


class Worker:
    """One worker process."""

    def __init__(self, services: Services, runner: Runner) -> None:
        self._services = services
        self._watch = LeaseWatch(services.settings.job_lease_seconds)
        self._beat_now = threading.Event()
        self._backends = services.backends
        self._backends.on_change(self._beat_now.set)
        self._driver = JobDriver(
            services,
            self._watch,
            {
                JobKind.RETRIEVER: RetrieverExecutor(services, runner),
                JobKind.INGESTION: IngestionExecutor(services, runner),
                JobKind.NAMESPACE_DELETION: NamespaceDeletionExecutor(services, runner),
                JobKind.INDEX_REBUILD: IndexRebuildExecutor(services, runner),
            },
        )
        self._heartbeats = services.heartbeats
        self._name = f"worker:{socket.gethostname()}:{os.getpid()}"
        settings = services.settings
        slots = {Lane.INTERACTIVE: settings.interactive_slots, Lane.BATCH: settings.batch_slots}
        self._lanes = {lane: self._lane(lane, number) for lane, number in slots.items()}
        self._listener = Listener(settings, self._hear, services.absences)
        self._stopping = threading.Event()

    def run(self) -> None:
        """Take jobs until a signal says stop; then hand running ones back."""
        worker_shutting_down.connect(self._shut_down, weak=False)
        setup_logging.connect(_keep_our_logging, weak=False)
        self._watch.start()
        self._backends.start()
        heartbeat = threading.Thread(target=self._beat_until_stopped, name="heartbeat", daemon=True)
        heartbeat.start()
        # a job that began before Celery hears signals would not be handed back at one
        self._listener.listen(f"{self._name}@{socket.gethostname()}", ready=self._start_lanes)
        self._shut_down()
        for lane in self._lanes.values():
            lane.join()
        self._stopping.set()
        self._beat_now.set()
        heartbeat.join()
        self._heartbeats.leave(self._name)
        self._services.close()

    def _lane(self, lane: Lane, slots: int) -> LaneSlots:
        def look(limit: int) -> list[str]:
            return [job.job_id for job in self._services.queue.due(limit, lane.kinds)]

        return LaneSlots(lane, slots, look, self._driver.drive)

    def _start_lanes(self) -> None:
        for lane in self._lanes.values():
            lane.start()

    def _hear(self, rung: Rung) -> None:
        self._lanes[rung.lane].hear(rung.job_id)

    def _shut_down(self, **_: Any) -> None:
        for lane in self._lanes.values():
            lane.stop()
        self._watch.shut_down()

    def _beat_until_stopped(self) -> None:
        while not self._stopping.is_set():
            self._beat_now.clear()
            self._beat()
            # at once when a backend went away or came back: intake believes what stands there
            self._beat_now.wait(HEARTBEAT_SECONDS)

    def _beat(self) -> None:
        try:
            self._heartbeats.beat(
                self._name,
                "worker",
                {
                    "away": sorted(self._backends.away()),
                    "ended": dict(self._driver.ended),
                    "waited": dict(self._driver.waited),
                    "lanes": {lane.value: slots.facts.document() for lane, slots in self._lanes.items()},
                    "doorbells_dropped": self._listener.dropped,
                },
            )
        except Exception as error:
            if away(error) is None:
                log.exception("heartbeat.broken")


if __name__ == "__main__":
    main()
