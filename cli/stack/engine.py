"""The MongoDB-wire server of an embedded stack: chosen once, recorded with its data, and never switched."""

import shutil
import sys
from enum import StrEnum
from pathlib import Path

from cli.stack.layout import DataDirectory, read_json, write_json
from cli.stack.ports import LOCALHOST
from config.settings import Settings
from core.errors import UnavailableError

REPLICA_SET = "keystage"


class Engine(StrEnum):
    """Servers that speak MongoDB's wire protocol, best first."""

    MONGOD = "mongod"
    SECANTUSD_RS = "secantusd-rs"
    SECANTUSD_PY = "secantusd-py"


def choose_engine(layout: DataDirectory, settings: Settings) -> Engine:
    """The engine that the data belongs to; at the first start the best one that is installed, which is recorded.

    Raises UnavailableError when the data belongs to another engine than the settings ask for, or to none installed.
    """
    recorded = read_json(layout.engine)
    asked = None if settings.embedded_engine == "auto" else Engine(settings.embedded_engine)
    if recorded is None:
        engine = asked or next(engine for engine in Engine if engine is Engine.SECANTUSD_PY or program(engine))
    else:
        engine = Engine(recorded["engine"])
    if asked not in (None, engine):
        raise UnavailableError(f"{layout.mongo} was made by {engine}, and KEYSTAGE_EMBEDDED_ENGINE asks for {asked}")
    if program(engine) is None:
        owner = f"{layout.mongo} was made by {engine}" if recorded else f"the embedded database is {engine}"
        raise UnavailableError(f"{owner}, which is not installed on this machine")
    if recorded is None:
        write_json(layout.engine, {"engine": engine})
    return engine


def program(engine: Engine) -> str | None:
    """The path of the engine's program, or None when this machine does not have it."""
    beside_python = Path(sys.executable).parent
    return shutil.which(engine) or shutil.which(engine, path=str(beside_python))


def engine_url(engine: Engine, port: int) -> str:
    """Where clients reach the engine on this machine."""
    # directly: the server names itself as the only member of its replica set
    url = f"mongodb://{LOCALHOST}:{port}/keystage?directConnection=true"
    # docs/decisions/0010: it looks through the last 10,000 retryable writes at each one, and a restart forgets them
    return f"{url}&retryWrites=false" if engine is Engine.SECANTUSD_PY else url


def engine_command(engine: Engine, port: int, data: Path, cache_mb: int) -> tuple[str, ...]:
    """How to run the engine on 127.0.0.1, with commits that survive SIGKILL (design 5.1).

    `cache_mb` is the size of its cache in MiB.
    """
    command = (str(program(engine)), "--port", str(port))
    if engine is Engine.MONGOD:
        # mongod counts in GiB, a quarter at least
        cache = ("--wiredTigerCacheSizeGB", f"{max(cache_mb / 1024, 0.25):.2f}")
        return (*command, "--bind_ip", "127.0.0.1", "--dbpath", str(data), "--replSet", REPLICA_SET, *cache)
    cache = ("--cache-size", f"{cache_mb}M")
    if engine is Engine.SECANTUSD_RS:
        return (*command, "--host", "127.0.0.1", "--storage-path", str(data), *cache)
    return (*command, "--host", "127.0.0.1", "--storage-path", str(data), *cache, "--sync-on-commit")
