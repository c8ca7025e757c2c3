"""Chooses the ports of an embedded stack and remembers them, so that a restarted server keeps its address."""

import random
import socket
from collections.abc import Mapping, Sequence

from cli.stack.layout import DataDirectory, read_json, write_json
from core.errors import ConflictError

_LOWEST, _HIGHEST = 20_000, 32_700
"""Below Linux's range for outgoing connections, so that none of them takes the port of a server that restarts."""
_TRIES = 1_000
LOCALHOST = "127.0.0.1"


def choose_ports(
    layout: DataDirectory, names: Sequence[str], asked: Mapping[str, int], hosts: Mapping[str, str]
) -> dict[str, int]:
    """A free port for each name: the asked one, else the remembered one if it is still free, else a new one.

    `hosts` says which servers listen elsewhere than on 127.0.0.1. Raises ConflictError when an asked port is taken.
    """
    remembered = remembered_ports(layout)
    chosen: dict[str, int] = {}
    for name, port in asked.items():
        if not is_free(port, hosts.get(name, LOCALHOST)):
            raise ConflictError(f"port {port} ({name}) is in use by another program")
        chosen[name] = port
    for name in names:
        if name not in chosen:
            chosen[name] = _free_port(remembered.get(name), hosts.get(name, LOCALHOST), taken=set(chosen.values()))
    write_json(layout.ports, remembered | chosen)
    return chosen


def remembered_ports(layout: DataDirectory) -> dict[str, int]:
    """The ports of the last start, by name."""
    return read_json(layout.ports) or {}


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


def _free_port(remembered: int | None, host: str, taken: set[int]) -> int:
    if remembered is not None and remembered not in taken and is_free(remembered, host):
        return remembered
    for _ in range(_TRIES):
        port = random.randint(_LOWEST, _HIGHEST)  # noqa: S311 - keeps two stacks apart, guards nothing
        if port not in taken and is_free(port, host):
            return port
    raise ConflictError(f"no port between {_LOWEST} and {_HIGHEST} is free")
