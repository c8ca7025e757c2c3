"""A service that ends whoever calls it: a stage that asks it kills the actor that it runs in, at each try."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psutil

from tests.e2e.parts import actors, send
from tests.stack import RunningStack


class Poison:
    """Where it listens, and how many it ended."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.killed = 0


@contextmanager
def poison(stack: RunningStack) -> Iterator[Poison]:
    """The service for this stack's actors."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """The caller does not live to hear the answer."""
            callers = [actor for actor in actors(stack) if _has_port(actor, self.client_address[1])]
            send(callers, signal.SIGKILL)
            service.killed += len(callers)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    service = Poison(int(listener.server_address[1]))
    threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield service
    finally:
        listener.shutdown()
        listener.server_close()


def _has_port(process: psutil.Process, port: int) -> bool:
    with suppress(psutil.Error):
        return any(connection.laddr.port == port for connection in process.net_connections("tcp"))
    return False
