"""What the table of routes promises, route by route."""

import pytest

from api.registry import ROUTES
from api.route import NamespaceMode, Route

CREATES_OR_STARTS = {
    "namespaces.create",
    "buckets.create",
    "objects.create",
    "objects.create_batch",
    "collections.create",
    "batches.create",
    "batches.submit",
    "retrievers.create",
    "retrievers.execute",
    "webhooks.create",
    "webhooks.create_201",
    "deliveries.replay",
}


def test_an_idempotency_key_is_honoured_wherever_something_is_created_or_started() -> None:
    assert {route.name for route in ROUTES if route.idempotent} == CREATES_OR_STARTS


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_whatever_changes_something_is_audited(route: Route) -> None:
    reads = route.method == "GET" or route.rule.endswith("/list")
    assert (route.audit is None) is reads


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_only_health_and_documentation_need_no_key_and_only_organization_routes_no_namespace(route: Route) -> None:
    assert (route.permission is None) is route.rule.startswith(("/v1/health", "/openapi.json", "/docs"))
    of_organization = route.rule.startswith(("/v1/organizations", "/v1/tasks", "/v1/namespaces"))
    expected = NamespaceMode.OPTIONAL if of_organization else NamespaceMode.REQUIRED
    assert route.namespace is (NamespaceMode.NONE if route.permission is None else expected)


def test_no_two_routes_share_a_name_or_a_place() -> None:
    assert len({route.name for route in ROUTES}) == len(ROUTES)
    assert len({(route.method, route.rule) for route in ROUTES}) == len(ROUTES)
