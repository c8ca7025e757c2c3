"""Starts and ends the processes of one embedded stack, each marked in its environment with the stack and its service.

The mark passes to whatever they start, so leftovers are found wherever they ended up. It touches no other process.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from cli.stack import launch
from cli.stack.layout import DataDirectory
from cli.stack.ray import SERVICE as RAY
from cli.stack.ray import read_ray_directory

_STACK_MARK = "KEYSTAGE_STACK"
_SERVICE_MARK = "KEYSTAGE_STACK_SERVICE"
_KILL_SECONDS = 5.0
"""How long the kernel may take to remove a killed process."""
_LOG_BYTES_MAX = 32 * 1024 * 1024
"""A log beyond this size is put aside at the next start, over the one put aside before."""
_TAIL_BYTES = 4096


@dataclass(frozen=True)
class Marks:
    """How the processes of one stack are known: by its data directory."""

    layout: DataDirectory

    def environment(self, service: str) -> dict[str, str]:
        """What a process of `service` carries."""
        return {_STACK_MARK: str(self.layout.root), _SERVICE_MARK: service}

    def processes(self, service: str | None = None) -> list[psutil.Process]:
        """Every living process of this stack, or of one service of it."""
        wanted = {_STACK_MARK: str(self.layout.root)} if service is None else self.environment(service)
        # Ray's agents and workers write a title over their environment; its directory is theirs alone
        ray_directory = read_ray_directory(self.layout) if service in (None, RAY) else None
        return [process for process in psutil.process_iter() if _belongs(process, wanted, ray_directory)]

    def by_service(self) -> dict[str, list[psutil.Process]]:
        """The same for each service that has any, by one look."""
        ray_directory = read_ray_directory(self.layout)
        found: dict[str, list[psutil.Process]] = {}
        for process in psutil.process_iter():
            if _belongs(process, {_STACK_MARK: str(self.layout.root)}, ray_directory):
                found.setdefault(_service_of(process), []).append(process)
        return found


def _service_of(process: psutil.Process) -> str:
    """Which service it carries; Ray's own processes write a title over theirs."""
    try:
        return str(process.environ().get(_SERVICE_MARK, RAY))
    except psutil.Error:
        return RAY


def _belongs(process: psutil.Process, wanted: Mapping[str, str], ray_directory: Path | None) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if wanted.items() <= process.environ().items():
            return True
        return ray_directory is not None and process.cwd() == str(ray_directory)
    except psutil.Error:
        # gone, or another user's: in both cases not ours to stop
        return False


@dataclass(frozen=True)
class Child:
    """A started process of one service."""

    popen: subprocess.Popen[bytes]
    started_at: float
    """On the monotonic clock."""

    @property
    def pid(self) -> int:
        """Its process id, and its process group's."""
        return self.popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self.popen.poll()


def start_process(command: Sequence[str], environment: Mapping[str, str], cwd: Path, log: Path) -> Child:
    """Start a program in a session of its own, so that Ctrl-C does not reach it; its output goes to `log`."""
    launcher = (sys.executable, "-I", "-S", launch.__file__, str(os.getpid()))
    with log.open("ab") as output:
        popen = subprocess.Popen(
            (*launcher, *command),
            env=dict(environment),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Child(popen, time.monotonic())


def kill_all(processes: Sequence[psutil.Process]) -> None:
    """SIGKILL, and wait until they are gone."""
    for process in processes:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(processes, timeout=_KILL_SECONDS)


def end_all(processes: Sequence[psutil.Process], grace_seconds: float) -> list[psutil.Process]:
    """SIGTERM, then SIGKILL for those that are still there after the grace; returns these."""
    for process in processes:
        _signal(process, signal.SIGTERM)
    _gone, stubborn = psutil.wait_procs(processes, timeout=grace_seconds)
    kill_all(stubborn)
    return stubborn


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def put_aside_large_log(log: Path) -> None:
    """Keep logs from growing without end."""
    if log.exists() and log.stat().st_size > _LOG_BYTES_MAX:
        log.replace(log.with_suffix(".log.1"))


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a log, for a message to the operator."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-count:])
