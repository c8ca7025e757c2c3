"""Speaks MongoDB's wire protocol in front of a real server, and takes one ability away from it.

A weakness sees each command as it was sent, and may change it, answer it itself, or change the answer.
"""

import itertools
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import bson
from bson.codec_options import CodecOptions

Document = dict[str, Any]
Ask = Callable[[Document], Document]
"""Sends a command to the real server and gives its answer."""

_HEADER = struct.Struct("<iiii")
_OP_MSG = 2013
_MORE_TO_COME = 2
_OPTIONS: CodecOptions[Document] = CodecOptions(document_class=dict, tz_aware=True)
_requests = itertools.count(1_000_000)


class Weakness:
    """Takes nothing away."""

    def answer(self, name: str, command: Document, ask: Ask) -> Document:
        """The answer to a command."""
        return ask(command)


@dataclass
class _Message:
    """One message of the wire protocol."""

    request: int
    code: int
    raw: bytes

    @property
    def flags(self) -> int:
        return int(struct.unpack_from("<I", self.raw, 16)[0])

    def document(self) -> Document:
        """The command or answer of an OP_MSG, its sequences of documents put into it."""
        place = 20
        document: Document = {}
        while place < len(self.raw):
            kind = self.raw[place]
            place += 1
            (size,) = struct.unpack_from("<i", self.raw, place)
            part = self.raw[place : place + size]
            if kind == 0:
                document |= bson.decode(part, _OPTIONS)
            else:
                name, _, documents = part[4:].partition(b"\0")
                document[name.decode()] = bson.decode_all(documents, _OPTIONS)
            place += size
        return document


def _message(document: Document, request: int, answers: int, flags: int = 0) -> bytes:
    body = struct.pack("<I", flags) + b"\0" + bson.encode(document, codec_options=_OPTIONS)
    return _HEADER.pack(16 + len(body), request, answers, _OP_MSG) + body


def _read(connection: socket.socket) -> _Message | None:
    head = _exactly(connection, 16)
    if head is None:
        return None
    size, request, _, code = _HEADER.unpack(head)
    rest = _exactly(connection, size - 16)
    return None if rest is None else _Message(request, code, head + rest)


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            return None
        data += part
    return data


@contextmanager
def weakened(url: str, weakness: Weakness) -> Iterator[str]:
    """The URL of a server that is the one behind `url`, but for the weakness."""
    place = urlsplit(url)

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError), socket.create_connection((str(place.hostname), place.port or 0)) as behind:
                _serve(self.request, behind, weakness)

    class Server(ThreadingTCPServer):
        daemon_threads = True
        # the driver keeps a monitor's connection open to the end
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield place._replace(netloc=f"127.0.0.1:{server.server_address[1]}").geturl()
        finally:
            server.shutdown()
            thread.join()


def _serve(client: socket.socket, server: socket.socket, weakness: Weakness) -> None:
    def ask(command: Document) -> Document:
        server.sendall(_message(command, next(_requests), 0))
        answer = _read(server)
        if answer is None:
            raise ConnectionError
        return answer.document()

    while message := _read(client):
        if message.code != _OP_MSG or _is_a_monitors(message):
            _pass_on(message, client, server)
            continue
        command = message.document()
        name = next(iter(command))
        answer = weakness.answer(name, command, ask)
        if name == "buildInfo":
            # it is another server than the one behind it
            answer["modules"] = ["weakened"]
        client.sendall(_message(answer, next(_requests), message.request))


def _is_a_monitors(message: _Message) -> bool:
    # it is answered again and again, and decides nothing but where the server is
    return "topologyVersion" in message.document()


def _pass_on(message: _Message, client: socket.socket, server: socket.socket) -> None:
    server.sendall(message.raw)
    while answer := _read(server):
        client.sendall(answer.raw)
        if answer.code != _OP_MSG or not answer.flags & _MORE_TO_COME:
            return
