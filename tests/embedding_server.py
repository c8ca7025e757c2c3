"""An endpoint of embeddings for tests. It counts texts, takes its time, holds one back, ends whoever sends another.

A server knows who asks: so a test has a stage actor end in the middle of a call, by a customer's own text.
"""

import hashlib
import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psutil

POISON = "poison"
HELD = "held"
_DIMENSION = 16


class EmbeddingServer:
    """Vectors for all texts, but one with `held` waits for `release`, and who asks for one with `poison` is killed once
    `armed`."""

    def __init__(self, seconds_a_text: float = 0.0) -> None:
        self.asked: Counter[str] = Counter()
        self.killed: list[int] = []
        self.release = threading.Event()
        self.armed = threading.Event()
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
                server.note(texts)
                time.sleep(seconds_a_text * len(texts))
                if any(POISON in text for text in texts):
                    server.armed.wait()
                    server.kill(self.client_address[1])
                    self.close_connection = True
                    return
                if any(HELD in text for text in texts):
                    server.release.wait()
                rows = [{"index": number, "embedding": _vector_of(text)} for number, text in enumerate(texts)]
                answer = json.dumps({"object": "list", "data": rows}).encode()
                # whoever asked may be gone by now, or taken away
                with suppress(ConnectionError):
                    self.send_response(200)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                return

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_port
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def note(self, texts: list[str]) -> None:
        """Count what was asked for."""
        with self._lock:
            self.asked.update(texts)

    def kill(self, port: int) -> None:
        """SIGKILL the stage actor at the other end of a connection."""
        for process in psutil.process_iter():
            try:
                if process.name().startswith("ray::") and self._is_connected(process, port):
                    self.killed.append(process.pid)
                    process.send_signal(signal.SIGKILL)
            except psutil.Error:
                continue

    def _is_connected(self, process: psutil.Process, port: int) -> bool:
        """Whether the other end of the connection from this port is the process's; others may use the same port."""
        return any(
            connection.laddr.port == port and connection.raddr and connection.raddr.port == self.port
            for connection in process.net_connections("tcp")
        )

    @contextmanager
    def running(self) -> Iterator["EmbeddingServer"]:
        """Serve for the block."""
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield self
        finally:
            self.release.set()
            self.armed.set()
            self._http.shutdown()
            self._http.server_close()


def _vector_of(text: str) -> list[float]:
    """The same for the same text, and hardly the same for another."""
    return [byte / 255 - 0.5 for byte in hashlib.shake_128(text.encode()).digest(_DIMENSION)]
