"""Slows down whoever guesses keys, before the database is asked. Counts failures only; a good key costs nothing."""

import ipaddress
from dataclasses import dataclass

from redis import Redis

from core.limits.policy import Policy
from core.limits.redis_rates import load_script
from core.storage.redis import key_failures_key, source_failures_key
from core.storage.redis_memory import unless_away

_IPV6_NETWORK_BITS = 64
"""What one customer of a provider gets: whoever has one such address has all of that network."""


@dataclass(frozen=True)
class FailurePolicies:
    """How many failures are heard out, from one source and about one key id."""

    source: Policy
    key: Policy


class AuthFailureLimiter:
    """Failed authentications of each source address and of each key id."""

    def __init__(self, redis: Redis, policies: FailurePolicies) -> None:
        self._policies = policies
        self._script = load_script(redis, "failures")

    def check(self, source: str, key_id: str | None) -> int | None:
        """Seconds to wait before a key may be tried again, or None. Redis away: None, and `note` will say so."""
        wait_us = self._run(source, key_id, note=False)
        return -(-wait_us // 1_000_000) if wait_us else None

    def note(self, source: str, key_id: str | None) -> bool:
        """Count a failure. False when Redis is away: the caller must then not say whether the key was wrong."""
        return self._run(source, key_id, note=True) is not None

    def _run(self, source: str, key_id: str | None, note: bool) -> int | None:
        rates = [(source_failures_key(_network(source)), self._policies.source)]
        if key_id is not None:
            rates.append((key_failures_key(key_id), self._policies.key))
        arguments = [int(note)]
        for _, policy in rates:
            arguments += [policy.interval_us, policy.burst]
        return unless_away(lambda: int(self._script(keys=[key for key, _ in rates], args=arguments)))


def _network(source: str) -> str:
    """The address as it is counted: IPv4 by itself, also inside IPv6, and IPv6 by its network."""
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        # a server behind a local socket has no address to tell callers apart: they share one count
        return source
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((int(address), _IPV6_NETWORK_BITS), strict=False))
        address = address.ipv4_mapped
    return str(address)
