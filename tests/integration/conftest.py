"""The API over real servers, and tenants to call it with. One set of services for each module."""

import base64
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api.app import build_app
from config.settings import Settings
from core.bootstrap import Services, build_services
from core.storage.scope import NamespaceScope
from core.tenancy.permissions import Permission
from tests.servers import own_database
from tests.tenants import new_key

if TYPE_CHECKING:
    from tests.integration.model_world import Library, World

_names = itertools.count()


@dataclass
class Tenant:
    """One organization with a namespace, a key, and a client that sends both."""

    client: FlaskClient
    services: Services
    scope: NamespaceScope
    organization_id: str
    key: str
    headers: dict[str, str] = field(default_factory=dict)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        """Send a request; header names use `_` for `-`."""
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.client.open(path, method=method, json=body, headers=sent)

    def post(self, path: str, body: Any = None, **headers: str) -> TestResponse:
        """POST."""
        return self.call("POST", path, {} if body is None else body, **headers)

    def get(self, path: str, **headers: str) -> TestResponse:
        """GET."""
        return self.call("GET", path, **headers)

    def created(self, path: str, body: Any, **headers: str) -> dict[str, Any]:
        """POST that must answer 200; its body."""
        response = self.post(path, body, **headers)
        assert response.status_code == 200, response.get_data(as_text=True)
        shown: dict[str, Any] = response.get_json()
        return shown


@pytest.fixture
def database_url(mongo_url: str) -> str:
    """A database of the test's own."""
    return own_database(mongo_url)


@pytest.fixture(scope="module")
def special_settings() -> dict[str, Any]:
    """Settings that a module has otherwise: it overrides this fixture."""
    return {}


@pytest.fixture(scope="module")
def services(
    mongo_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory, special_settings: dict[str, Any]
) -> Iterator[Services]:
    """Everything one API process works with, on a database of this module's own."""
    key = "k1:" + base64.urlsafe_b64encode(bytes(32)).decode()
    usual: dict[str, Any] = {
        "data": tmp_path_factory.mktemp("data"),
        "mongo_url": own_database(mongo_url),
        "redis_url": redis_url,
        "vault_keys": key,
        "key_peppers": key,
        "audit_keys": key,
        "sync_wait_seconds": 0.2,
    }
    services = build_services(Settings(_env_file=None, **{**usual, **special_settings}))
    yield services
    services.close()


@pytest.fixture(scope="module")
def app(services: Services) -> Flask:
    """The application."""
    return build_app(services)


def make_tenant(
    app: Flask,
    services: Services,
    permission: Permission = Permission.ADMIN,
    credits: int = 1_000_000,
    plan: str = "enterprise",
    **grant: Any,
) -> Tenant:
    """A tenant with credits and an admin key."""
    organization = services.organizations.create(f"Org {next(_names)}", "owner@example.com", plan)
    if credits:
        services.ledger.grant(organization.scope, "grant:start", credits)
    namespace = services.namespaces.create(organization.scope, "default")
    key = new_key(services, organization.scope, permission, "test", **grant).text
    headers = {"Authorization": f"Bearer {key}", "X-Namespace": namespace.namespace_id}
    return Tenant(app.test_client(), services, namespace.scope, organization.organization_id, key, headers)


@pytest.fixture
def new_tenant(app: Flask, services: Services) -> Callable[..., Tenant]:
    """Makes a tenant with credits and an admin key."""
    return partial(make_tenant, app, services)


@pytest.fixture
def tenant(new_tenant: Callable[..., Tenant]) -> Tenant:
    """A tenant that nobody else uses."""
    return new_tenant()


# the modules of stages and models are read by the few tests that need them


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Library]":
    """Three documents, for tests of stages that ask models."""
    from tests.integration.model_world import library

    with library(tmp_path_factory.mktemp("vectors")) as filled:
        yield filled


@pytest.fixture
def world(shelf: "Library") -> "Iterator[World]":
    """These documents with a server of the test's own."""
    from tests.integration.model_world import world_around

    with world_around(shelf) as around:
        yield around
