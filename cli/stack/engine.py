"""The MongoDB-wire server of an embedded stack: chosen by a setting, recorded with its data, and never switched."""

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
    """Servers that speak MongoDB's wire protocol."""

    MONGOD = "mongod"
    SECANTUSD_RS = "secantusd-rs"
    SECANTUSD_PY = "secantusd-py"


def choose_engine(layout: DataDirectory, settings: Settings) -> Engine:
    """The engine that the data belongs to; at the first start the one that the setting names, which is recorded.

    Raises UnavailableError when somebody asks for another engine than made the data, or it is not installed.
    """
    recorded = read_json(layout.engine)
    asked = Engine(settings.embedded_engine)
    engine = Engine(recorded["engine"]) if recorded else asked
    if engine is not asked and "embedded_engine" in settings.model_fields_set:
        raise UnavailableError(f"{layout.mongo} was made by {engine}, and KEYSTAGE_EMBEDDED_ENGINE asks for {asked}")
    if program(engine) is None:
        owner = f"{layout.mongo} was made by {engine}" if recorded else f"the embedded database is {engine}"
        raise UnavailableError(f"{owner}, which is not installed on this machine")
    if recorded is None:
        write_json(layout.engine, {"engine": engine})
    return engine


def program(engine: Engine) -> str | None:
    """The path of the engine's program, or None when this machine does not have it."""
    # the wheel's own before one that happens to lie on the PATH
    return shutil.which(engine, path=str(Path(sys.executable).parent)) or shutil.which(engine) or _built(engine)


def _built(engine: Engine) -> str | None:
    return shutil.which(engine, path=str(Path.home() / ".cache/keystage/engine/bin"))


def engine_url(engine: Engine, port: int) -> str:
    """Where clients reach the engine on this machine."""
    # directly: the server names itself as the only member of its replica set
    url = f"mongodb://{LOCALHOST}:{port}/keystage?directConnection=true"
    # docs/decisions/0010: it looks through the last 10,000 retryable writes at each one, and a restart forgets them
    return f"{url}&retryWrites=false" if engine is Engine.SECANTUSD_PY else url


def engine_command(engine: Engine, port: int, data: Path, cache_mb: int) -> tuple[str, ...]:
    """How to run the engine on 127.0.0.1, so that what it acknowledged survives SIGKILL.

    `cache_mb` is the size of its cache in MiB. mongod journals unless it is told not to; the others must be told to.
    """
    command = (str(program(engine)), "--port", str(port))
    if engine is Engine.MONGOD:
        # mongod counts in GiB, a quarter at least
        cache = ("--wiredTigerCacheSizeGB", f"{max(cache_mb / 1024, 0.25):.2f}")
        return (*command, "--bind_ip", "127.0.0.1", "--dbpath", str(data), "--replSet", REPLICA_SET, *cache)
    place = ("--host", "127.0.0.1", "--storage-path", str(data))
    return (*command, *place, "--cache-size", f"{cache_mb}M", "--sync-on-commit")
