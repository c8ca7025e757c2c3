"""A backend that goes away: a real HTTP server on 127.0.0.1 that works until it is told how to be absent, and back.

What it is told holds from the next request on, of open connections too, and needs no new port. It never speaks TLS.
"""

import contextlib
import http.client
import io
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "te", "upgrade"})
_LOOK_SECONDS = 0.05
_SLOW_PIECE_BYTES = 64 * 1024
_SMALL_BUFFER_BYTES = 32 * 1024
_FILLERS = 64


class Conduct(StrEnum):
    """How the server is, apart from answering the same thing to everybody."""

    WORKS = "works"
    REFUSES = "refuses"
    """its process is gone: nothing listens, and open connections are closed"""
    UNREACHABLE = "unreachable"
    """packets go nowhere: a new connection is neither taken nor refused (Linux)"""
    RESETS = "resets"
    """each connection is torn down when its request has come"""
    BREAKS_OFF = "breaks_off"
    """half of the answer, then the end of the connection"""
    SILENT = "silent"
    """its process is frozen: it takes connections and says nothing; when told otherwise, it goes on"""
    TRICKLES = "trickles"
    """the answer comes, a byte every `trickle_seconds`"""
    TAKES_SLOWLY = "takes_slowly"
    """works, and reads what is sent in a trickle: a slow link, on which much gets through all the same"""


@dataclass(frozen=True)
class Reply:
    """One complete answer. Given to `be`, every request gets it."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


UNAVAILABLE = Reply(503, b'{"status": {"error": "not ready"}}', {"Content-Type": "application/json"})
PROXY_PAGE = Reply(503, b"<html><h1>503 Service Temporarily Unavailable</h1></html>", {"Content-Type": "text/html"})
BAD_GATEWAY = Reply(502, b"<html><h1>502 Bad Gateway</h1></html>", {"Content-Type": "text/html"})
GATEWAY_TIMEOUT = Reply(504, b"<html><h1>504 Gateway Time-out</h1></html>", {"Content-Type": "text/html"})
FAILED = Reply(500, b'{"status": {"error": "internal"}}', {"Content-Type": "application/json"})
BUSY = Reply(429, b'{"error": {"message": "slow down"}}', {"Content-Type": "application/json", "Retry-After": "1"})
DENIED = Reply(403, b'{"error": "forbidden"}', {"Content-Type": "application/json"})


@dataclass(frozen=True)
class Request:
    """One request that came whole."""

    method: str
    target: str
    """path and query, as they came"""
    headers: Mapping[str, str]
    """their names in small letters"""
    body: bytes


Handler = Callable[[Request], Reply]
Chosen = Callable[[str, str], bool]
"""By method and target."""


def everything(_method: str, _target: str) -> bool:
    """Every request."""
    return True


class AwayServer:
    """The server. `requests` holds method and target of all that reached it, answered or not."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.trickle_seconds = 1.0
        self.requests: list[tuple[str, str]] = []
        self._conduct: Conduct | Reply = Conduct.WORKS
        self._chosen: Chosen = everything
        self._connections: set[socket.socket] = set()
        self._fillers: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self.port = 0
        self._listen()

    @property
    def url(self) -> str:
        """Where it is, or would be."""
        return f"http://127.0.0.1:{self.port}"

    def be(self, conduct: Conduct | Reply, chosen: Chosen = everything) -> None:
        """Be so from now on; towards requests that are not `chosen`, work."""
        self._conduct, self._chosen = conduct, chosen
        if conduct in (Conduct.REFUSES, Conduct.UNREACHABLE):
            self._stop_listening()
            if conduct is Conduct.UNREACHABLE:
                self._fill()
        elif self._listener is None or self._fillers:
            self._stop_listening()
            self._listen()

    def conduct_for(self, method: str, target: str) -> Conduct | Reply:
        """How to be towards a request."""
        return self._conduct if self._chosen(method, target) else Conduct.WORKS

    def close(self) -> None:
        """Listen no more, and end all connections."""
        self._conduct = Conduct.REFUSES
        self._stop_listening()

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        # what is sent to it must not vanish in its buffers
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER_BYTES)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                # wakes the thread that accepts, which keeps the socket open otherwise
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for filler in self._fillers:
            filler.close()
        self._fillers = []
        with self._lock:
            open_now = list(self._connections)
        for connection in open_now:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _fill(self) -> None:
        """Listen with a queue that is full: the kernel drops what knocks."""
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=0)
        for _ in range(_FILLERS):
            filler = socket.socket()
            filler.settimeout(0.2)
            self._fillers.append(filler)
            try:
                filler.connect(("127.0.0.1", self.port))
            except TimeoutError:
                return
        raise RuntimeError("the kernel takes every connection: nobody can be unreachable here")

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, address = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection, address), daemon=True).start()

    def _serve(self, connection: socket.socket, address: Any) -> None:
        with self._lock:
            self._connections.add(connection)
        try:
            with connection, contextlib.suppress(OSError, _Over):
                _Exchange(connection, address, self)
        finally:
            with self._lock:
                self._connections.discard(connection)


class _Over(Exception):  # noqa: N818 - no error: this connection is done
    """Nothing more is said on this connection."""


class _Exchange(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: AwayServer  # type: ignore[assignment]  # it needs nothing of socketserver's

    def __init__(self, connection: socket.socket, address: Any, server: AwayServer) -> None:
        super().__init__(connection, address, server)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._exchange
        raise AttributeError(name)

    def finish(self) -> None:
        """Close the files, whatever became of the connection."""
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def handle_expect_100(self) -> bool:
        """Whoever asks before it sends a body is told to, unless we are away."""
        return self._now() is not Conduct.WORKS or super().handle_expect_100()

    def _exchange(self) -> None:
        self.server.requests.append((self.command, self.path))
        conduct = self._now()
        while conduct is Conduct.SILENT:
            self._wait_a_little()
            conduct = self._now()
        if conduct is Conduct.RESETS:
            self._reset()
        request = self._read(slowly=conduct is Conduct.TAKES_SLOWLY)
        reply = conduct if isinstance(conduct, Reply) else self.server.handler(request)
        raw = _raw(reply, self.command)
        if conduct is Conduct.BREAKS_OFF:
            body = 0 if self.command == "HEAD" else len(reply.body)
            self.wfile.write(raw[: len(raw) - body + body // 2] if body > 1 else raw[: len(raw) // 2])
            raise _Over
        if conduct is Conduct.TRICKLES:
            self._trickle(raw)
        else:
            self.wfile.write(raw)

    def _now(self) -> Conduct | Reply:
        return self.server.conduct_for(self.command, self.path)

    def _wait_a_little(self) -> None:
        """Raises _Over when nobody waits any more."""
        time.sleep(_LOOK_SECONDS)
        with contextlib.suppress(BlockingIOError):
            self.connection.setblocking(False)
            try:
                gone = self.connection.recv(1, socket.MSG_PEEK) == b""
            finally:
                self.connection.setblocking(True)
            if gone:
                raise _Over

    def _reset(self) -> None:
        # closed with a linger of no seconds, a connection is reset
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.connection.close()
        raise _Over

    def _trickle(self, raw: bytes) -> None:
        for at in range(len(raw)):
            self.wfile.write(raw[at : at + 1])
            time.sleep(self.server.trickle_seconds)

    def _read(self, *, slowly: bool) -> Request:
        headers = {name.lower(): value for name, value in self.headers.items()}
        if "chunked" in headers.get("transfer-encoding", "").lower():
            body = b"".join(self._chunks())
        else:
            body = self._body(int(headers.get("content-length", 0)), slowly=slowly)
        return Request(self.command, self.path, headers, body)

    def _body(self, length: int, *, slowly: bool) -> bytes:
        body = io.BytesIO()
        while body.tell() < length:
            piece = self.rfile.read(min(length - body.tell(), _SLOW_PIECE_BYTES if slowly else length))
            if not piece:
                raise _Over
            body.write(piece)
            if slowly:
                time.sleep(self.server.trickle_seconds)
        return body.getvalue()

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass


def _raw(reply: Reply, method: str) -> bytes:
    headers = {"Content-Length": str(len(reply.body)), **reply.headers}
    lines = [f"HTTP/1.1 {reply.status} X", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + (b"" if method == "HEAD" else reply.body)


@contextmanager
def away_server(handler: Handler) -> Iterator[AwayServer]:
    """A server on a free port, which works."""
    server = AwayServer(handler)
    try:
        yield server
    finally:
        server.close()


def in_front_of(url: str) -> Handler:
    """Hands each request on to the server at `url`, and its answer back."""
    host = urlsplit(url).netloc

    def hand_on(request: Request) -> Reply:
        connection = http.client.HTTPConnection(host, timeout=60)
        headers = {name: value for name, value in request.headers.items() if name not in _HOP_BY_HOP}
        if request.body or request.method in ("POST", "PUT", "PATCH"):
            headers["content-length"] = str(len(request.body))
        try:
            connection.request(request.method, request.target, request.body, headers)
            answer = connection.getresponse()
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP_BY_HOP}
            length = answer.getheader("Content-Length")
            if request.method == "HEAD" and length is not None:
                kept["Content-Length"] = length
            return Reply(answer.status, answer.read(), kept)
        finally:
            connection.close()

    return hand_on
