"""One `keystage up` per data directory, by a file lock that the kernel lets go of when its holder dies."""

import fcntl
import os
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from cli.stack.layout import DataDirectory, read_json


@dataclass(frozen=True)
class RunningStack:
    """Another `keystage up` that holds the lock."""

    pid: int | None
    api_url: str | None
    """None while it is starting."""


class StackLock:
    """The lock on a data directory. Only the process that took it holds it; children do not inherit it."""

    def __init__(self, layout: DataDirectory) -> None:
        self._layout = layout
        self._descriptor: int | None = None

    def take(self) -> RunningStack | None:
        """Take the lock, or say who has it."""
        descriptor = os.open(self._layout.lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return self._holder()
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self._descriptor = descriptor
        return None

    def release(self) -> None:
        """Let go. The file stays: removing it would let two processes lock two files of one name."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _holder(self) -> RunningStack:
        pid = self._layout.lock.read_text()
        ready = read_json(self._layout.ready)
        return RunningStack(int(pid) if pid else None, ready["api_url"] if ready else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.release()


def running_stack(layout: DataDirectory) -> RunningStack | None:
    """The `keystage up` that runs on this data directory, or None."""
    if not layout.lock.exists():
        return None
    with StackLock(layout) as lock:
        return lock.take()
