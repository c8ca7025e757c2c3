"""Namespaces in MongoDB. One that is being deleted is found by nobody but the job that removes what is in it."""

import re
from collections.abc import Mapping
from typing import Any

from pymongo.errors import DuplicateKeyError

from core.clock import now
from core.errors import AlreadyExistsError, FieldProblem, NotFoundError, ValidationFailedError
from core.ids import IdSource, Prefix, random_id
from core.storage.handles import Handles, ScopedCollection
from core.storage.mongo import Document
from core.storage.scope import OrganizationScope
from core.storage.selection import Selection, narrowed
from core.tenancy.tenant import Environment, Namespace, NamespaceState

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_NAME_RULE = "use 1 to 63 of a-z, 0-9, '-' and '_', starting with a letter or digit, and not 'ns_'"
_ABSENT = "The namespace was not found."


class NamespaceStore:
    """The namespaces of all organizations."""

    def __init__(self, handles: Handles) -> None:
        self._handles = handles

    def create(
        self,
        scope: OrganizationScope,
        name: str,
        description: str | None = None,
        new_id: IdSource = random_id,
        environment: Environment | None = None,
    ) -> Namespace:
        """A new namespace. Raises ValidationFailedError for a bad name, AlreadyExistsError for a taken one."""
        _check_name(name)
        moment = now()
        document = {
            "_id": new_id(Prefix.NAMESPACE),
            "name": name,
            "description": description,
            "environment": environment.value if environment else None,
            "state": NamespaceState.ACTIVE.value,
            "created_at": moment,
            "updated_at": moment,
        }
        try:
            self._namespaces(scope).insert_one(document)
        except DuplicateKeyError as error:
            standing = self._namespaces(scope).find_one({"_id": document["_id"]})
            if standing is None:
                raise AlreadyExistsError(f"A namespace called {name!r} exists already.") from error
            return _namespace(standing)
        return _namespace({**document, "internal_id": scope.internal_id})

    def get(self, scope: OrganizationScope, id_or_name: str) -> Namespace:
        """The organization's own namespace with this id or name. Raises NotFoundError."""
        field = "_id" if id_or_name.startswith(Prefix.NAMESPACE) else "name"
        found = self._namespaces(scope).find_one({field: id_or_name})
        if found is None or found["state"] != NamespaceState.ACTIVE.value:
            raise NotFoundError(_ABSENT)
        return _namespace(found)

    def update(self, scope: OrganizationScope, namespace_id: str, changes: Mapping[str, Any]) -> Namespace:
        """Change name, description or environment. Raises NotFoundError, AlreadyExistsError, ValidationFailedError."""
        if "name" in changes:
            _check_name(changes["name"])
        try:
            self._namespaces(scope).update_one(
                {"_id": namespace_id, "state": NamespaceState.ACTIVE.value}, {"$set": {**changes, "updated_at": now()}}
            )
        except DuplicateKeyError as error:
            raise AlreadyExistsError(f"A namespace called {changes['name']!r} exists already.") from error
        return self.get(scope, namespace_id)

    def list(
        self, scope: OrganizationScope, only: Selection | None = None, environment: Environment | None = None
    ) -> list[Namespace]:
        """The organization's namespaces, newest first: those that `only` includes, and of one environment if named."""
        query: Document = {"state": NamespaceState.ACTIVE.value, **narrowed(only, "_id", "name")}
        if environment:
            query["environment"] = environment.value
        # the index is named because the embedded database scans when a filter has a field beyond its index
        found = self._namespaces(scope).find(query).hint("internal_id_1_state_1")
        return sorted(map(_namespace, found), key=lambda item: item.created_at, reverse=True)

    def _namespaces(self, scope: OrganizationScope) -> ScopedCollection:
        return self._handles.organization(scope)["namespaces"]


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name.startswith(Prefix.NAMESPACE):
        raise ValidationFailedError([FieldProblem(("namespace_name",), _NAME_RULE)])


def _namespace(found: Document) -> Namespace:
    return Namespace(
        namespace_id=found["_id"],
        internal_id=found["internal_id"],
        name=found["name"],
        description=found["description"],
        environment=Environment(found["environment"]) if found["environment"] else None,
        state=NamespaceState(found["state"]),
        created_at=found["created_at"],
        updated_at=found["updated_at"],
    )
