"""Addresses that must not be reached, and the operator's exceptions."""

import pytest

from core.egress.policy import EgressPolicy
from core.errors import EgressDeniedError

DANGEROUS = [
    "127.0.0.1",
    "0.0.0.0",  # noqa: S104 - an address under test
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",  # cloud metadata
    "100.64.0.1",
    "168.63.129.16",
    "192.0.0.8",
    "192.88.99.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "::127.0.0.1",
    "::ffff:127.0.0.1",  # mapped loopback
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::",
    "2001::1",
    "fc00::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "3fff::1",
    "5f00::1",
]


@pytest.mark.parametrize("address", DANGEROUS)
def test_a_dangerous_address_is_refused_and_not_named(address: str) -> None:
    with pytest.raises(EgressDeniedError) as refused:
        EgressPolicy().check(address, 443)
    assert address not in str(refused.value)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:93.184.216.34"])
def test_a_public_address_is_allowed_on_web_ports_only(address: str) -> None:
    EgressPolicy().check(address, 443)
    EgressPolicy().check(address, 80)
    with pytest.raises(EgressDeniedError):
        EgressPolicy().check(address, 6379)


def test_an_operator_may_allow_a_range_on_every_port() -> None:
    policy = EgressPolicy.allowing(["127.0.0.0/8"])
    policy.check("127.0.0.1", 6379)
    policy.check("::ffff:127.0.0.1", 6379)
    with pytest.raises(EgressDeniedError):
        policy.check("10.0.0.1", 443)
