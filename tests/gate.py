"""A port in front of a real server that refuses, stays silent or answers 503, as told, or else changes no byte."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from urllib.parse import urlsplit

_UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_PIECE = 65_536


class Manner(StrEnum):
    """How a server is away."""

    KILLED = "killed"
    """its connections are reset, and nobody listens at its port"""
    FROZEN = "frozen"
    """connections are taken, and what is sent stays unanswered"""
    UNAVAILABLE = "answers 503"
    """as a balancer does that has nobody to ask"""


class Gate:
    """One port of 127.0.0.1 that passes on to `behind`."""

    def __init__(self, behind: int) -> None:
        self._behind = behind
        self._listener = _listening(0)
        self.port = int(self._listener.getsockname()[1])
        self._manner: Manner | None = None
        self._passes = threading.Event()
        self._passes.set()
        self._clients: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    @property
    def url(self) -> str:
        """Where an HTTP server behind it is reached."""
        return f"http://127.0.0.1:{self.port}"

    def shut(self, manner: Manner) -> None:
        """Be away from now on."""
        self._manner = manner
        self._passes.clear()
        if manner is Manner.KILLED:
            self._stop_listening()
        if manner is not Manner.FROZEN:
            self._reset_all()

    def open(self) -> None:
        """Pass on again, what was held back too."""
        if self._manner is Manner.KILLED:
            self._listener = _listening(self.port)
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        self._manner = None
        self._passes.set()

    def close(self) -> None:
        """End everything."""
        self._stop_listening()
        self._reset_all()
        self._passes.set()

    def _stop_listening(self) -> None:
        with suppress(OSError):
            # closing alone does not wake the thread that accepts, and the port would stay
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _reset_all(self) -> None:
        with self._lock:
            clients, self._clients = self._clients, set()
        for client in clients:
            with suppress(OSError):
                # closed this way, the client sees a reset; its end here follows, and closes the server's in order
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.shutdown(socket.SHUT_RD)
            client.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        if self._manner is Manner.UNAVAILABLE:
            with client, suppress(OSError):
                client.settimeout(1)
                client.recv(_PIECE)
                client.sendall(_UNAVAILABLE)
                # all that was sent is read, or closing would reset the answer
                client.shutdown(socket.SHUT_WR)
                while client.recv(_PIECE):
                    pass
            return
        self._passes.wait()
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._behind)) as server:
            with self._lock:
                self._clients.add(client)
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            self._pump(client, server)
            back.join()
        with self._lock:
            self._clients.discard(client)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_PIECE):
                self._passes.wait()
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _listening(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port), backlog=128)


@contextmanager
def gate_before(port: int) -> Iterator[Gate]:
    """A gate before a server on this port of 127.0.0.1."""
    gate = Gate(port)
    try:
        yield gate
    finally:
        gate.close()


@contextmanager
def gate_to(url: str) -> Iterator[tuple[Gate, str]]:
    """A gate before the server of a URL, and the URL that goes through it."""
    parts = urlsplit(url)
    with gate_before(parts.port or 0) as gate:
        yield gate, parts._replace(netloc=f"127.0.0.1:{gate.port}").geturl()
