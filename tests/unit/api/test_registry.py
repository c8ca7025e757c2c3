"""What the table of routes promises, route by route."""

import pytest

from api.registry import ROUTES, require_limits_of_routes
from api.route import NamespaceMode, Route
from config.plans import PlanLimits, published_plans

CREATES_OR_STARTS = {
    "users.create",
    "api_keys.create",
    "api_keys.rotate",
    "namespaces.create",
    "namespaces.delete",
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
    "secrets.create",
    "secrets.roll_back",
}


def test_an_idempotency_key_is_honoured_wherever_something_is_created_or_started() -> None:
    assert {route.name for route in ROUTES if route.idempotent} == CREATES_OR_STARTS


def test_a_plan_limits_only_routes_that_there_are() -> None:
    def plans(route: str) -> dict[str, PlanLimits]:
        return {"free": published_plans()["free"].model_copy(update={"routes": {route: 1}})}

    for route in ROUTES:
        if route.permission:
            require_limits_of_routes(plans(route.limited_as))
    for stranger in ("retrievers.exceute", "health.check", "buckets.list_by_get"):
        with pytest.raises(ValueError, match=f"'free' limits routes that do not exist.*: {stranger}"):
            require_limits_of_routes(plans(stranger))


def test_a_route_at_two_places_is_limited_as_one() -> None:
    twins = {route.name: route.limited_as for route in ROUTES if route.limited_as != route.name}
    assert twins["webhooks.create_201"] == "webhooks.create"
    assert twins["buckets.list_by_get"] == "buckets.list"
    assert set(twins.values()) <= {route.name for route in ROUTES}


PUBLIC = {
    "health.check",
    "health.liveness",
    "health.readiness",
    "health.beat",
    "metrics.get",
    "billing.pricing",
    "start.show",
    "documentation.openapi",
    "documentation.page",
    "documentation.asset",
}
OF_ORGANIZATION = ("/v1/organizations", "/v1/tasks", "/v1/namespaces", "/v1/me", "/v1/health/deep")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_a_keys_scopes_are_compared_with_something_everywhere(route: Route) -> None:
    # whoever calls may ask who they are, and how the house is
    unscoped = PUBLIC | {"me.get", "health.deep"}
    assert (route.resource is None) is (route.name in unscoped)
    if route.resource and route.resource.parameter:
        assert f"<{route.resource.parameter}>" in route.rule


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_whatever_changes_something_is_audited(route: Route) -> None:
    reads = route.method == "GET" or route.rule.endswith("/list")
    # an export carries the log away
    assert (route.audit is None) is (reads and route.name != "audit.export")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_only_health_needs_no_key_and_only_organization_routes_no_namespace(route: Route) -> None:
    assert (route.permission is None) is (route.name in PUBLIC)
    of_organization = route.rule.startswith(OF_ORGANIZATION)
    expected = NamespaceMode.OPTIONAL if of_organization else NamespaceMode.REQUIRED
    assert route.namespace is (NamespaceMode.NONE if route.permission is None else expected)


def test_no_two_routes_share_a_name_or_a_place() -> None:
    assert len({route.name for route in ROUTES}) == len(ROUTES)
    assert len({(route.method, route.rule) for route in ROUTES}) == len(ROUTES)
