"""API processes for tests: the real server on a free port, and tenants made the operator's way beside it."""

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from config.settings import Settings
from core.bootstrap import Services, build_services
from core.storage.scope import NamespaceScope
from core.tenancy.permissions import Permission
from tests.servers import free_port, own_database
from tests.stack import wait_until
from tests.tenants import new_key

_READY_SECONDS = 60.0
_KEY = "k1:" + base64.urlsafe_b64encode(bytes(32)).decode()


@dataclass
class ApiProcess:
    """A server that answers."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path
    """what it wrote to stderr"""


@dataclass
class Account:
    """An organization with one namespace and an admin key."""

    scope: NamespaceScope
    organization_id: str
    namespace_id: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        """What its requests carry."""
        return {"Authorization": f"Bearer {self.key}", "X-Namespace": self.namespace_id}


@dataclass
class Site:
    """API processes on one database and one Redis, and this process's own services on the same."""

    services: Services
    processes: list[ApiProcess]

    @property
    def url(self) -> str:
        """Where the first process listens."""
        return self.processes[0].url

    def account(self, plan: str = "enterprise", credits: int = 1_000_000) -> Account:
        """A new organization."""
        services = self.services
        organization = services.organizations.create("Account", "owner@example.com", plan)
        services.ledger.grant(organization.scope, "grant:start", credits)
        namespace = services.namespaces.create(organization.scope, "default")
        key = new_key(services, organization.scope, Permission.ADMIN, "admin").text
        return Account(namespace.scope, organization.organization_id, namespace.namespace_id, key)


@contextmanager
def site(mongo_url: str, redis_url: str, data: Path, count: int = 1, **settings: Any) -> Iterator[Site]:
    """`count` API processes with these settings on a fresh database."""
    environment = {
        "data": data,
        "mongo_url": own_database(mongo_url),
        "redis_url": redis_url,
        "vault_keys": _KEY,
        "key_peppers": _KEY,
        "audit_keys": _KEY,
        "api_processes": max(count, 1),
        **settings,
    }
    services = build_services(Settings(_env_file=None, **environment))
    with ExitStack() as stack:
        stack.callback(services.close)
        yield Site(services, [stack.enter_context(_process(environment, data, number)) for number in range(count)])


@contextmanager
def _process(settings: dict[str, Any], data: Path, number: int) -> Iterator[ApiProcess]:
    port, log = free_port(), data / f"api-{number}.log"
    own = {f"KEYSTAGE_{name.upper()}": str(value) for name, value in settings.items()}
    environment = {**os.environ, **own, "KEYSTAGE_API_PORT": str(port)}
    with log.open("wb") as stderr:
        process = subprocess.Popen([sys.executable, "-m", "api.serve"], env=environment, stderr=stderr, cwd=data)
    api = ApiProcess(f"http://127.0.0.1:{port}", process, log)
    try:
        wait_until(lambda: _answers(api), _READY_SECONDS, f"the API; see {log}")
        yield api
    finally:
        process.terminate()
        process.wait(timeout=_READY_SECONDS)


def _answers(api: ApiProcess) -> bool:
    assert api.process.poll() is None, api.log.read_text()[-2000:]
    try:
        return httpx.get(f"{api.url}/v1/health/liveness", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
