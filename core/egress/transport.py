"""An HTTP transport for httpx2: resolves a name once, checks every address, and connects to the address it checked.

One deadline covers look-up, connect, send and answer, however slowly the other side drips. Proxies and netrc of the
environment are never read. Without a policy (base URLs that the operator set) it keeps the deadline alone.
"""

import math
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from contextvars import ContextVar
from ssl import SSLContext
from typing import Any

import httpcore2
import httpx2

from core.egress.policy import EgressPolicy
from core.egress.target import target_of
from core.errors import EgressDeniedError

Resolve = Callable[[str, int], Sequence[str]]
"""A name to its addresses."""

_deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)
_LOOK_UP_THREADS = 8
_CONNECT_SECONDS = 10.0
"""How long a look-up and a connection may take, whatever is left of the deadline."""
_CONNECTIONS = httpx2.Limits(max_connections=64, max_keepalive_connections=16, keepalive_expiry=30)

_KINDS: tuple[tuple[type[Exception], type[httpx2.TransportError]], ...] = (
    (httpcore2.PoolTimeout, httpx2.PoolTimeout),
    (httpcore2.ConnectTimeout, httpx2.ConnectTimeout),
    (httpcore2.TimeoutException, httpx2.ReadTimeout),
    (httpcore2.ConnectError, httpx2.ConnectError),
    (httpcore2.NetworkError, httpx2.ReadError),
    (httpcore2.UnsupportedProtocol, httpx2.UnsupportedProtocol),
    (httpcore2.LocalProtocolError, httpx2.LocalProtocolError),
    (httpcore2.ProtocolError, httpx2.RemoteProtocolError),
)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Everything that this thread's requests do inside the block ends within `seconds`."""
    token = _deadline.set(min(_deadline.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _deadline.reset(token)


def remaining_seconds() -> float:
    """What is left of the deadline; infinite without one."""
    return _deadline.get() - time.monotonic()


def outbound_client(
    policy: EgressPolicy | None,
    resolve: Resolve | None = None,
    through: Callable[[httpx2.BaseTransport], httpx2.BaseTransport] = lambda transport: transport,
    connect_seconds: float = _CONNECT_SECONDS,
    trust: SSLContext | None = None,
) -> httpx2.Client:
    """A client over this transport: no redirects, nothing from the environment. Safe for several threads.

    `through` puts another transport around it; `trust` knows who is believed to be whom, by default as everybody does.
    """
    return httpx2.Client(
        transport=through(PinnedTransport(policy, resolve or system_resolve, connect_seconds, trust)),
        trust_env=False,
        follow_redirects=False,
        timeout=httpx2.Timeout(None),
    )


def system_resolve(host: str, port: int) -> Sequence[str]:
    """The addresses that the system gives, in its order."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class PinnedTransport(httpx2.BaseTransport):
    """The transport. Raises EgressDeniedError, and httpx2's errors for all else that fails."""

    def __init__(
        self,
        policy: EgressPolicy | None,
        resolve: Resolve = system_resolve,
        connect_seconds: float = _CONNECT_SECONDS,
        trust: SSLContext | None = None,
    ) -> None:
        """`trust` knows who is believed to be whom; left out, that are the usual authorities."""
        self._pool = httpcore2.ConnectionPool(
            ssl_context=trust or httpx2.create_ssl_context(trust_env=False),
            max_connections=_CONNECTIONS.max_connections,
            max_keepalive_connections=_CONNECTIONS.max_keepalive_connections,
            keepalive_expiry=_CONNECTIONS.keepalive_expiry,
            network_backend=_PinnedBackend(policy, resolve, connect_seconds),
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request. Raises EgressDeniedError for a URL that could be read in two ways."""
        url = request.url
        try:
            target_of(str(url))
        except ValueError as error:
            raise EgressDeniedError(f"This URL may not be called: {error}.") from None
        with _translated():
            answered = self._pool.handle_request(
                httpcore2.Request(
                    method=request.method,
                    url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions={**request.extensions, "timeout": _timeouts(request.extensions)},
                )
            )
        return httpx2.Response(
            answered.status, headers=answered.headers, stream=_Body(answered.stream), extensions=answered.extensions
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


class _Body(httpx2.SyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        with _translated():
            yield from self._stream

    def close(self) -> None:
        self._stream.close()


class _PinnedBackend(httpcore2.NetworkBackend):
    """Opens connections to checked addresses. The name stays with the caller, for TLS and the Host header."""

    def __init__(self, policy: EgressPolicy | None, resolve: Resolve, connect_seconds: float) -> None:
        self._policy = policy
        self._resolve = resolve
        self._connect_seconds = connect_seconds
        self._inner = httpcore2.SyncBackend()
        # a name that nobody answers for holds a thread for long; it must not hold up the caller past its deadline
        self._threads = ThreadPoolExecutor(_LOOK_UP_THREADS, "names")

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        with deadline(self._connect_seconds), _not_connected_in_time():
            failure: Exception = httpcore2.ConnectError("the name has no address")
            addresses = self._checked(host, port)
            for tried, address in enumerate(addresses):
                # where nobody answers, the other addresses keep their share of the time
                share = (_left(timeout) or math.inf) / (len(addresses) - tried)
                try:
                    return _TimedStream(self._inner.connect_tcp(address, port, share, local_address, socket_options))
                except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                    failure = error
            raise failure

    def _checked(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = self._threads.submit(self._resolve, host, port).result(_left(None))
        except FutureTimeoutError:
            raise httpcore2.ConnectTimeout("the name was not resolved in time") from None
        except (OSError, UnicodeError):
            raise httpcore2.ConnectError("the name cannot be resolved") from None
        if self._policy:
            # one bad address among good ones is an attack or a mistake: none of them is called
            for address in addresses:
                self._policy.check(address, port)
        return addresses


class _TimedStream(httpcore2.NetworkStream):
    """A connection whose every read and write ends with the deadline of the request that uses it."""

    def __init__(self, inner: httpcore2.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _TimedStream(self._inner.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _left(timeout: float | None) -> float | None:
    """The shorter of a timeout and what the deadline leaves. Raises ReadTimeout when nothing is left."""
    left = min(remaining_seconds(), math.inf if timeout is None else timeout)
    if left <= 0:
        raise httpcore2.ReadTimeout("the deadline has passed")
    return None if left == math.inf else left


def _timeouts(extensions: Mapping[str, Any]) -> Mapping[str, float | None]:
    """A request's own, and for the wait for a connection that is free what the deadline leaves."""
    own = extensions.get("timeout", {})
    return {**own, "pool": _left(own.get("pool"))}


@contextmanager
def _not_connected_in_time() -> Iterator[None]:
    try:
        yield
    except httpcore2.ReadTimeout as error:
        raise httpcore2.ConnectTimeout(str(error)) from error


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except tuple(kind for kind, _ in _KINDS) as error:
        meant = next(ours for kind, ours in _KINDS if isinstance(error, kind))
        raise meant(str(error)) from error
