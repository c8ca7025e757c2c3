"""Which addresses may be called. Pure. Deny unless an address is public unicast or in a range the operator allows.

`ipaddress.is_global` alone is not enough: on Python 3.11 it says yes to multicast, NAT64, 6to4, site-local and others,
so they are named here.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import EgressDeniedError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_PUBLIC_PORTS = frozenset({80, 443})
_DENIED = tuple(
    ipaddress.ip_network(text)
    for text in (
        "100.64.0.0/10",  # carrier-grade NAT
        "168.63.129.16/32",  # a cloud's metadata address
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # 6to4 relays
        "::/96",  # IPv4-compatible
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # local NAT64
        "2001::/23",  # protocol assignments, Teredo among them
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
        "fec0::/10",  # site-local
    )
)


@dataclass(frozen=True)
class EgressPolicy:
    """The operator's exceptions, and the rule for everything else."""

    allowed: tuple[Network, ...] = ()

    @staticmethod
    def allowing(cidrs: Sequence[str]) -> "EgressPolicy":
        """A policy with these ranges allowed on every port. Raises ValueError for a bad range."""
        return EgressPolicy(tuple(ipaddress.ip_network(cidr, strict=False) for cidr in cidrs))

    def check(self, address_text: str, port: int) -> None:
        """Raises EgressDeniedError when this concrete address and port may not be called. The text never names it."""
        if not self.allows(ipaddress.ip_address(address_text.split("%")[0]), port):
            raise EgressDeniedError

    def allows(self, address: Address, port: int) -> bool:
        """Whether this concrete address and port may be called."""
        bare = _unmapped(address)
        if any(bare in network for network in self.allowed):
            return True
        return port in _PUBLIC_PORTS and _is_public(bare)


def _unmapped(address: Address) -> Address:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_public(address: Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in network for network in _DENIED)
    )
