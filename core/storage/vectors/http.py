"""How Qdrant's client reaches its server: over our transport, so that one deadline holds over a whole call.

The client takes a transport of httpx, an elder brother of our HTTP client, whose own deadlines begin anew with each
byte. It translates no error: the client wraps whatever comes.
"""

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import httpx2

from core.backends.absence import CONNECT_SECONDS
from core.egress.transport import PinnedTransport


class DeadlineTransport(httpx.BaseTransport):
    """Sends by our transport."""

    def __init__(self, ca_file: Path | None) -> None:
        """`ca_file` vouches for the server; left out, a CA that the machine knows."""
        trust = ssl.create_default_context(cafile=str(ca_file)) if ca_file else httpx.create_ssl_context()
        self._inner = PinnedTransport(None, connect_seconds=CONNECT_SECONDS, trust=trust)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request. Raises httpx2's errors."""
        answered = self._inner.handle_request(
            httpx2.Request(request.method, str(request.url), headers=request.headers.raw, content=request.read())
        )
        return httpx.Response(answered.status_code, headers=answered.headers.raw, stream=_Body(answered))

    def close(self) -> None:
        """Close all connections."""
        self._inner.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, answered: httpx2.Response) -> None:
        self._answered = answered

    def __iter__(self) -> Iterator[bytes]:
        return self._answered.iter_raw()

    def close(self) -> None:
        self._answered.close()
