"""Speaks TLS in front of a real server that cannot: the embedded Redis. It changes no byte."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.certificates import Identity


def server_context(identity: Identity, client_ca: Path | None = None) -> ssl.SSLContext:
    """What a server needs to prove itself, and to ask the same of its clients."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.cert, identity.key)
    if client_ca:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@contextmanager
def tls_in_front_of(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """A port of 127.0.0.1 that speaks TLS and passes on to a plain `port`."""
    loop = asyncio.new_event_loop()
    bound = threading.Event()
    proxy = _Proxy(port, context)
    thread = threading.Thread(target=lambda: loop.run_until_complete(proxy.run(bound)))
    thread.start()
    bound.wait(10)
    try:
        yield proxy.port
    finally:
        loop.call_soon_threadsafe(proxy.stopping.set)
        thread.join(10)
        loop.close()


class _Proxy:
    def __init__(self, target: int, context: ssl.SSLContext) -> None:
        self._target, self._context = target, context
        self.stopping = asyncio.Event()
        self.port = 0
        self._open: set[asyncio.Task[None]] = set()

    async def run(self, bound: threading.Event) -> None:
        """Serve until told to stop."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        bound.set()
        await self.stopping.wait()
        server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._open.add(task)
        behind = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            with suppress(OSError):
                async with asyncio.TaskGroup() as both:
                    both.create_task(_pump(reader, behind[1]))
                    both.create_task(_pump(behind[0], writer))
        except (asyncio.CancelledError, ExceptionGroup):
            return
        finally:
            self._open.discard(task)
            # not closed politely: a peer that went away would never answer the farewell
            writer.transport.abort()
            behind[1].transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
