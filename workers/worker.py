"""The worker process (`python -m workers.worker`): Celery takes doorbells, the job driver does the work.

Celery carries wake-ups and nothing else: no results, no ETA, no retries. A thread pool, never prefork, because the
Ray driver does not survive a fork.
"""

import logging
import os
import socket
import threading
from datetime import datetime
from typing import Any

import structlog
from celery import Celery
from celery.signals import setup_logging, worker_shutting_down

from config.logging_setup import bind_unit_of_work, configure_logging, unbind_unit_of_work
from config.settings import Settings, settings_or_exit
from core.bootstrap import Services, build_services
from core.health import HEARTBEAT_SECONDS
from core.jobs.doorbell import JOBS_QUEUE, QUEUE_NAME, TASK_NAME, TRANSPORT_OPTIONS
from core.jobs.job import JobKind
from core.storage.abilities.first_start import trusted_or_exit
from core.storage.failures import is_backend_failure
from core.storage.redis import tls_options
from pipelines.runner import Runner
from workers.backends import worker_backends
from workers.drive_job import JobDriver
from workers.execution import RetrieverExecutor
from workers.index_rebuild import IndexRebuildExecutor
from workers.ingestion import IngestionExecutor
from workers.namespace_deletion import NamespaceDeletionExecutor
from workers.watch import LeaseWatch

log = structlog.get_logger(__name__)


def main() -> None:
    """Run until told to stop."""
    settings = settings_or_exit()
    configure_logging(settings, "worker")
    trusted_or_exit(settings)
    services = build_services(settings)
    runner = Runner(settings)
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


def celery_app(settings: Settings) -> Celery:
    """Celery as a doorbell: late acks, one message at a time, no results."""
    app = Celery("keystage", broker=settings.broker)
    app.conf.update(
        task_queues=[JOBS_QUEUE],
        task_default_queue=QUEUE_NAME,
        task_acks_late=True,
        task_acks_on_failure_or_timeout=True,
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        worker_pool="threads",
        worker_concurrency=settings.worker_slots,
        worker_redirect_stdouts=False,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # falsy means plain; Celery hands it to kombu as it is
        broker_use_ssl=tls_options(settings.broker, settings.redis_tls) or None,
        broker_transport_options={**TRANSPORT_OPTIONS, "restore_interval": 1},
        accept_content=["json"],
        task_serializer="json",
    )
    return app


def _keep_our_logging(**_: Any) -> None:
    """Celery leaves all of logging alone where somebody else sets it up; otherwise it changes the root's level."""
    logging.getLogger("celery").setLevel(logging.WARNING)


class Worker:
    """One worker process."""

    def __init__(self, services: Services, runner: Runner) -> None:
        self._services = services
        self._watch = LeaseWatch(services.settings.job_lease_seconds)
        self._beat_now = threading.Event()
        self._backends = worker_backends(services, runner, changed=self._beat_now.set)
        self._driver = JobDriver(
            services,
            self._watch,
            {
                JobKind.RETRIEVER: RetrieverExecutor(services, runner),
                JobKind.INGESTION: IngestionExecutor(services, runner),
                JobKind.NAMESPACE_DELETION: NamespaceDeletionExecutor(services, runner),
                JobKind.INDEX_REBUILD: IndexRebuildExecutor(services, runner),
            },
            self._backends,
        )
        self._heartbeats = services.heartbeats
        self._name = f"worker:{socket.gethostname()}:{os.getpid()}"
        self._started_at = services.clock.now()
        self._last_doorbell_at: datetime | None = None
        self._stopping = threading.Event()

    def run(self) -> None:
        """Consume doorbells in the main thread until a signal says stop; then hand running jobs back."""
        app = celery_app(self._services.settings)
        app.task(name=TASK_NAME)(self._answer_doorbell)
        worker_shutting_down.connect(self._shut_down, weak=False)
        setup_logging.connect(_keep_our_logging, weak=False)
        self._watch.start()
        self._backends.start()
        heartbeat = threading.Thread(target=self._beat_until_stopped, name="heartbeat", daemon=True)
        heartbeat.start()
        app.Worker(
            hostname=f"{self._name}@{socket.gethostname()}",
            # its banner is no line of a log
            quiet=True,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        ).start()
        self._stopping.set()
        self._backends.close()
        self._beat_now.set()
        heartbeat.join()
        self._heartbeats.leave(self._name)
        self._services.close()

    def _answer_doorbell(self, job_id: str, namespace_id: str) -> None:
        self._last_doorbell_at = self._services.clock.now()
        bind_unit_of_work({"namespace_id": namespace_id})
        try:
            self._driver.drive(job_id)
        except Exception as error:
            # the job is still due: its lease runs out and the sweeper rings again
            log.exception("doorbell.job_left_due", job_id=job_id, backend=is_backend_failure(error))
        finally:
            unbind_unit_of_work("namespace_id")

    def _shut_down(self, **_: Any) -> None:
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
                    "busy": self._watch.busy,
                    "slots": self._services.settings.worker_slots,
                    "started_at": self._started_at,
                    "last_doorbell_at": self._last_doorbell_at,
                },
            )
        except Exception as error:
            if not is_backend_failure(error):
                log.exception("heartbeat.broken")


if __name__ == "__main__":
    main()
