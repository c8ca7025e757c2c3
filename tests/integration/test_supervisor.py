"""The supervisor's answer to a worker that lives but takes no work."""

import sys
import threading
from pathlib import Path

import psutil

from cli.stack.layout import DataDirectory, data_directory, read_json
from cli.stack.services import Service
from cli.stack.supervisor import Supervisor
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
