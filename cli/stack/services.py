"""The services of an embedded stack, one value each: how to run it, what it needs, how to see that it works."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cli.stack.engine import REPLICA_SET, Engine, engine_command
from cli.stack.layout import DataDirectory
from cli.stack.ray import empty_ray_directory, ray_command, ray_environment
from cli.stack.readiness import StackDatabase, accepts, http_answers, mongo_is_primary, redis_answers
from config.tls import TlsSettings

STOP_ORDER = (("api",), ("worker", "sweeper", "dispatcher"), ("ray", "mongo", "redis"))
"""Intake first, then whoever uses the backends, then the backends; those of one group stop side by side."""


@dataclass(frozen=True)
class Service:
    """One supervised process."""

    name: str
    command: tuple[str, ...]
    """The program's absolute path and its arguments."""
    environment: Mapping[str, str]
    cwd: Path
    works: Callable[[int], bool]
    """Whether the process with this id does its work now."""
    start_seconds: float
    """How long it may take until it works for the first time."""
    stop_seconds: float
    """How long it may take to end before it is killed."""
    needs: frozenset[str] = frozenset()
    """Services that must work before this one is started."""
    prepare: Callable[[], None] = field(default=lambda: None)
    """Called before each start, when no process of the service is left."""
    before_first: Callable[[], None] = field(default=lambda: None)
    """Called once, before the first start, when what the service needs works. What it raises ends the stack."""


def redis_service(layout: DataDirectory, program: Path, port: int, environment: Mapping[str, str]) -> Service:
    """The Redis server, with its data on disk."""
    options = {
        "--bind": "127.0.0.1",
        "--port": str(port),
        "--dir": str(layout.redis),
        "--appendonly": "yes",
        "--save": "",
        # a full Redis must refuse, never forget a doorbell or a limit
        "--maxmemory-policy": "noeviction",
        # its title would be written over its environment, and with that over the stack's mark
        "--set-proc-title": "no",
    }
    return Service(
        name="redis",
        command=(str(program), *(part for option in options.items() for part in option)),
        environment=environment,
        cwd=layout.redis,
        works=lambda _pid: redis_answers(f"127.0.0.1:{port}"),
        start_seconds=20,
        stop_seconds=10,
    )


def mongo_service(
    layout: DataDirectory, engine: Engine, port: int, url: str, cache_mb: int, environment: Mapping[str, str]
) -> Service:
    """The MongoDB-wire server."""
    replica_set = REPLICA_SET if engine is Engine.MONGOD else None
    return Service(
        name="mongo",
        command=engine_command(engine, port, layout.mongo, cache_mb),
        environment=environment,
        # away from the operator's directory, where SecantusDB would find and obey a secantusd.toml
        cwd=layout.mongo,
        works=lambda _pid: mongo_is_primary(url, f"127.0.0.1:{port}", replica_set),
        start_seconds=30,
        stop_seconds=15,
    )


def ray_service(directory: Path, ports: Mapping[str, int], environment: Mapping[str, str]) -> Service:
    """Ray's head node, with everything it starts."""
    # the agent for environments comes last: before it listens the raylet takes no work and heeds no SIGTERM
    addresses = [f"127.0.0.1:{ports[name]}" for name in ("ray", "ray_node", "ray_environments")]
    return Service(
        name="ray",
        command=ray_command(ports, directory),
        # neither root keys nor, by another directory, the operator's .env
        environment=ray_environment(environment),
        cwd=directory,
        works=lambda _pid: all(accepts(address) for address in addresses),
        start_seconds=90,
        stop_seconds=15,
        prepare=lambda: empty_ray_directory(directory),
    )


def api_service(
    address: str, environment: Mapping[str, str], tls: TlsSettings, before_first: Callable[[], None]
) -> Service:
    """Intake, ready once its own readiness route says so; where clients must show a certificate, once it listens."""
    certificate = tls.api_tls_cert_file
    return Service(
        name="api",
        command=_python("api.serve"),
        environment=environment,
        cwd=Path.cwd(),
        works=lambda _pid: (
            accepts(address)
            if tls.api_tls_client_ca_file
            else http_answers(address, "/v1/health/readiness", certificate)
        ),
        start_seconds=120,
        stop_seconds=10,
        needs=frozenset({"mongo", "redis"}),
        before_first=before_first,
    )


def queue_service(name: str, needs: frozenset[str], database: StackDatabase, environment: Mapping[str, str]) -> Service:
    """One of the processes of `workers`, ready once it has left a heartbeat."""
    return Service(
        name=name,
        command=_python(f"workers.{name}"),
        environment=environment,
        cwd=Path.cwd(),
        works=lambda pid: database.has_heartbeat(name, pid),
        start_seconds=120,
        stop_seconds=15,
        needs=needs,
    )


def _python(module: str) -> tuple[str, ...]:
    # without the directory of the start before ours: people keep a config/ or an api/ of their own there
    return (sys.executable, "-P", "-m", module)
