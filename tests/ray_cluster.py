"""A Ray cluster for tests, started as the embedded stack starts it: own ports, a short directory, a token."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from cli.stack.ray import PORT_NAMES, ray_command, ray_environment
from config.settings import Settings
from pipelines.runner import Runner
from tests.servers import free_port

_REPOSITORY = Path(__file__).parent.parent
_READY_SECONDS = 180.0
_STOP_SECONDS = 30.0
_TOKEN = secrets.token_hex(16)
"""One for all clusters of a test run: a process reads its token once, and tests of one process use several clusters."""


@dataclass
class RayHead:
    """A running head node."""

    address: str
    token: str
    process: subprocess.Popen[bytes]


@contextmanager
def ray_head(port: int | None = None, more_environment: Mapping[str, str] | None = None) -> Iterator[RayHead]:
    """A head node that takes connections, gone with all its processes afterwards; this process has left it by then."""
    # a process that loses Ray is ended by it after this long; a test must outlive a restart on a busy machine
    os.environ["RAY_gcs_rpc_server_reconnect_timeout_s"] = "600"  # noqa: SIM112 - Ray's own spelling
    directory = Path(tempfile.mkdtemp(prefix="ks-", dir="/tmp"))
    ports = {name: free_port() for name in PORT_NAMES} | ({"ray": port} if port else {})
    environment = ray_environment(
        {**os.environ, "KEYSTAGE_RAY_AUTH_TOKEN": _TOKEN, "PYTHONPATH": str(_REPOSITORY), **(more_environment or {})}
    )
    log = directory.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            ray_command(ports, directory), env=environment, cwd=directory, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        # before the last of these listens, the raylet takes no work
        for name in ("ray", "ray_node", "ray_environments"):
            _wait_for_port(ports[name], process, log)
        yield RayHead(f"127.0.0.1:{ports['ray']}", _TOKEN, process)
    finally:
        _leave()
        stop_head(process)
        shutil.rmtree(directory)
        log.unlink()


def attached_runner(settings: Settings) -> Runner:
    """A runner that is attached, from a thread of its own as in the worker."""
    runner = Runner(settings)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(runner.attach).result()
        pool.submit(runner.self_test).result()
    return runner


def stop_head(process: subprocess.Popen[bytes]) -> None:
    """End the head and everything it started, by id."""
    if process.poll() is None:
        parent = psutil.Process(process.pid)
        family = [parent, *parent.children(recursive=True)]
        process.terminate()
        _, alive = psutil.wait_procs(family, timeout=_STOP_SECONDS)
        for survivor in alive:
            survivor.kill()
    process.wait()


def _leave() -> None:
    # never imported here: Ray reads its environment then, once, and only the runner under test sets it
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()


def _wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"nothing listens on {port}; the Ray head says:\n{log.read_text()}") from None
            time.sleep(0.1)
        else:
            return
