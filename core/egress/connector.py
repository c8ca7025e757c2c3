"""An aiohttp connector that calls only what the policy allows.

Two checks: a name is refused when any of its addresses is bad, and the concrete address is checked again at the
moment of connecting, which also sees literal addresses in every spelling.
"""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from aiohttp import TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler

from core.egress.one_answer import OneAnswer
from core.egress.policy import EgressPolicy

_KEEP_ALIVE_SECONDS = 30.0
_ADDRESS_IS_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class GuardedResolver(AbstractResolver):
    """Resolves a name, and refuses it when any answer may not be called.

    It has threads of its own: the few of an event loop (uvloop has four) are soon all taken by names that nobody
    answers for, and one tenant's names must not hold up another's.
    """

    def __init__(self, policy: EgressPolicy, threads: int) -> None:
        self._policy = policy
        self._threads = ThreadPoolExecutor(threads, "names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of `host`. Raises EgressDeniedError."""
        look_up = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        for *_, address in found:
            self._policy.check(str(address[0]), port)
        return [
            ResolveResult(
                hostname=host, host=str(address[0]), port=port, family=kind, proto=protocol, flags=_ADDRESS_IS_NUMERIC
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Wait for no look-up."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Connector(TCPConnector):
    """A connector whose connections hear one answer to each request."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        one_answer: type[ResponseHandler] = OneAnswer
        self._factory = partial(one_answer, self._loop)


def guarded_connector(policy: EgressPolicy, limit: int, *, keep_alive: bool) -> TCPConnector:
    """A connector for one session, with `limit` connections. Raises EgressDeniedError inside a request.

    There is no limit per host: tenants share hosts, and one tenant's slow endpoint must not hold up another's.
    """

    def guarded_socket(address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _name, target = address
        policy.check(target[0], target[1])
        return socket.socket(family, kind, protocol)

    return _Connector(
        resolver=GuardedResolver(policy, threads=limit),
        socket_factory=guarded_socket,
        use_dns_cache=False,
        limit=limit,
        force_close=not keep_alive,
        keepalive_timeout=_KEEP_ALIVE_SECONDS if keep_alive else None,
    )
