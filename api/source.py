"""Where a request comes from: the peer's address, or what a trusted proxy says of it. It trusts nobody else."""

import ipaddress
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def client_address(peer: str, forwarded_for: str, trusted_proxies: Sequence[Network]) -> str:
    """The client's address: walking X-Forwarded-For from its end, the first that is no trusted proxy."""
    address = peer
    for hop in reversed([part.strip() for part in forwarded_for.split(",") if part.strip()]):
        if not _trusted(address, trusted_proxies):
            break
        address = hop
    return _normal(address)


def came_over_tls(scheme: str, peer: str, forwarded_proto: str, trusted_proxies: Sequence[Network]) -> bool:
    """Whether the client spoke TLS: to this server, or to a trusted proxy that says so."""
    said = forwarded_proto.rpartition(",")[2].strip().lower()
    return scheme == "https" or (said == "https" and _trusted(peer, trusted_proxies))


def _trusted(address: str, proxies: Sequence[Network]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in proxy for proxy in proxies)


def _normal(address: str) -> str:
    """One spelling of an address; an IPv4 one that came over IPv6 as IPv4. What is no address counts as unknown."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)
