"""The process that reads and cuts files (`python -m …`): `<connection> <parent> <MB> <log level> <log format>`.

It takes one file after the other from its connection until that closes. Too long over one, and the kernel ends it.
"""

import ctypes
import json
import os
import resource
import signal
import sys
from dataclasses import asdict
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import structlog

from config.logging_setup import configure_logs
from core.collections.extractor_parameters import TextExtractorParameters
from pipelines.extractors.reading import read_text
from pipelines.extractors.reading_outcome import NO_MEMORY, Reading, Text, Unreadable
from pipelines.extractors.splitting import split

_PR_SET_PDEATHSIG = 1
_MB = 1024 * 1024

log = structlog.get_logger(__name__)


def main() -> None:
    """Serve until the other end is gone."""
    descriptor, parent, memory_mb = map(int, sys.argv[1:4])
    _end_with(parent)
    configure_logs(sys.argv[4], sys.argv[5], "reading")
    _take_at_most(memory_mb)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    connection = Connection(descriptor)
    while True:
        try:
            task, content = json.loads(connection.recv_bytes()), connection.recv_bytes()
            # by the kernel: within a converter's C code no Python runs
            signal.setitimer(signal.ITIMER_REAL, task["seconds"])
            connection.send_bytes(json.dumps(_answer(task, content)).encode())
        except (EOFError, ConnectionError):
            return
        except MemoryError:
            # in what is taken in or sent back: the connection is of no use any more
            sys.exit(NO_MEMORY)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _end_with(parent: int) -> None:
    """End when the parent does: at once where the kernel can tell, else when the connection closes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        sys.exit("the parent is gone")


def _take_at_most(memory_mb: int) -> None:
    """Bound the memory, where the kernel does that; elsewhere the parent looks."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + memory_mb * _MB
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _answer(task: dict[str, Any], content: bytes) -> dict[str, Any]:
    """Pieces with remarks, or a code and a message."""
    with structlog.contextvars.bound_contextvars(**task["facts"]):
        try:
            return _cut(task, content)
        except MemoryError:
            return {"code": "too_much_memory"}
        except BaseException as error:
            # Rust's panics are no Exceptions; whatever it is, the fault is in these bytes
            log.exception("extraction.broken")
            return {"code": "unreadable_content", "message": f"It cannot be read ({type(error).__name__})."}


def _cut(task: dict[str, Any], content: bytes) -> dict[str, Any]:
    reading = _read(content, task.get("content_type"))
    if isinstance(reading, Unreadable):
        return asdict(reading)
    parameters = TextExtractorParameters.model_validate(task["parameters"])
    texts = list(islice(split(reading.content, reading.is_markdown, parameters), task["most"]))
    return {"texts": texts, "remarks": [asdict(remark) for remark in reading.remarks]}


def _read(content: bytes, content_type: str | None) -> Reading:
    if content_type is None:
        return Text(content.decode("utf-8", "surrogatepass"))
    return read_text(content, content_type)


if __name__ == "__main__":
    main()
