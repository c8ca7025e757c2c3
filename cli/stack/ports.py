"""Chooses the ports of an embedded stack and remembers them, so that a restarted server keeps its address."""

import random
import socket
from collections.abc import Iterator, Mapping, Sequence

from cli.stack.layout import DataDirectory, read_json, write_json
from config.refusals import variable
from core.errors import ConflictError, UnavailableError

_LOWEST, _HIGHEST = 20_000, 32_700
"""Below Linux's range for outgoing connections, so that none of them takes the port of a server that restarts."""
_TRIES = 1_000
_NEXT_ONES = 100
"""So far from its usual port a server is looked for by hand."""
LOCALHOST = "127.0.0.1"


def choose_ports(
    layout: DataDirectory,
    names: Sequence[str],
    asked: Mapping[str, int],
    hosts: Mapping[str, str],
    first: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """A free port for each name: the asked one, else the remembered one if it is still free, else a new one.

    A new one is the next that is free from `first` on, or any. `hosts` says which servers listen elsewhere than on
    127.0.0.1. Raises ConflictError when an asked port is taken: it is never replaced by another.
    """
    remembered = remembered_ports(layout)
    chosen: dict[str, int] = {}
    for name, port in asked.items():
        if not is_free(port, hosts.get(name, LOCALHOST)):
            raise ConflictError(
                f"port {port} ({name}) is in use by another program, and it was asked for: stop that program, or ask "
                "for another port"
            )
        chosen[name] = port
    for name in names:
        if name not in chosen:
            wanted = _wanted(remembered.get(name), (first or {}).get(name))
            chosen[name] = _free_port(wanted, hosts.get(name, LOCALHOST), taken=set(chosen.values()))
    write_json(layout.ports, remembered | chosen)
    return chosen


def any_free_port(taken: set[int]) -> int:
    """A port of 127.0.0.1 that is none of these, and that no outgoing connection takes."""
    return _free_port(_wanted(None, None), LOCALHOST, taken)


def remembered_ports(layout: DataDirectory) -> dict[str, int]:
    """The ports of the last start, by name."""
    return read_json(layout.ports) or {}


def require_host(host: str) -> None:
    """Raise UnavailableError when a server of this machine cannot listen at `host`, whatever the port."""
    try:
        family, *_, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        raise UnavailableError(
            f"{variable('api_host')} names {host}, which is no address of this machine: use 127.0.0.1, or 0.0.0.0 for "
            "all of them"
        ) from error


def is_free(port: int, host: str) -> bool:
    """Whether a server could listen on this port now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # as servers do, so that connections in TIME_WAIT do not count
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _wanted(remembered: int | None, first: int | None) -> Iterator[int]:
    """Which ports to try, in this order."""
    if remembered is not None:
        yield remembered
    if first is not None:
        yield from range(first, first + _NEXT_ONES)
    for _ in range(_TRIES):
        yield random.randint(_LOWEST, _HIGHEST)  # noqa: S311 - keeps two stacks apart, guards nothing


def _free_port(wanted: Iterator[int], host: str, taken: set[int]) -> int:
    for port in wanted:
        if port not in taken and is_free(port, host):
            return port
    raise ConflictError(f"no port between {_LOWEST} and {_HIGHEST} is free")
