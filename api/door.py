"""The server's side of the application: takes requests as they came over the wire, and hands them to Flask in a thread.

A WSGI server gives a path that is decoded already, and header names whose `_` and `-` are the same. Both decide here
what a request is, before anything is mixed up. It has no route and no rule of any other kind.
"""

import asyncio
import contextlib
import io
import queue
import re
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from werkzeug.exceptions import ClientDisconnected

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Answered = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers and body."""
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

REPEATED: Final = "keystage.repeated"
"""Where a request says which header stands in it twice that may stand once."""
NOWHERE: Final = "/*"
"""A path that no route has."""
_ONCE: Final = (b"authorization", b"x-namespace", b"idempotency-key", b"host")
_PLAIN: Final = {b"content-length": "CONTENT_LENGTH", b"content-type": "CONTENT_TYPE"}
_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")


class Door:
    """The application as an ASGI server calls it."""

    def __init__(self, application: Application, threads: int) -> None:
        self._application = application
        self._waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        for number in range(threads):
            # daemons: a process that is told to end does not wait for whoever sends slowly
            threading.Thread(target=self._work, name=f"request-{number}", daemon=True).start()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        loop = asyncio.get_running_loop()
        # a thread is taken when the body has begun to arrive: it need not wait for who sends slowly, or not at all
        body = _Body(loop, receive, await receive())
        environ = environ_of(scope) | {"wsgi.input": io.BufferedReader(body)}
        status, headers, content = await self._in_a_thread(loop, environ)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _in_a_thread(self, loop: asyncio.AbstractEventLoop, environ: dict[str, Any]) -> Answered:
        future: asyncio.Future[Answered] = loop.create_future()

        def work() -> None:
            try:
                answered = self._answer(environ)
            except Exception as error:
                _tell(loop, future, error)
            else:
                _tell(loop, future, answered)

        self._waiting.put(work)
        return await future

    def _work(self) -> None:
        while True:
            self._waiting.get()()

    def _answer(self, environ: dict[str, Any]) -> Answered:
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
            del exc_info
            started.append((status, headers))

        answer = self._application(environ, start_response)
        try:
            content = b"".join(answer)
        finally:
            getattr(answer, "close", lambda: None)()
        status, headers = started[-1]
        sent = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return int(status.split(" ", 1)[0]), sent, content


def _tell(loop: asyncio.AbstractEventLoop, future: "asyncio.Future[Answered]", outcome: Answered | Exception) -> None:
    def settle() -> None:
        if future.done():
            # the server gave the request up
            return
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
        loop.call_soon_threadsafe(settle)


def environ_of(scope: Message) -> dict[str, Any]:
    """A request as WSGI has it, without its body."""
    headers = [(name.lower(), value) for name, value in scope["headers"] if b"_" not in name]
    counts = Counter(name for name, _ in headers)
    server, client = scope.get("server") or ("", None), scope.get("client") or ("", None)
    return {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": path_of(scope["raw_path"]),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": str(server[0]),
        "SERVER_PORT": str(server[1] or ""),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": str(client[0]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.errors": sys.stderr,
        # the server knows where a body ends, whether it names its length or not
        "wsgi.input_terminated": True,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        REPEATED: next((name.decode().title() for name in _ONCE if counts[name] > 1), None),
        **_as_environ(headers),
    }


def path_of(raw: bytes) -> str:
    """A path, decoded once, as WSGI has it; `NOWHERE` for one that could be read in two ways.

    Those are empty segments, `.` and `..`, an encoded `/`, control characters, broken escapes, and what is no UTF-8.
    """
    segments = raw.removeprefix(b"/").split(b"/")
    decoded = [unquote_to_bytes(segment) for segment in segments]
    # one slash at the end is a path of its own
    inner = decoded[:-1] if len(decoded) > 1 and not decoded[-1] else decoded
    root = raw == b"/"
    odd = not raw.startswith(b"/") or _BROKEN_ESCAPE.search(raw) or b"\\" in raw
    if not root and (odd or any(map(_is_odd, inner))):
        return NOWHERE
    return "/" + b"/".join(decoded).decode("latin-1")


def _is_odd(segment: bytes) -> bool:
    if segment in {b"", b".", b".."} or b"/" in segment or _CONTROL.search(segment):
        return True
    try:
        segment.decode()
    except UnicodeDecodeError:
        return True
    return False


def _as_environ(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    environ: dict[str, str] = {}
    for name, value in headers:
        key = _PLAIN.get(name) or "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ


class _Body(io.RawIOBase):
    """A request's body, fetched from the server piece by piece when it is read."""

    def __init__(self, loop: asyncio.AbstractEventLoop, receive: Receive, first: Message) -> None:
        self._loop = loop
        self._receive = receive
        self._message = first
        self._left = bytes(first.get("body", b""))

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes; 0 at the end. Raises ClientDisconnected for one that breaks off, or its protocol."""
        while not self._left:
            if self._message["type"] == "http.disconnect":
                raise ClientDisconnected
            if not self._message.get("more_body", False):
                return 0
            self._message = asyncio.run_coroutine_threadsafe(self._next(), self._loop).result()
            self._left = bytes(self._message.get("body", b""))
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count

    async def _next(self) -> Message:
        return await self._receive()
