"""The supervisor's answer to a worker that lives but takes no work, to stops on purpose, and to a full disk."""

import dataclasses
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from structlog.testing import capture_logs

from cli.stack.layout import DataDirectory, data_directory, read_json
from cli.stack.layout import write_json as write_file
from cli.stack.process import start_process as start_child
from cli.stack.services import Service
from cli.stack.supervisor import StartFailedError, Supervisor
from cli.stack.worker_watch import WorkerWatch
from tests.stack import wait_until

_IGNORES_SIGTERM = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(99)
"""


def stubborn_worker(layout: DataDirectory) -> Service:
    """One that does not end when it is asked to."""
    log = layout.logs / "worker.log"
    return Service(
        name="worker",
        command=(sys.executable, "-c", _IGNORES_SIGTERM),
        environment={},
        cwd=layout.root,
        works=lambda _pid: log.exists() and "up" in log.read_text(),
        start_seconds=30,
        stop_seconds=0.3,
    )


def test_a_stalled_worker_is_ended_within_its_grace_and_started_again(tmp_path: Path) -> None:
    layout = data_directory(tmp_path)
    layout.make()
    stalled = threading.Event()
    stalled.set()
    supervisor = Supervisor(layout, [stubborn_worker(layout)], WorkerWatch(stalled.is_set, 0.05), healthy_seconds=0.5)
    stopping = threading.Event()
    try:
        assert supervisor.start(stopping)
        first = _worker_pid(layout.processes)
        # children must come from the main thread, whose end they are tied to: so the test waits in another
        waiting = threading.Thread(target=_stop_when_restarted, args=(layout.processes, first, stalled, stopping))
        waiting.start()
        supervisor.watch(stopping)
        waiting.join()
        assert not psutil.pid_exists(first)
        assert _worker_pid(layout.processes) != first
    finally:
        supervisor.stop()


def _stop_when_restarted(processes: Path, first: int, stalled: threading.Event, stopping: threading.Event) -> None:
    try:
        wait_until(lambda: _worker_pid(processes) != first, 30, "the worker to be started again")
    finally:
        stalled.clear()
        stopping.set()


def _worker_pid(processes: Path) -> int:
    return int(read_json(processes)["worker"]["pid"])


def test_a_worker_that_ignores_the_stop_is_killed_and_reaped(tmp_path: Path) -> None:
    layout = data_directory(tmp_path)
    layout.make()
    supervisor = Supervisor(layout, [stubborn_worker(layout)], WorkerWatch(lambda: False, 0.05))
    assert supervisor.start(threading.Event())
    child = supervisor._supervised["worker"].child
    supervisor.stop()
    assert child
    assert child.popen.returncode is not None
    assert not psutil.pid_exists(child.pid)


def _obedient_worker(layout: DataDirectory) -> Service:
    """One that ends when it is asked to."""
    return dataclasses.replace(
        stubborn_worker(layout),
        command=(sys.executable, "-c", "import time; print('up', flush=True); time.sleep(99)"),
        stop_seconds=20,
    )


def _watched(layout: DataDirectory, service: Service, act: Callable[[Supervisor], None]) -> list[Any]:
    """The lines that a supervisor writes while `act` does something to what it watches."""
    supervisor = Supervisor(layout, [service], WorkerWatch(lambda: False, 0.05))
    stopping = threading.Event()

    def act_then_stop() -> None:
        try:
            act(supervisor)
        finally:
            stopping.set()

    with capture_logs() as lines:
        try:
            assert supervisor.start(stopping)
            acting = threading.Thread(target=act_then_stop)
            acting.start()
            supervisor.watch(stopping)
            acting.join()
        finally:
            supervisor.stop()
    return lines


@pytest.mark.parametrize(
    ("number", "event", "level"),
    [(signal.SIGTERM, "service.ended", "warning"), (signal.SIGKILL, "service.crashed", "error")],
)
def test_a_service_that_somebody_stops_is_started_again_and_did_not_crash(
    tmp_path: Path, number: signal.Signals, event: str, level: str
) -> None:
    layout = data_directory(tmp_path)
    layout.make()

    def stop_it(_: Supervisor) -> None:
        first = _worker_pid(layout.processes)
        os.kill(first, number)
        wait_until(lambda: _worker_pid(layout.processes) != first, 30, "the worker to be started again")

    lines = _watched(layout, _obedient_worker(layout), stop_it)
    ended = [
        (line["event"], line["log_level"]) for line in lines if line["event"] in ("service.ended", "service.crashed")
    ]
    assert ended == [(event, level)]


class _StoppedTogether(threading.Event):
    """A service manager, or a container's end, tells every process: here the child ends while the supervisor sleeps."""

    def __init__(self, supervisor: Supervisor, told_first: bool) -> None:
        super().__init__()
        self._supervisor = supervisor
        self._told_first = told_first

    def wait(self, timeout: float | None = None) -> bool:
        """The child is gone after the first sleep; the supervisor is told then, or at the next."""
        child = self._supervisor._supervised["worker"].child
        if child and child.popen.poll() is None:
            child.popen.terminate()
            child.popen.wait()
            if self._told_first:
                self.set()
            return False
        self.set()
        return True


@pytest.mark.parametrize(("told_first", "said"), [(True, []), (False, ["service.ended"])])
def test_what_ends_together_with_the_supervisor_did_not_crash(
    tmp_path: Path, told_first: bool, said: list[str]
) -> None:
    layout = data_directory(tmp_path)
    layout.make()
    supervisor = Supervisor(layout, [_obedient_worker(layout)], WorkerWatch(lambda: False, 0.05))
    with capture_logs() as lines:
        assert supervisor.start(threading.Event())
        supervisor.watch(_StoppedTogether(supervisor, told_first))
        supervisor.stop()
    assert [line["event"] for line in lines if line["log_level"] != "info"] == said


def test_what_ends_together_with_the_supervisor_is_no_failed_start(tmp_path: Path) -> None:
    layout = data_directory(tmp_path)
    layout.make()
    never = dataclasses.replace(_obedient_worker(layout), works=lambda _pid: False)
    supervisor = Supervisor(layout, [never], WorkerWatch(lambda: False, 0.05))
    assert supervisor.start(_StoppedTogether(supervisor, told_first=False)) is False
    supervisor.stop()


def test_told_to_stop_at_once_it_waits_for_nothing(tmp_path: Path) -> None:
    layout = data_directory(tmp_path)
    layout.make()
    patient = dataclasses.replace(stubborn_worker(layout), stop_seconds=3600)
    supervisor = Supervisor(layout, [patient], WorkerWatch(lambda: False, 0.05))
    assert supervisor.start(threading.Event())
    child = supervisor._supervised["worker"].child
    at_once = threading.Event()
    threading.Timer(0.3, at_once.set).start()
    supervisor.stop(at_once)
    assert child
    assert not psutil.pid_exists(child.pid)


def _full(path: Path) -> OSError:
    return OSError(errno.ENOSPC, "No space left on device", str(path))


def test_a_full_disk_is_named_and_outlived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crashed service cannot be started on a full disk; once there is room it is."""
    layout = data_directory(tmp_path)
    layout.make()
    refused: list[str] = []

    def start_process(*arguments: Any) -> Any:
        if len(refused) < 2:
            refused.append("started")
            raise _full(layout.logs)
        return start_child(*arguments)

    def write_json(path: Path, content: Any) -> None:
        if len(refused) == 2:
            refused.append("written")
            raise _full(path)
        write_file(path, content)

    def crash_it(supervisor: Supervisor) -> None:
        first = _worker_pid(layout.processes)
        monkeypatch.setattr("cli.stack.supervisor.start_process", start_process)
        monkeypatch.setattr("cli.stack.supervisor.write_json", write_json)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: supervisor._supervised["worker"].restarts == 1, 30, "the worker to be started again")

    lines = _watched(layout, _obedient_worker(layout), crash_it)
    named = [(line["event"], line["error"]) for line in lines if "error" in line]
    assert named == [
        ("service.not_started", f"the disk is full ({layout.logs})"),
        ("service.not_started", f"the disk is full ({layout.logs})"),
        ("stack.processes_not_written", f"the disk is full ({layout.processes})"),
    ]


def test_a_full_disk_at_the_start_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = data_directory(tmp_path)
    layout.make()

    def start_process(*_: Any) -> Any:
        raise _full(layout.logs)

    monkeypatch.setattr("cli.stack.supervisor.start_process", start_process)
    supervisor = Supervisor(layout, [_obedient_worker(layout)], WorkerWatch(lambda: False, 0.05))
    with pytest.raises(StartFailedError, match=r"^worker was not started: the disk is full"):
        supervisor.start(threading.Event())
    supervisor.stop()
