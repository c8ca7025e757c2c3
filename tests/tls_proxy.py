"""Speaks TLS in front of a real server that cannot: the embedded Redis. It changes no byte."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

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

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            # a client that breaks the handshake off is what some tests are about
            with suppress(OSError), context.wrap_socket(self.request, server_side=True) as secure:  # noqa: SIM117
                with socket.create_connection(("127.0.0.1", port)) as behind:
                    back = Thread(target=_pump, args=(behind, secure), daemon=True)
                    back.start()
                    _pump(secure, behind)
                    back.join()

    class Server(ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
