"""A customer's endpoint for tests: a real local HTTP server that answers as told and keeps what it was sent."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Answer = Callable[[socket.socket], None]


def plain(status: int, headers: str = "", body: bytes = b"") -> Answer:
    """A complete answer."""

    def answer(connection: socket.socket) -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{headers}\r\n"
        connection.sendall(head.encode() + body)

    return answer


def kept_alive(connection: socket.socket) -> None:
    """A good answer, after which the connection stays open."""
    connection.sendall(b"HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n")


def hang_up(connection: socket.socket) -> None:
    """No answer: the connection is closed after the request was read."""
    connection.shutdown(socket.SHUT_RDWR)


def raw(data: bytes) -> Answer:
    """These bytes, whatever they are, and nothing more."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_RDWR)

    return answer


def byte_by_byte(data: bytes) -> Answer:
    """The same, in packets of one byte each."""

    def answer(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(data)):
            connection.sendall(data[at : at + 1])
            time.sleep(0.001)
        connection.shutdown(socket.SHUT_RDWR)

    return answer


_LONG_BODY = b"HTTP/1.1 200 X\r\nContent-Length: 100000000\r\n\r\n"


def dripping(piece: bytes, seconds_between: float, head: bytes = _LONG_BODY) -> Answer:
    """An answer that never ends: `head`, then one piece after the other."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(piece)
            time.sleep(seconds_between)

    return answer


def endless_continue(connection: socket.socket) -> None:
    """Interim answers without an end."""
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.1)


def silent(connection: socket.socket) -> None:
    """No answer at all, until the caller goes away."""
    while connection.recv(4096):
        pass


@dataclass(frozen=True)
class Request:
    """One request that arrived."""

    headers: dict[str, str]
    body: bytes
    peer: tuple[str, int] = ("", 0)
    """where it came from: the same for each request of one connection"""
    target: str = ""
    """what was asked for, as it came"""


@dataclass
class TestReceiver:
    """Keeps each request; answers with `answers` in turn, the last one for ever."""

    __test__ = False

    url: str
    answers: list[Answer]
    requests: list[Request] = field(default_factory=list)

    def wait_for(self, count: int, seconds: float = 60.0) -> list[Request]:
        """The first `count` requests. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while len(self.requests) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self.requests)} of {count} requests arrived")
            time.sleep(0.02)
        return self.requests[:count]


@contextmanager
def receiver(*answers: Answer) -> Iterator[TestReceiver]:
    """A receiver on a free port of 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        state = TestReceiver(f"http://127.0.0.1:{listener.getsockname()[1]}/hook", list(answers) or [plain(200)])
        threading.Thread(target=_accept, args=(listener, state), daemon=True).start()
        yield state


def _accept(listener: socket.socket, state: TestReceiver) -> None:
    while True:
        try:
            connection, _address = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(connection, state), daemon=True).start()


def _serve(connection: socket.socket, state: TestReceiver) -> None:
    with connection:
        try:
            while request := _read(connection):
                answer = state.answers[min(len(state.requests), len(state.answers) - 1)]
                state.requests.append(request)
                answer(connection)
        except OSError:
            # the sender hung up, as it should on a hostile answer
            return


def _read(connection: socket.socket) -> Request | None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return Request(headers, body, connection.getpeername(), first.split(" ")[1])
