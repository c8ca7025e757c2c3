"""Every route of the API, in one place. An app with any other rule is refused."""

from collections.abc import Mapping
from typing import Final

from flask import Flask

from api.dispatch import Dispatcher
from api.route import Route
from api.routes import (
    api_keys,
    audit,
    batches,
    buckets,
    collections,
    documentation,
    health,
    namespaces,
    organizations,
    retrievers,
    secrets,
    start,
    tasks,
    usage,
    users,
    webhooks,
)
from config.plans import PlanLimits

ROUTES: Final[tuple[Route, ...]] = (
    *health.ROUTES,
    *organizations.ROUTES,
    *usage.ROUTES,
    *users.ROUTES,
    *api_keys.ROUTES,
    *namespaces.ROUTES,
    *buckets.ROUTES,
    *collections.ROUTES,
    *batches.ROUTES,
    *tasks.ROUTES,
    *retrievers.ROUTES,
    *secrets.ROUTES,
    *webhooks.ROUTES,
    *audit.ROUTES,
    *start.ROUTES,
    *documentation.routes(lambda: ROUTES),
)


def add_routes(app: Flask, dispatcher: Dispatcher) -> None:
    """Give the app the routes of the registry and no others. Raises ValueError for two routes of one name."""
    names = [route.name for route in ROUTES]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"routes share a name: {', '.join(sorted(twice))}")
    for route in ROUTES:
        app.add_url_rule(
            route.rule,
            endpoint=route.name,
            view_func=_view(dispatcher, route),
            methods=[route.method],
            provide_automatic_options=False,
        )


def require_registered(app: Flask) -> None:
    """Raises ValueError when the app has a rule that no Route declares: nothing would guard it."""
    declared = {(route.rule, route.name) for route in ROUTES}
    strangers = [rule.rule for rule in app.url_map.iter_rules() if (rule.rule, rule.endpoint) not in declared]
    if strangers:
        raise ValueError(f"rules without a Route: {', '.join(sorted(strangers))}")


def require_limits_of_routes(plans: Mapping[str, PlanLimits]) -> None:
    """Raises ValueError when a plan limits a route that there is not: the limit would silently hold nowhere."""
    known = {route.limited_as for route in ROUTES if route.permission}
    for name, plan in plans.items():
        if strangers := sorted(plan.routes.keys() - known):
            raise ValueError(f"plan {name!r} limits routes that do not exist or need no key: {', '.join(strangers)}")


def _view(dispatcher: Dispatcher, route: Route):  # type: ignore[no-untyped-def]  # Flask's own view type is a union
    def view(**path: str):  # type: ignore[no-untyped-def]
        return dispatcher.answer(route, **path)

    return view
