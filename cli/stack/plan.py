"""Decides what an embedded stack consists of: which servers it brings, where they listen, what each process is told."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from cli.stack.effective import Effective, effective
from cli.stack.engine import Engine, choose_engine, engine_url
from cli.stack.keys import KEY_SETTINGS, own_keys, signing_keys
from cli.stack.layout import DataDirectory
from cli.stack.ports import LOCALHOST, choose_ports, remembered_ports, require_host
from cli.stack.ray import PORT_NAMES as RAY_PORT_NAMES
from cli.stack.ray import make_ray_directory
from cli.stack.readiness import StackDatabase
from cli.stack.redis_server import choose_redis
from cli.stack.services import Service, api_service, mongo_service, queue_service, ray_service, redis_service
from config.refusals import variable
from config.settings import Settings
from core.storage.abilities.first_start import require_trusted

_REPOSITORY = Path(__file__).parents[2]
_URL_SETTINGS = {"mongo_url": "mongo", "redis_url": "redis", "ray_address": "ray"}
"""A server that the settings name is used; its embedded twin is not started."""
_EVERY_INTERFACE = {"0.0.0.0", "::"}  # noqa: S104 - compared with, not bound


@dataclass(frozen=True, kw_only=True)
class ReadyLine:
    """What `keystage up` prints, in this order, when everything works (design, section 6)."""

    ready: bool = True
    api_url: str
    dashboard_url: str | None = None
    mongo_url: str
    redis_url: str
    ray_address: str


@dataclass(frozen=True)
class Plan:
    """A whole stack, ready to be started."""

    services: tuple[Service, ...]
    addresses: ReadyLine
    database: StackDatabase
    settings: Effective
    """what its processes are told, without secrets"""


def plan_stack(settings: Settings, layout: DataDirectory, options: Collection[str] = ()) -> Plan:
    """The stack that these settings describe; `options` are those of them that the command line gave.

    Raises ConflictError when an asked port is taken, UnavailableError when a server's program is missing.
    """
    embedded = [name for setting, name in _URL_SETTINGS.items() if setting not in settings.model_fields_set]
    engine = choose_engine(layout, settings) if "mongo" in embedded else None
    ports = _ports(settings, layout, embedded, engine)
    addresses = _addresses(settings, ports, engine)
    signing = signing_keys(layout, settings)
    environment = _environment(settings, layout, addresses, ports) | signing.of_everybody
    backends = _backends(settings, layout, engine, ports, addresses, environment)
    database = StackDatabase(settings, addresses.mongo_url)
    own = _own_processes(addresses, database, environment, signing.of_sweeper, settings)
    chosen = _chosen(settings, layout, addresses, ports)
    chosen["audit_verify_keys"] = signing.of_everybody[variable("audit_verify_keys")].split(",")
    return Plan((*backends, *own), addresses, database, effective(settings, chosen, options))


def _chosen(
    settings: Settings, layout: DataDirectory, addresses: ReadyLine, ports: Mapping[str, int]
) -> dict[str, Any]:
    """What the stack itself decided, as settings; the keys that it made are hidden already."""
    urls = {setting: getattr(addresses, setting) for setting in _URL_SETTINGS}
    made = {name: SecretStr("made by the stack") for name in KEY_SETTINGS if not getattr(settings, name)}
    return {"data": layout.root, "api_port": ports["api"], **urls, **made}


def _ports(settings: Settings, layout: DataDirectory, embedded: Sequence[str], engine: Engine | None) -> dict[str, int]:
    require_host(settings.api_host)
    names = ["api", *(name for name in embedded if name != "ray"), *(RAY_PORT_NAMES if "ray" in embedded else ())]
    api_port = settings.api_port
    asked = {"api": api_port} if api_port and "api_port" in settings.model_fields_set else {}
    if engine is Engine.MONGOD:
        # a replica set knows its member by address: mongod keeps its first port
        asked |= {name: port for name, port in remembered_ports(layout).items() if name == "mongo"}
    first = {"api": api_port} if api_port else {}
    return choose_ports(layout, names, asked, hosts={"api": settings.api_host}, first=first)


def _addresses(settings: Settings, ports: Mapping[str, int], engine: Engine | None) -> ReadyLine:
    host = LOCALHOST if settings.api_host in _EVERY_INTERFACE else settings.api_host
    mongo_url = engine_url(engine, ports["mongo"]) if engine else None
    redis_url = f"redis://{LOCALHOST}:{ports['redis']}/0" if "redis" in ports else None
    ray_address = f"{LOCALHOST}:{ports['ray']}" if "ray" in ports else None
    scheme = "https" if settings.api_tls_cert_file else "http"
    return ReadyLine(
        api_url=f"{scheme}://{f'[{host}]' if ':' in host else host}:{ports['api']}",
        mongo_url=mongo_url or settings.mongo_url,
        redis_url=redis_url or settings.redis_url,
        ray_address=ray_address or settings.ray_address,
    )


def _environment(
    settings: Settings, layout: DataDirectory, addresses: ReadyLine, ports: Mapping[str, int]
) -> dict[str, str]:
    """What every process of the stack is told, over the operator's own environment."""
    return {
        # glibc would keep a heap for every few threads, and each of them fills up slowly
        "MALLOC_ARENA_MAX": "2",
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(_REPOSITORY), os.environ.get("PYTHONPATH")])),
        variable("data"): str(layout.root),
        variable("api_port"): str(ports["api"]),
        variable("mongo_url"): addresses.mongo_url,
        variable("redis_url"): addresses.redis_url,
        variable("ray_address"): addresses.ray_address,
        # told even when it was read from a .env file, which Ray does not see
        **({variable("ray_auth_token"): given.get_secret_value()} if (given := settings.ray_auth_token) else {}),
        **settings.ray_tls_environment,
        **own_keys(layout, settings),
    }


def _backends(
    settings: Settings,
    layout: DataDirectory,
    engine: Engine | None,
    ports: Mapping[str, int],
    addresses: ReadyLine,
    environment: Mapping[str, str],
) -> Iterator[Service]:
    if "redis" in ports:
        yield redis_service(layout, choose_redis(layout, settings).program, ports["redis"], environment)
    if engine:
        url, cache_mb = addresses.mongo_url, settings.embedded_cache_mb
        yield mongo_service(layout, engine, ports["mongo"], url, cache_mb, environment)
    if "ray" in ports:
        yield ray_service(make_ray_directory(layout), ports, environment)


def _own_processes(
    addresses: ReadyLine,
    database: StackDatabase,
    environment: Mapping[str, str],
    of_sweeper: Mapping[str, str],
    settings: Settings,
) -> Iterator[Service]:
    backends = frozenset({"mongo", "redis"})
    checked = settings.model_copy(update={"mongo_url": addresses.mongo_url})
    # before any process of ours keeps something there
    yield api_service(addresses.api_url.partition("://")[2], environment, settings, lambda: require_trusted(checked))
    yield queue_service("worker", backends | {"ray"}, database, environment)
    yield queue_service("dispatcher", backends, database, environment)
    yield queue_service("sweeper", backends, database, {**environment, **of_sweeper})
