"""Has files read and cut in a process of its own, which is ended when it takes too long or too much memory.

What converters and splitters do with a customer's bytes is C code that nobody else can stop. The process holds no
secret and no connection, is kept for the next file, and ends with the one that started it.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import wait
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, Final

import structlog

from config.beside import beside
from core.collections.extractor_parameters import TextExtractorParameters
from pipelines.extractors.reading_outcome import NO_MEMORY, Cutting, Pieces, Remark, Unreadable

_REPOSITORY = Path(__file__).parents[2]
_PROGRAM = "pipelines.extractors.reading_process"
_LOOK_SECONDS = 0.1
_GRACE_SECONDS = 10.0
"""The process ends itself at its bound, once it has begun; one that is stopped cannot."""
_PASSED_ON: Final = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ", "KEYSTAGE_STACK", "KEYSTAGE_STACK_SERVICE")
"""All that it has of our environment: the marks by which a stack finds what it started, and nothing of a secret."""
_TRIES = 2
_ENDED_BY_SOMEBODY = {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP}
"""How a process ends through no fault of its file's: another one is tried."""
_OUT_OF_MEMORY = {NO_MEMORY, -signal.SIGABRT, -signal.SIGKILL}
"""How a process ends whose code found no memory, or that the kernel chose when the machine had none."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class FileBounds:
    """What reading and cutting one file may take."""

    seconds: float
    memory_mb: int
    """beyond what the process needs before it reads anything"""


class _EndedError(Exception):
    """The process ended under a file."""

    def __init__(self, code: int | None) -> None:
        self.code = code


class Reader:
    """One process and the way to it. Safe to use from several threads, one file at a time."""

    def __init__(self, bounds: FileBounds, log_level: str = "INFO", log_format: str = "auto") -> None:
        self._bounds = bounds
        self._log = (log_level, log_format)
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._turn = threading.Lock()

    def read(
        self,
        content: bytes,
        content_type: str,
        parameters: TextExtractorParameters,
        most: int,
        check_cancelled: Callable[[], None],
    ) -> Cutting:
        """The first `most` pieces of a file's text. Raises what `check_cancelled` raises, and ends the process then."""
        return self._bounded(content, {"content_type": content_type}, parameters, most, check_cancelled)

    def cut(
        self, text: str, parameters: TextExtractorParameters, most: int, check_cancelled: Callable[[], None]
    ) -> Cutting:
        """The same of a text that needs no reading."""
        return self._bounded(text.encode("utf-8", "surrogatepass"), {}, parameters, most, check_cancelled)

    @property
    def process_id(self) -> int:
        """Of the process, as long as there is one; 0 while there is none."""
        return self._process.pid if self._process else 0

    def close(self) -> None:
        """End the process. The reader may be used again."""
        process, connection = self._process, self._connection
        self._process = self._connection = None
        if process is not None:
            process.kill()
            process.wait()
        if connection is not None:
            connection.close()

    def _bounded(
        self,
        content: bytes,
        said: Mapping[str, Any],
        parameters: TextExtractorParameters,
        most: int,
        check_cancelled: Callable[[], None],
    ) -> Cutting:
        task = {
            **said,
            "parameters": parameters.model_dump(mode="json"),
            "most": most,
            "seconds": self._bounds.seconds,
            "facts": structlog.contextvars.get_contextvars(),
        }
        header = json.dumps(task).encode()
        ended: int | None = None
        with self._turn:
            for _ in range(_TRIES):
                try:
                    return self._once(header, content, check_cancelled)
                except _EndedError as error:
                    ended = error.code
                    log.warning("extraction.process_ended", exit_code=ended)
                    if ended not in _ENDED_BY_SOMEBODY:
                        break
        if ended in _OUT_OF_MEMORY:
            return self._too_much_memory()
        return Unreadable("unreadable_content", f"The program that reads such files broke down on it ({ended}).")

    def _once(self, header: bytes, content: bytes, check_cancelled: Callable[[], None]) -> Cutting:
        process, connection = self._started()
        ends_at = time.monotonic() + self._bounds.seconds + _GRACE_SECONDS
        exchange = beside(lambda: _exchange(connection, header, content), "reading")
        try:
            while not wait([exchange], timeout=_LOOK_SECONDS).done:
                check_cancelled()
                if time.monotonic() > ends_at:
                    self.close()
                    return self._took_too_long()
                if _is_over(process.pid, self._bounds.memory_mb):
                    self.close()
                    return self._too_much_memory()
        except BaseException:
            self.close()
            raise
        if exchange.exception() is None:
            return self._understood(exchange.result())
        # the connection broke off: the process is gone, or is on its way
        self._end_of(process)
        if process.returncode == -signal.SIGALRM:
            return self._took_too_long()
        raise _EndedError(process.returncode)

    def _end_of(self, process: subprocess.Popen[bytes]) -> None:
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        self.close()

    def _understood(self, answer: bytes) -> Cutting:
        """The process's answer, which is taken for data and for nothing else."""
        found = json.loads(answer)
        if found.get("code") == "too_much_memory":
            # what it could not get may be in pieces now
            self.close()
            return self._too_much_memory()
        if "code" in found:
            return Unreadable(str(found["code"]), str(found["message"]))
        return Pieces([str(text) for text in found["texts"]], tuple(Remark(**remark) for remark in found["remarks"]))

    def _took_too_long(self) -> Unreadable:
        log.warning("extraction.took_too_long", seconds=self._bounds.seconds)
        return Unreadable("took_too_long", f"It was not read within {self._bounds.seconds:g} seconds.")

    def _too_much_memory(self) -> Unreadable:
        log.warning("extraction.too_much_memory", megabytes=self._bounds.memory_mb)
        return Unreadable("too_much_memory", f"To read it took more than {self._bounds.memory_mb} MB of memory.")

    def _started(self) -> tuple[subprocess.Popen[bytes], Connection]:
        """The process, a new one where there is none."""
        if self._process is not None and self._connection is not None and self._process.poll() is None:
            return self._process, self._connection
        self.close()
        ours, theirs = Pipe()
        values = (theirs.fileno(), os.getpid(), self._bounds.memory_mb, *self._log)
        passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        try:
            self._process = subprocess.Popen(
                (sys.executable, "-P", "-m", _PROGRAM, *map(str, values)),
                env={**passed, "PYTHONPATH": str(_REPOSITORY), "MALLOC_ARENA_MAX": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        finally:
            theirs.close()
        self._connection = ours
        return self._process, ours


def _exchange(connection: Connection, header: bytes, content: bytes) -> bytes:
    connection.send_bytes(header)
    connection.send_bytes(content)
    return connection.recv_bytes()


def _is_over(pid: int, memory_mb: int) -> bool:
    """Whether the process uses more than it may, where the kernel does not keep it from that."""
    return sys.platform != "linux" and resident_mb(pid) > memory_mb


def resident_mb(pid: int) -> float:
    """The memory that a process has in use; nothing for one that is gone."""
    told = subprocess.run(("/bin/ps", "-o", "rss=", "-p", str(pid)), capture_output=True, check=False)
    return int(told.stdout or b"0") / 1024
