"""An aiohttp connector that calls only what the policy allows.

Two checks: a name is refused when any of its addresses is bad, and the concrete address is checked again at the
moment of connecting, which also sees literal addresses in every spelling.
"""

import socket
from typing import Any

from aiohttp import TCPConnector, ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult

from core.egress.policy import EgressPolicy

_KEEP_ALIVE_SECONDS = 30.0


class GuardedResolver(AbstractResolver):
    """Resolves a name, and refuses it when any answer may not be called."""

    def __init__(self, policy: EgressPolicy) -> None:
        self._policy = policy
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of `host`. Raises EgressDeniedError."""
        answers = await self._resolver.resolve(host, port, family)
        for answer in answers:
            self._policy.check(answer["host"], port)
        return answers

    async def close(self) -> None:
        """Nothing is held open."""
        await self._resolver.close()


def guarded_connector(policy: EgressPolicy, limit: int, *, keep_alive: bool) -> TCPConnector:
    """A connector for one session, with `limit` connections. Raises EgressDeniedError inside a request.

    There is no limit per host: tenants share hosts, and one tenant's slow endpoint must not hold up another's.
    """

    def guarded_socket(address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _name, target = address
        policy.check(target[0], target[1])
        return socket.socket(family, kind, protocol)

    return TCPConnector(
        resolver=GuardedResolver(policy),
        socket_factory=guarded_socket,
        use_dns_cache=False,
        limit=limit,
        force_close=not keep_alive,
        keepalive_timeout=_KEEP_ALIVE_SECONDS if keep_alive else None,
    )
