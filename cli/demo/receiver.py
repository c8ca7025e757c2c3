"""A customer's webhook endpoint: a real local HTTP server that keeps what it was sent, and can be down."""

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass(frozen=True)
class Received:
    """One request that arrived."""

    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Listens on 127.0.0.1. While `down`, it answers 503, as an endpoint behind a broken deploy does."""

    down: bool = False
    received: list[Received] = field(default_factory=list)

    def __enter__(self) -> Self:
        receiver = self
        arrived = self._arrived = threading.Condition()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if not receiver.down:
                    with arrived:
                        headers = {name.lower(): value for name, value in self.headers.items()}
                        receiver.received.append(Received(headers, body))
                        arrived.notify_all()
                self.send_response(503 if receiver.down else 204)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing: the demo tells the story."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/webhooks"

    def wait_for(self, text: str, seconds: float) -> Received:
        """The first request whose body holds `text`. Raises TimeoutError after `seconds`."""

        def arrived() -> bool:
            return any(text.encode() in item.body for item in self.received)

        with self._arrived:
            if not self._arrived.wait_for(arrived, timeout=seconds):
                raise TimeoutError(f"no webhook about {text} arrived in {seconds:.0f} s")
            return next(item for item in self.received if text.encode() in item.body)
