"""Starts the services of a stack in the order of their needs, restarts what crashes, and stops everything at the end.

One thread, one loop. It knows services only by their values in `services.py`.
"""

import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from cli.stack.disk_watch import DiskWatch
from cli.stack.layout import DataDirectory, write_json
from cli.stack.process import Child, Marks, kill_all, last_lines, put_aside_large_log, start_process
from cli.stack.services import STOP_ORDER, Service
from cli.stack.worker_watch import WorkerWatch
from core.errors import UnavailableError
from core.outgoing import rfc3339
from core.storage.disk import in_words

_LOOP_SECONDS = 0.1
_BACKOFF_FIRST_SECONDS, _BACKOFF_LAST_SECONDS = 0.2, 10.0
_HEALTHY_SECONDS = 30.0
"""A process that lived this long is healthy: its next crash starts the backoff anew, and it may be judged stalled."""
_ASKED_TO_END = {
    0,
    *(code for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP) for code in (-number, 128 + number)),
}
"""How a process ends that somebody stopped on purpose; a shell in between adds 128."""
_SAME_STOP_SECONDS = 0.5
"""A service manager stops the supervisor and its children alike; whose signal comes first is chance."""

log = structlog.get_logger(__name__)


class StartFailedError(UnavailableError):
    """A service of the stack did not start."""


@dataclass
class _Supervised:
    """A service and its process, now and before."""

    service: Service
    child: Child | None = None
    started_at: str = ""
    restarts: int = 0
    works: bool = False
    backoff: float = _BACKOFF_FIRST_SECONDS
    start_at: float | None = None
    """When to start it again, on the monotonic clock; None while it runs."""
    kill_at: float | None = None
    """When its grace ends, on the monotonic clock, after it was asked to end."""

    @property
    def age(self) -> float:
        """Seconds since the running process was started."""
        return time.monotonic() - self.child.started_at if self.child else 0.0


class Supervisor:
    """The life of one stack: `start`, `watch` until told to stop, `stop`."""

    def __init__(
        self,
        layout: DataDirectory,
        services: Sequence[Service],
        worker_watch: WorkerWatch,
        healthy_seconds: float = _HEALTHY_SECONDS,
    ) -> None:
        self._layout = layout
        self._marks = Marks(layout)
        self._supervised = {service.name: _Supervised(service) for service in services}
        self._worker_watch = worker_watch
        self._disk_watch = DiskWatch(layout)
        self._healthy_seconds = healthy_seconds

    def start(self, stopping: threading.Event) -> bool:
        """Start all services and wait until each works; False when told to stop before that.

        Raises StartFailedError when one ends or does not work in its time.
        """
        while not stopping.is_set():
            working = {name for name, each in self._supervised.items() if each.works}
            if len(working) == len(self._supervised):
                return True
            for each in self._supervised.values():
                if each.child is None and each.service.needs & self._supervised.keys() <= working:
                    self._spawn_first(each)
                elif not stopping.is_set():
                    self._look_at_start(each, stopping)
            stopping.wait(_LOOP_SECONDS)
        return False

    def watch(self, stopping: threading.Event) -> None:
        """Restart what crashes, until told to stop."""
        self._worker_watch.start()
        while not stopping.wait(_LOOP_SECONDS):
            for each in self._supervised.values():
                # what ends from now on was told to
                if not stopping.is_set():
                    self._look_after(each)
            self._restart_stalled_worker()
            self._disk_watch.look()

    def stop(self, at_once: threading.Event | None = None) -> None:
        """End every process of the stack, users of a backend before the backend, and report what had to be killed.

        Once `at_once` is set, nothing is waited for.
        """
        for group in STOP_ORDER:
            ended = [self._supervised[name] for name in group if name in self._supervised]
            self._end_group(ended, at_once or threading.Event())
        leftovers = self._marks.processes()
        if leftovers:
            log.warning("stack.leftovers_killed", pids=[process.pid for process in leftovers])
            kill_all(leftovers)
        self._write_processes()

    def _spawn_first(self, each: _Supervised) -> None:
        each.service.before_first()
        try:
            self._spawn(each)
        except OSError as error:
            raise StartFailedError(f"{each.service.name} was not started: {in_words(error)}") from error

    def _look_at_start(self, each: _Supervised, stopping: threading.Event) -> None:
        service, child = each.service, each.child
        if child is None:
            return
        if child.exit_code is not None:
            if child.exit_code in _ASKED_TO_END and stopping.wait(_SAME_STOP_SECONDS):
                return
            raise self._start_failed(service, f"ended with {child.exit_code}")
        if each.works:
            return
        if service.works(child.pid):
            each.works = True
            log.info("service.ready", service=service.name, pid=child.pid, seconds=round(each.age, 1))
        elif each.age > service.start_seconds:
            raise self._start_failed(service, f"did not work within {service.start_seconds:.0f} s")

    def _start_failed(self, service: Service, what: str) -> StartFailedError:
        path = self._layout.logs / f"{service.name}.log"
        return StartFailedError(f"{service.name} {what}; the end of {path}:\n{last_lines(path)}", service=service.name)

    def _look_after(self, each: _Supervised) -> None:
        now = time.monotonic()
        if each.start_at is not None:
            if now >= each.start_at:
                self._spawn_again(each)
        elif each.child and each.child.exit_code is not None:
            self._plan_restart(each, each.child.exit_code)
        elif each.child and each.kill_at is not None and now >= each.kill_at:
            each.child.popen.kill()

    def _spawn_again(self, each: _Supervised) -> None:
        try:
            self._spawn(each, restarts=each.restarts + 1)
        except OSError as error:
            # a full disk, most likely: the stack outlives it, and goes on when there is room
            log.error("service.not_started", service=each.service.name, error=in_words(error))
            each.start_at = time.monotonic() + each.backoff
            each.backoff = min(2 * each.backoff, _BACKOFF_LAST_SECONDS)

    def _plan_restart(self, each: _Supervised, exit_code: int) -> None:
        if each.age > self._healthy_seconds:
            each.backoff = _BACKOFF_FIRST_SECONDS
        # what it started may still hold its port
        kill_all(self._marks.processes(each.service.name))
        on_purpose = each.kill_at is not None or exit_code in _ASKED_TO_END
        say = log.warning if on_purpose else log.error
        say(
            "service.ended" if on_purpose else "service.crashed",
            service=each.service.name,
            exit_code=exit_code,
            lived_seconds=round(each.age, 1),
            restart_in_seconds=each.backoff,
            restarts=each.restarts,
        )
        each.start_at, each.kill_at = time.monotonic() + each.backoff, None
        each.backoff = min(2 * each.backoff, _BACKOFF_LAST_SECONDS)

    def _restart_stalled_worker(self) -> None:
        worker = self._supervised.get("worker")
        if worker is None or worker.child is None or worker.start_at is not None or worker.kill_at is not None:
            return
        # a young worker has not had the time to answer, and the heartbeat of the one before is still there
        if worker.age > self._healthy_seconds and self._worker_watch.sees_stall:
            log.error("worker.stalled", pid=worker.child.pid)
            worker.child.popen.terminate()
            worker.kill_at = time.monotonic() + worker.service.stop_seconds

    def _spawn(self, each: _Supervised, restarts: int = 0) -> None:
        """Raises OSError when the machine has no room for it; then nothing has changed."""
        service = each.service
        service.prepare()
        path = self._layout.logs / f"{service.name}.log"
        put_aside_large_log(path)
        environment = {**service.environment, **self._marks.environment(service.name)}
        each.child = start_process(service.command, environment, service.cwd, path)
        each.started_at, each.start_at, each.restarts = rfc3339(datetime.now(UTC)), None, restarts
        log.info("service.started", service=service.name, pid=each.child.pid, restarts=each.restarts)
        self._write_processes()

    def _end_group(self, group: Sequence[_Supervised], at_once: threading.Event) -> None:
        """Ask all to end, wait for the longest grace, kill what is left."""
        children = [each.child for each in group if each.child]
        for each in group:
            if each.child and each.works and not at_once.is_set():
                each.child.popen.terminate()
            elif each.child:
                # half started it has done nothing worth a grace, and may not listen to SIGTERM yet
                each.child.popen.kill()
        deadline = time.monotonic() + max((each.service.stop_seconds for each in group), default=0.0)
        while time.monotonic() < deadline and any(child.exit_code is None for child in children):
            if at_once.wait(_LOOP_SECONDS / 2):
                break
        self._kill_rest([each for each in group if each.child])
        for each in group:
            each.child = None

    def _kill_rest(self, group: Sequence[_Supervised]) -> None:
        """Kill whatever is left of these services after their grace."""
        # one look for all of them: it reads the environment of every process of the machine
        left = self._marks.by_service()
        for each in group:
            service, child, rest = each.service, each.child, left.get(each.service.name, [])
            if child and (child.exit_code is None or rest):
                log.warning("service.killed", service=service.name, pids=[process.pid for process in rest])
                child.popen.kill()
                kill_all(rest)
                # until somebody asks how it ended, it stays a zombie
                child.popen.wait()
            log.info("service.stopped", service=service.name)

    def _write_processes(self) -> None:
        running = {
            name: {"pid": each.child.pid, "started_at": each.started_at, "restarts": each.restarts}
            for name, each in self._supervised.items()
            if each.child
        }
        try:
            write_json(self._layout.processes, running)
        except OSError as error:
            # it is read by people; no process depends on it
            log.error("stack.processes_not_written", error=in_words(error))
