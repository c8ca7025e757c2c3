"""Organizations, namespaces and keys in MongoDB. The only place that turns a key or a name into a scope."""

import re
import threading
import time
from datetime import datetime
from typing import Any

from pymongo.errors import DuplicateKeyError

from core.clock import now
from core.errors import (
    AlreadyExistsError,
    FieldProblem,
    NotFoundError,
    UnauthenticatedError,
    ValidationFailedError,
)
from core.ids import IdSource, Prefix, random_id
from core.storage.handles import Handles
from core.storage.mongo import Document
from core.storage.scope import OrganizationScope
from core.tenancy.keys import KeyVerifier, PresentedKey, mint_key, parse_key
from core.tenancy.permissions import Permission
from core.tenancy.tenant import ApiKey, Caller, Namespace, Organization

_NAMESPACE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_NAMESPACE_CACHE_SECONDS = 30.0
"""How long a resolved namespace is used without asking MongoDB again (design decision 7)."""


class TenancyStore:
    """Finds who is calling, and where their data lives."""

    def __init__(self, handles: Handles, verifier: KeyVerifier) -> None:
        self._handles = handles
        self._verifier = verifier
        self._namespaces = _ExpiringCache()

    # Organizations and keys -------------------------------------------------------------------------

    def create_organization(self, name: str, email: str, plan: str) -> Organization:
        """A new organization, without keys or namespaces. An operator's act, never a route."""
        organization = Organization(
            internal_id=random_id(Prefix.INTERNAL),
            organization_id=random_id(Prefix.ORGANIZATION),
            name=name,
            email=email,
            plan=plan,
            created_at=now(),
        )
        self._handles.organization(organization.scope)["organizations"].insert_one(
            {
                "_id": organization.internal_id,
                "organization_id": organization.organization_id,
                "name": name,
                "email": email,
                "plan": plan,
                "created_at": organization.created_at,
            }
        )
        return organization

    def get_organization(self, scope: OrganizationScope) -> Organization:
        """The organization behind a scope. Raises NotFoundError."""
        found = self._handles.organization(scope)["organizations"].find_one({"_id": scope.internal_id})
        if found is None:
            raise NotFoundError
        return _organization(found)

    def find_organization(self, organization_id: str) -> Organization:
        """The organization with a public id, for operators. Raises NotFoundError."""
        found = self._handles.system["organizations"].find_one({"organization_id": organization_id})
        if found is None:
            raise NotFoundError(f"There is no organization {organization_id}.")
        return _organization(found)

    def list_organizations(self, limit: int = 1000) -> list[Organization]:
        """Every organization, for operators."""
        return [_organization(found) for found in self._handles.system["organizations"].find().limit(limit)]

    def create_key(self, scope: OrganizationScope, name: str, permission: Permission) -> PresentedKey:
        """A new key. Its text is in the answer and nowhere else."""
        key = mint_key()
        pepper_id, verifier = self._verifier.seal(key)
        self._handles.organization(scope)["api_keys"].insert_one(
            {
                "_id": key.key_id,
                "name": name,
                "permission": permission.value,
                "is_active": True,
                "expires_at": None,
                "pepper_id": pepper_id,
                "verifier": verifier,
                "hint": key.text[-4:],
                "created_at": now(),
            }
        )
        return key

    def authenticate(self, text: str) -> Caller:
        """The caller who holds this key. One read by primary key. Raises UnauthenticatedError, always the same."""
        presented = parse_key(text)
        if presented is None:
            raise UnauthenticatedError
        # read at each request, never cached, so that a revocation holds at once (design decision 7)
        found = self._handles.system["api_keys"].find_one({"_id": presented.key_id})
        if not self._verifier.matches(presented, *_sealed(found)) or found is None or not _usable(found):
            raise UnauthenticatedError
        return Caller(_api_key(found))

    # Namespaces -------------------------------------------------------------------------------------

    def create_namespace(
        self,
        scope: OrganizationScope,
        name: str,
        description: str | None = None,
        new_id: IdSource = random_id,
    ) -> Namespace:
        """A new namespace. Raises ValidationFailedError for a bad name, AlreadyExistsError for a taken one."""
        if not _NAMESPACE_NAME.fullmatch(name) or name.startswith(Prefix.NAMESPACE):
            raise ValidationFailedError(
                [
                    FieldProblem(
                        ("namespace_name",),
                        "use 1 to 63 of a-z, 0-9, '-' and '_', starting with a letter or digit, and not 'ns_'",
                    )
                ]
            )
        namespace = Namespace(new_id(Prefix.NAMESPACE), scope.internal_id, name, description, now())
        try:
            self._handles.organization(scope)["namespaces"].insert_one(
                {
                    "_id": namespace.namespace_id,
                    "name": name,
                    "description": description,
                    "created_at": namespace.created_at,
                }
            )
        except DuplicateKeyError as error:
            existing = self._find_namespace(scope, {"_id": namespace.namespace_id})
            if existing is None:
                raise AlreadyExistsError(f"A namespace called {name!r} exists already.") from error
            return existing
        return namespace

    def resolve_namespace(self, scope: OrganizationScope, id_or_name: str) -> Namespace:
        """The organization's own namespace with this id or name; cached for a moment. Raises NotFoundError."""
        cached = self._namespaces.get((scope.internal_id, id_or_name))
        if isinstance(cached, Namespace):
            return cached
        field = "_id" if id_or_name.startswith(Prefix.NAMESPACE) else "name"
        namespace = self._find_namespace(scope, {field: id_or_name})
        if namespace is None:
            raise NotFoundError("The namespace was not found.")
        self._namespaces.put((scope.internal_id, id_or_name), namespace, _NAMESPACE_CACHE_SECONDS)
        return namespace

    def list_namespaces(self, scope: OrganizationScope) -> list[Namespace]:
        """The organization's namespaces, newest first."""
        found = self._handles.organization(scope)["namespaces"].find({})
        return sorted((_namespace(item) for item in found), key=lambda item: item.created_at, reverse=True)

    def _find_namespace(self, scope: OrganizationScope, query: Document) -> Namespace | None:
        found = self._handles.organization(scope)["namespaces"].find_one(query)
        return _namespace(found) if found else None


class _ExpiringCache:
    """A small thread-safe memory whose entries go stale by themselves."""

    _LIMIT = 10_000

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[Any, tuple[float, object]] = {}

    def get(self, key: object) -> object | None:
        with self._lock:
            stale_at, value = self._entries.get(key, (0.0, None))
            return value if stale_at > time.monotonic() else None

    def put(self, key: object, value: object, seconds: float) -> None:
        with self._lock:
            if len(self._entries) >= self._LIMIT:
                self._entries.clear()
            self._entries[key] = (time.monotonic() + seconds, value)


def _sealed(found: Document | None) -> tuple[str, str]:
    # an unknown key id costs the same HMAC as a known one
    return (found["pepper_id"], found["verifier"]) if found else ("", "")


def _usable(found: Document) -> bool:
    expires_at: datetime | None = found["expires_at"]
    return bool(found["is_active"]) and (expires_at is None or expires_at > now())


def _organization(found: Document) -> Organization:
    return Organization(
        internal_id=found["internal_id"],
        organization_id=found["organization_id"],
        name=found["name"],
        email=found["email"],
        plan=found["plan"],
        created_at=found["created_at"],
    )


def _namespace(found: Document) -> Namespace:
    return Namespace(found["_id"], found["internal_id"], found["name"], found["description"], found["created_at"])


def _api_key(found: Document) -> ApiKey:
    return ApiKey(
        key_id=found["_id"],
        internal_id=found["internal_id"],
        name=found["name"],
        permission=Permission(found["permission"]),
        is_active=found["is_active"],
        expires_at=found["expires_at"],
    )
