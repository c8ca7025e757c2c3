"""Nothing leaves the machine unasked: no process of a whole start connects to anything but loopback.

`strace` sees the calls of every process, whatever its language. It comes from the system, not from the lock.
"""

import ipaddress
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.stack import TRACER, running_stack, wait_until

_INTERNET = re.compile(r'sin6?_port=htons\((\d+)\).*?(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]+)"')


@pytest.mark.skipif(shutil.which(TRACER) is None, reason="needs strace, which continuous integration installs")
def test_a_whole_start_connects_to_nothing_but_loopback(tmp_path: Path) -> None:
    trace = tmp_path / "connections"
    # detached, so that the stack itself is our child and gets our signals
    tracer = (
        TRACER,
        "-D",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-e",
        "trace=connect,sendto,sendmsg,sendmmsg",
        "-o",
        str(trace),
    )
    with running_stack(tmp_path / "data", tracer=tracer):
        pass
    wait_until(lambda: not _traced(trace), 30, "the tracer to end")
    made = Counter(_destinations(trace))
    outside = {address: count for address, count in made.items() if not _is_loopback(address)}
    print(f"\nconnections of a whole start: {made.total()}, to anything but loopback: {sum(outside.values())}")
    # our processes reach their database and Redis by it, so what was seen is not nothing
    assert made["127.0.0.1"] > 10
    assert outside == {}


def _traced(trace: Path) -> bool:
    tracers = (process.info for process in psutil.process_iter(["name", "cmdline"]))
    return any(info["name"] == TRACER and str(trace) in (info["cmdline"] or ()) for info in tracers)


def _is_loopback(address: str) -> bool:
    found = ipaddress.ip_address(address)
    # an IPv4 address may be written as IPv6, which Python 3.11 does not look through
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def _destinations(trace: Path) -> Iterator[str]:
    for line in trace.read_text(errors="replace").splitlines():
        yield from (address for _, address in _INTERNET.findall(line))


def test_a_connection_to_outside_would_be_noticed(tmp_path: Path) -> None:
    line = '7 connect(9, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("169.254.169.254")}, 16) = -1\n'
    line += '7 sendto(9, "", 0, 0, {sa_family=AF_INET6, sin6_port=htons(53), sin6_flowinfo=htonl(0), '
    line += 'inet_pton(AF_INET6, "2001:db8::1", &sin6_addr), sin6_scope_id=0}, 28) = 0\n'
    (tmp_path / "trace").write_text(line)
    assert list(_destinations(tmp_path / "trace")) == ["169.254.169.254", "2001:db8::1"]
    assert [_is_loopback(name) for name in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254")] == [
        True, True, True, False,
    ]  # fmt: skip
