"""Who calls, for which namespace, may they, and how often: everything that is decided before a body is read."""

import ipaddress
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from flask import Request

from api.authorization import Target, authorize, require_one_environment, require_permission
from api.rate_headers import rate_headers
from api.route import NamespaceMode, Route
from api.source import came_over_tls, client_address
from config.logging_setup import bind_unit_of_work
from core.backends.backend import Backend
from core.bootstrap import Services
from core.errors import BackendAwayError, InvalidRequestError, NotFoundError, UnauthenticatedError
from core.ids import Prefix, random_id
from core.limits.policy import Admitted, RateClass, Refused, Unavailable
from core.limits.subject import Subject
from core.storage.selection import Selection
from core.tenancy.api_key import ApiKey, Caller, require_environment
from core.tenancy.authentication import require_origin
from core.tenancy.permissions import ResourceType
from core.tenancy.tenant import Namespace
from core.tenancy.wrong_keys import missing_key

_LEASED = frozenset({RateClass.SEARCH, RateClass.UPLOAD, RateClass.COMPUTE})
"""Classes of which an organization may have only so many under way at once."""
_WHAT_LETS_IN = frozenset({Backend.MONGO, Backend.REDIS})
_LEASE_MARGIN_SECONDS = 5.0
_REQUEST_SECONDS = 60.0
"""Longer than any request of ours takes, waiting for an execution apart."""


@dataclass
class Admission:
    """What has been found out about a request so far. It is filled step by step, so that a refusal knows who it met."""

    address: str = ""
    caller: Caller | None = None
    namespace: Namespace | None = None
    visible: Selection | None = None
    verdict: Admitted | Refused | Unavailable | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """The rate limit headers of the answer."""
        return rate_headers(self.verdict) if self.verdict else {}


class Gate:
    """Lets requests in."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._proxies = [ipaddress.ip_network(cidr) for cidr in services.settings.trusted_proxies]

    @contextmanager
    def admitted(self, route: Route, request: Request, path: Mapping[str, str], into: Admission) -> Iterator[None]:
        """Fill `into`; inside, the request holds its place. Raises what refuses it."""
        into.address = self.address(request)
        if route.permission is None:
            yield
            return
        self._require_backends(route)
        into.caller = self._authenticate(request, into.address)
        self._services.authenticator.require_address(into.caller.key, into.address)
        # counted before it is decided, so that asking for what is not allowed is no cheaper than the rest
        with self._place(route, into.caller, into):
            require_origin(into.caller.key, request.headers.get("Origin"))
            require_permission(into.caller.key, route)
            require_one_environment(into.caller.key, route)
            into.namespace = self._namespace(route, request, path, into.caller)
            into.visible = authorize(self._services, into.caller, Target(route, into.namespace, path))
            yield

    def address(self, request: Request) -> str:
        """The client's address."""
        return client_address(request.remote_addr or "", request.headers.get("X-Forwarded-For", ""), self._proxies)

    def is_secure(self, request: Request) -> bool:
        """Whether the client spoke TLS."""
        said = request.headers.get("X-Forwarded-Proto", "")
        return came_over_tls(request.scheme, request.remote_addr or "", said, self._proxies)

    def _require_backends(self, route: Route) -> None:
        """Raises BackendAwayError without MongoDB, which says who calls: at once, where that is known."""
        backends = self._services.backends
        backends.require(Backend.MONGO)
        if route.hurried and not backends.look(_WHAT_LETS_IN)[Backend.MONGO]:
            raise BackendAwayError(Backend.MONGO)

    def _authenticate(self, request: Request, source: str) -> Caller:
        sent = request.headers.get("Authorization", "")
        if problem := missing_key(sent, request.headers.keys()):
            raise UnauthenticatedError(problem)
        key = self._services.authenticator.authenticate(sent.strip()[len("Bearer") :].strip(), source)
        bind_unit_of_work({"key_id": key.key_id})
        return self._caller(key, source)

    def _caller(self, key: ApiKey, source: str) -> Caller:
        tenants = self._services.tenants
        epoch = tenants.epoch(key.scope)
        organization = tenants.organization(key.scope, epoch)
        bind_unit_of_work({"organization_id": organization.organization_id})
        return Caller(key, organization, source, epoch)

    def _namespace(self, route: Route, request: Request, path: Mapping[str, str], caller: Caller) -> Namespace | None:
        if route.namespace is NamespaceMode.NONE:
            return None
        named = request.headers.get("X-Namespace", "").strip()
        if not named:
            if route.namespace is NamespaceMode.REQUIRED:
                raise InvalidRequestError("Send the header X-Namespace with a namespace's id or name.")
            return None
        namespace = self._reachable(caller, named)
        bind_unit_of_work({"namespace_id": namespace.namespace_id})
        if route.resource and route.resource.type is ResourceType.NAMESPACE:
            require_agreement(namespace, path.get(route.resource.parameter or ""), "the path")
        require_agreement(namespace, request.args.get("namespace_id"), "the query")
        return namespace

    def _reachable(self, caller: Caller, named: str) -> Namespace:
        """The namespace. To a key that is bound to an environment it does not tell what other namespaces there are."""
        try:
            namespace = self._services.tenants.namespace(caller.scope, named, caller.epoch)
        except NotFoundError:
            require_environment(caller.key, None)
            raise
        require_environment(caller.key, namespace.environment)
        return namespace

    @contextmanager
    def _place(self, route: Route, caller: Caller, into: Admission) -> Iterator[None]:
        """Count the request, and hold one of the organization's places while it is under way."""
        lease_seconds = max(_REQUEST_SECONDS, self._services.settings.sync_wait_seconds) + _LEASE_MARGIN_SECONDS
        verdict = self._services.limiter.admit(
            _subject(caller),
            route.rate,
            route=route.limited_as,
            # not the request's own id, which the caller chooses
            lease_id=random_id(Prefix.REQUEST) if route.rate in _LEASED else None,
            lease_seconds=lease_seconds,
        )
        into.verdict = verdict
        if not isinstance(verdict, Admitted):
            raise verdict.as_error()
        try:
            yield
        finally:
            if verdict.lease:
                self._services.limiter.release(verdict.lease)


def require_agreement(namespace: Namespace | None, named: object, where: str) -> None:
    """Raises InvalidRequestError when a request names one namespace in its header and another one elsewhere."""
    if namespace is None or named in (None, namespace.namespace_id, namespace.name):
        return
    raise InvalidRequestError(f"X-Namespace and {where} name different namespaces: send one of them, or the same.")


def _subject(caller: Caller) -> Subject:
    organization, key = caller.organization, caller.key
    return Subject(
        internal_id=key.internal_id,
        key_id=key.key_id,
        plan=organization.plan,
        key_requests_per_minute=key.grant.requests_per_minute,
        class_overrides=organization.rate_limit_overrides,
    )
