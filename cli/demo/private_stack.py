"""A stack of the demo's own: `keystage up` as a child process, with the few settings that the demo's story needs."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_READY_SECONDS = 180.0
_STOP_SECONDS = 60.0
_SETTINGS = {
    # the demo's receivers listen on this machine, which no webhook may reach unless the operator says so
    "KEYSTAGE_EGRESS_ALLOW_CIDRS": "127.0.0.0/8",
    # a failing delivery is given up after a second and a half instead of three days
    "KEYSTAGE_WEBHOOK_RETRY_SCHEDULE": "0.5,1",
}


class StackFailedError(Exception):
    """The private stack did not start, or did not stop in order."""


@contextmanager
def private_stack(data: Path) -> Iterator[dict[str, Any]]:
    """The ready line of a running stack; stopped afterwards. Raises StackFailedError."""
    command = [str(Path(sys.executable).parent / "keystage"), "up", "--data", str(data), "--port", "0"]
    data.parent.mkdir(parents=True, exist_ok=True)
    with (data.parent / f"{data.name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **_SETTINGS}, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
    try:
        yield _ready_line(process, Path(log.name))
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=_STOP_SECONDS)
    if code != 0:
        raise StackFailedError(f"keystage up ended with {code}; see {log.name}")


def _ready_line(process: "subprocess.Popen[bytes]", log: Path) -> dict[str, Any]:
    timer = threading.Timer(_READY_SECONDS, process.kill)
    timer.start()
    line = process.stdout.readline() if process.stdout else b""
    timer.cancel()
    if not line:
        process.wait()
        raise StackFailedError(f"keystage up did not get ready:\n{log.read_text(errors='replace')[-3000:]}")
    ready: dict[str, Any] = json.loads(line)
    return ready
