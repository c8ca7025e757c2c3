"""Every registered route for every kind of credential, on one's own, another tenant's and no resource at all.

What is expected follows from a route's row alone. A new route is covered without a line here, or fails saying what is
missing.
"""

import io
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import structlog
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api.app import build_app
from api.authorization import is_list
from api.registry import ROUTES
from api.route import NamespaceMode, Route
from config.logging_setup import configure_logs
from core.bootstrap import Services
from core.clock import now
from core.tenancy.api_key import KeyGrant
from core.tenancy.permissions import IN_NAMESPACE, Operation, Permission, ResourceType, Scope
from core.tenancy.tenant import Environment
from core.tenancy.user import Role, UserStatus
from tests.integration.bodies import collection_body
from tests.integration.estates import Estate, furnish, new_marker, retriever_body, webhook_body

SAME_FOR_ALL = {"tasks.cancel", "webhooks.delete"}
"""DELETE that is idempotent as published: it answers the same for own, foreign and absent."""
NOTHING = "zz-nothing"
READ_BY = {ResourceType.COLLECTION: ResourceType.BUCKET, ResourceType.RETRIEVER: ResourceType.COLLECTION}
"""What the body of a create refers to, and has to be readable."""
COUNTERS = {"X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "Date"}

BODIES: dict[str, Callable[[Estate], dict[str, Any]]] = {
    "organizations.update": lambda _: {"logo_url": "https://example.com/logo.png"},
    "users.create": lambda own: {"email": f"{own.text()}@example.com", "user_name": own.text(), "role": "admin"},
    "users.update": lambda own: {"user_name": own.text()},
    "api_keys.create": lambda own: {"name": own.text(), "permissions": ["read"]},
    "api_keys.update": lambda own: {"description": own.text()},
    "namespaces.create": lambda own: {"namespace_name": own.text()},
    "namespaces.update": lambda own: {"description": own.text()},
    "namespaces.replace": lambda own: {"description": own.text()},
    "buckets.create": lambda own: {"bucket_name": own.text(), "bucket_schema": {}},
    "objects.create_batch": lambda _: {"objects": [{}]},
    "collections.create": lambda own: {**collection_body(own.params["bucket_id"]), "collection_name": own.text()},
    "batches.create": lambda own: {"object_ids": [own.params["object_id"]]},
    "retrievers.create": lambda own: retriever_body(own.text()),
    "retrievers.execute": lambda own: {"inputs": {"query": own.text()}},
    "webhooks.create": lambda own: webhook_body(own.text()),
    "webhooks.create_201": lambda own: webhook_body(own.text()),
    "webhooks.update": lambda own: webhook_body(own.text()),
    "secrets.create": lambda own: {"secret_name": own.text().replace("-", "_"), "secret_value": own.text()},
    "secrets.update": lambda own: {"secret_value": own.text()},
    "secrets.roll_back": lambda _: {"version": 1},
    "audit.update_settings": lambda _: {"read_auditing_enabled": False},
}
"""Bodies of routes that `{}` does not satisfy."""


@dataclass(frozen=True)
class Case:
    """One request: a route, who calls, and which of its path's parameters, from which on, are whose."""

    route: Route
    credential: str
    whose: str
    first: int = 0
    """own up to here, then `whose`"""


@pytest.fixture(scope="module")
def special_settings() -> dict[str, Any]:
    many = 1_000_000
    return {
        "sync_wait_seconds": 0.01,
        "auth_failures_per_source_per_minute": many,
        "auth_failures_source_burst": many,
        "auth_failures_per_key_per_minute": many,
        "auth_failures_key_burst": many,
    }


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that this process logs meanwhile."""
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers, root.level
    configure_logs("DEBUG", "json", "api", stream)
    yield stream
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


class Matrix:
    """Two complete tenants, the keys of one of them, and what went wrong so far."""

    def __init__(self, services: Services, client: FlaskClient) -> None:
        self.services = services
        self.client = client
        self.own, self.other = self._estate(), self._estate()
        self.forbidden = self.other.secrets | {each.scope.internal_id for each in (self.own, self.other)}
        self.keys: dict[tuple[Any, ...], str] = {}
        self.faults: list[str] = []
        self.leaks: list[str] = []
        self.strangers: dict[str, set[bytes]] = defaultdict(set)
        """bodies that were given to whoever has no valid key: what was sent in its place may be told, its reason not"""
        self.cases = 0

    def run(self, route: Route) -> None:
        """Every case of one route."""
        for credential in CREDENTIALS:
            answers = [(case, self.answer(case)) for case in _cases(route, credential)]
            self.cases += len(answers)
            for case, response in answers:
                self._judge(case, response)
            self._compare(answers)

    def answer(self, case: Case) -> TestResponse:
        """The answer to a case's request. What it destroys of its own is a copy."""
        route, path, names = case.route, case.route.rule, _parameters(case.route)
        own = dict(self.own.params)
        if case.whose == "own" and route.method == "DELETE" and names:
            own[names[-1]] = self.own.make(names[-1])
        for position, name in enumerate(names):
            value = own[name] if position < case.first else self._value(name, case.whose, own)
            path = path.replace(f"<{name}>", value)
        path = path.replace("<file>", "swagger-ui.css")
        headers = {"X-Request-ID": "same", "Prefer": "respond-async", **self._authorization(case, own)}
        names_itself = route.resource and route.resource.type is ResourceType.NAMESPACE and route.resource.parameter
        if route.namespace is not NamespaceMode.NONE and not names_itself:
            headers["X-Namespace"] = self.own.scope.namespace_id
        make = BODIES.get(route.name)
        sends = route.method in {"POST", "PUT", "PATCH"}
        body = (make(self.own) if make else {}) if sends else None
        return self.client.open(path, method=route.method, json=body, headers=headers)

    def _judge(self, case: Case, response: TestResponse) -> None:
        expected, status = expectation(case), response.status_code
        allowed = (status < 300 or status == 409) if case.route.permission else status != 404
        if not (allowed if expected == "allowed" else status == expected):
            body = response.get_data(as_text=True)[:200]
            self.faults.append(f"{_name(case)}: {status} instead of {expected}: {body}; has BODIES what it needs?")
        said = response.get_data(as_text=True) + str(response.headers)
        self.leaks += [f"{_name(case)}: {secret}" for secret in self.forbidden if secret in said]

    def _compare(self, answers: list[tuple[Case, TestResponse]]) -> None:
        """What is refused looks the same whose ever it is, and what is foreign looks like what is not there."""
        alike: dict[Any, dict[str, Any]] = defaultdict(dict)
        for case, response in answers:
            seen = (response.status_code, response.data, sorted(_stable_headers(response)))
            if (expected := expectation(case)) == "allowed":
                if case.route.name in SAME_FOR_ALL:
                    alike["same for all"][_name(case)] = seen
            elif expected == 404:
                alike[expected, case.first][_name(case)] = seen
            else:
                alike[expected][_name(case)] = seen
                if expected == 401:
                    sent = case.credential if case.credential in NO_KEYS else "a key"
                    self.strangers[sent].add(response.data)
        for group in alike.values():
            if len({repr(seen) for seen in group.values()}) > 1:
                self.faults.append(f"answers differ: {group}")

    def _value(self, parameter: str, whose: str, own: dict[str, str]) -> str:
        if whose == "absent":
            return f"{own[parameter][:-6]}000000"
        return own[parameter] if whose == "own" else self.other.params[parameter]

    def _authorization(self, case: Case, own: dict[str, str]) -> dict[str, str]:
        if case.credential == "none":
            return {}
        if case.credential == "malformed":
            return {"Authorization": "Bearer ks_live_nonsense"}
        grant = grant_for(case.credential, case.route, {**own, "own namespace": self.own.scope.namespace_id})
        return {"Authorization": f"Bearer {self._key(case.credential, grant)}"}

    def _key(self, credential: str, grant: KeyGrant) -> str:
        """A key with this grant, in the state that the credential names; made once."""
        state = credential if credential in DEAD else "alive"
        if (state, grant) not in self.keys:
            services, scope, name = self.services, self.own.scope.organization, self.own.text()
            user = services.users.create(scope, f"{name}@example.com", name, Role.ADMIN)
            self.keys[state, grant] = services.keys.issue(scope, user, name, grant).text
            if state == "revoked":
                services.keys.revoke(scope, user, name)
            if state == "suspended":
                services.keys.set_standing(scope, user, user.role, UserStatus.SUSPENDED)
        return self.keys[state, grant]

    def _estate(self) -> Estate:
        services, marker = self.services, new_marker()
        organization = services.organizations.create(f"Org {marker}", f"{marker}@example.com", "enterprise")
        services.ledger.grant(organization.scope, "grant:start", 100_000_000)
        namespace = services.namespaces.create(organization.scope, marker, marker, environment=Environment.DEV)
        admin = services.users.create(organization.scope, f"admin-{marker}@example.com", marker, Role.ADMIN)
        key = services.keys.issue(organization.scope, admin, marker, KeyGrant((Permission.ADMIN,))).text
        headers = {"Authorization": f"Bearer {key}", "X-Namespace": marker, "Prefer": "respond-async"}

        def call(method: str, path: str, body: Any) -> dict[str, Any]:
            response = self.client.open(path, method=method, json=body, headers=headers)
            assert response.status_code < 300, response.get_data(as_text=True)
            answer: dict[str, Any] = response.get_json()
            return answer

        estate = Estate(services, namespace.scope, organization.organization_id, marker, call)
        furnish(estate, sorted({name for route in ROUTES for name in _parameters(route)}))
        return estate


DEAD = {"expired", "revoked", "suspended"}
LEVELS = {permission.value: permission for permission in Permission}
NO_KEYS = ("none", "malformed")
CREDENTIALS = [*NO_KEYS, *LEVELS, "wrong type", "wrong scope", "right scope", "own namespace"]
CREDENTIALS += [*DEAD, "wrong environment"]


def grant_for(credential: str, route: Route, own: dict[str, str]) -> KeyGrant:
    """What the key of a credential may do. All but those of the lower levels are admins."""
    permissions = (LEVELS.get(credential, Permission.ADMIN),)
    resource = route.resource
    if credential == "expired":
        return KeyGrant(permissions, expires_at=now() - timedelta(days=1, microseconds=now().microsecond))
    if credential == "wrong environment":
        return KeyGrant(permissions, environment=Environment.PROD)
    if credential == "own namespace":
        return KeyGrant(permissions, (Scope(ResourceType.NAMESPACE, own["own namespace"]),))
    if credential == "wrong type":
        return KeyGrant(permissions, (Scope(ResourceType.STORAGE_CONNECTION, "*"),))
    if credential == "wrong scope":
        return KeyGrant(permissions, (Scope(resource.type if resource else ResourceType.BUCKET, NOTHING),))
    if credential != "right scope":
        return KeyGrant(permissions)
    if resource is None:
        return KeyGrant(permissions, (Scope(ResourceType.BUCKET, NOTHING),))
    right = [Scope(resource.type, own[resource.parameter] if resource.parameter else "*")]
    if resource.parameter is None and resource.type in READ_BY:
        right.append(Scope(READ_BY[resource.type], "*", frozenset({Operation.READ_DATA})))
    if route.name == "batches.create":
        # it names the collections that take the objects in
        right.append(Scope(ResourceType.COLLECTION, "*", frozenset({Operation.READ_DATA})))
    return KeyGrant(permissions, tuple(right))


def expectation(case: Case) -> "int | str":
    """The status that the row alone promises; "allowed" for what then depends on the request."""
    route, credential, resource = case.route, case.credential, case.route.resource
    if route.permission is None:
        return "allowed"
    if credential in {"none", "malformed", *DEAD}:
        return 401
    if credential == "wrong environment" or not LEVELS.get(credential, Permission.ADMIN).allows(route.permission):
        return 403
    if resource and credential == "wrong type":
        return 403
    inside = resource is not None and (resource.sent or resource.type in IN_NAMESPACE)
    if resource and credential == "own namespace" and not inside:
        # it sees itself in the list of namespaces, and nothing of the organization
        lists_itself = resource.type is ResourceType.NAMESPACE and is_list(resource, route.operation_needed)
        return "allowed" if lists_itself else 403
    if resource and credential == "wrong scope" and not is_list(resource, route.operation_needed):
        return 403
    if case.whose == "own":
        return "allowed"
    if resource and credential == "right scope" and resource.parameter:
        # what the scope names is foreign only from here on; else it is a foreign part of an own resource
        if _parameters(route).index(resource.parameter) >= case.first:
            return 403
        return 404
    return "allowed" if route.name in SAME_FOR_ALL else 404


def _cases(route: Route, credential: str) -> Iterator[Case]:
    yield Case(route, credential, "own")
    for whose in ("foreign", "absent"):
        for first in range(len(_parameters(route))):
            yield Case(route, credential, whose, first)


def _parameters(route: Route) -> list[str]:
    """What the path names of a tenant's. The documentation's files are nobody's."""
    if route.permission is None:
        return []
    return [part[1:-1] for part in route.rule.split("/") if part.startswith("<")]


def _name(case: Case) -> str:
    return f"{case.route.name} for {case.credential} on {case.whose} from {case.first}"


def _stable_headers(response: TestResponse) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in response.headers if name not in COUNTERS)


def test_every_route_for_every_credential_on_own_foreign_and_absent(
    services: Services, log: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    matrix = Matrix(services, build_app(services).test_client())
    # while the other tenant was furnished its own ids were logged, and rightly so
    log.truncate(0)
    # the audit log goes first: later it has the foreign ids that the tenant itself has sent
    for route in sorted(ROUTES, key=lambda route: not route.name.startswith("audit.")):
        matrix.run(route)
    logged = log.getvalue()
    matrix.leaks += [f"log: {secret}" for secret in matrix.forbidden if secret in logged]
    assert logged.count("request.handled") >= matrix.cases
    with capsys.disabled():
        print(
            f"\nroutes covered = {len(ROUTES)}, registered = {len(ROUTES)}, "
            f"cases = {matrix.cases}, leaks = {len(matrix.leaks)}"
        )
    assert {sent: len(bodies) for sent, bodies in matrix.strangers.items()} == dict.fromkeys([*NO_KEYS, "a key"], 1)
    assert not matrix.faults, "\n".join(matrix.faults[:40])
    assert not matrix.leaks, "\n".join(matrix.leaks[:40])
