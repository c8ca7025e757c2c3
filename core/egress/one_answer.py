"""Reads one answer for one request over an aiohttp connection, whatever the other side sends. It opens nothing.

aiohttp forgets an answer's status when what follows in the same packet breaks the protocol, and would take bytes that
came behind an answer for the next one. Here a head that has come counts, and a connection that said too much is closed.
"""

import re
import select
from asyncio import AbstractEventLoop, BaseTransport
from typing import Any, Self

from aiohttp import ClientPayloadError, ClientResponse, StreamReader
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

_HEAD_BYTES_MAX = 256 * 1024
"""Of all lines before an answer's body, interim answers included."""
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_LONGEST_END = 4


class OneAnswer(ResponseHandler):
    """aiohttp's side of a connection, which hears one answer to each request."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        super().__init__(loop)
        self._body: StreamReader | None = None
        """of the present request's answer, once its head has come"""
        self._head_so_far = b""
        self._head_bytes = 0
        self.overran = False
        """whether more came than the answer"""

    def set_response_params(self, **parameters: Any) -> None:
        """Begin with the next request. A connection that was used, and has something to say, is closed instead."""
        if self._body is not None and _has_unread(self.transport):
            # the request is sent over a new connection: nothing of it has left yet
            self.close()
        self._body, self._head_so_far, self._head_bytes, self.overran = None, b"", 0, False
        super().set_response_params(**parameters)

    def data_received(self, data: bytes) -> None:
        """Read what came: a head apart from what follows it, and nothing behind the end of the answer."""
        if not data:
            # a reader that was slow goes on
            super().data_received(data)
        while data and self.exception() is None:
            if self._is_over():
                self._overrun()
                return
            if self._body is None:
                piece, data = self._up_to_head_end(data)
                if self._is_too_long(piece):
                    return
            else:
                piece, data = data, b""
            super().data_received(piece)

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Keep the answer whose head was read; one more is none of ours."""
        message, body = data
        if self._body is not None:
            self._overrun()
            return
        if message.code == 101 or not 100 <= message.code < 200:
            self._body = body
        super().feed_data(data, size)

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        """End the exchange. A body that has begun ends with it, and a whole answer stands."""
        super().set_exception(exc, *cause)
        if self._body is None:
            return
        if not self._is_over():
            self._body.set_exception(ClientPayloadError("the body breaks the protocol"), *cause)
        elif isinstance(exc, HttpProcessingError):
            self.overran = True

    def _is_over(self) -> bool:
        return self._body is not None and self._body.is_eof()

    def _overrun(self) -> None:
        self.overran = True
        self.force_close()
        if self.transport is not None:
            self.transport.close()

    def _is_too_long(self, piece: bytes) -> bool:
        """Count what comes before the body; of an answer that has no end there, end the exchange."""
        self._head_bytes += len(piece)
        if self._head_bytes <= _HEAD_BYTES_MAX:
            return False
        self.set_exception(LineTooLong(b"", _HEAD_BYTES_MAX))
        if self.transport is not None:
            self.transport.close()
        return True

    def _up_to_head_end(self, data: bytes) -> tuple[bytes, bytes]:
        """What belongs to the head, as far as it came, and what follows it."""
        found = _END_OF_HEAD.search(self._head_so_far + data)
        if found is None:
            self._head_so_far = (self._head_so_far + data)[1 - _LONGEST_END :]
            return data, b""
        end = found.end() - len(self._head_so_far)
        self._head_so_far = b""
        return data[:end], data[end:]


class Answer(ClientResponse):
    """An answer that knows whether more came behind it."""

    _reader: OneAnswer | None = None

    @property
    def overran(self) -> bool:
        """Whether more came than the answer. Asked before its end, it says what is known then."""
        return self._reader is not None and self._reader.overran

    async def start(self, connection: Connection) -> Self:
        """Read the head."""
        if isinstance(connection.protocol, OneAnswer):
            self._reader = connection.protocol
        await super().start(connection)
        return self


def _has_unread(transport: BaseTransport | None) -> bool:
    """Whether the other side has sent something that nobody read, if only that it hung up."""
    socket = transport.get_extra_info("socket") if transport is not None else None
    if socket is None or socket.fileno() < 0:
        return False
    waiting = select.poll()
    waiting.register(socket.fileno(), select.POLLIN)
    return bool(waiting.poll(0))
