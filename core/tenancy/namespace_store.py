"""Namespaces in MongoDB. One that is being deleted is found by nobody but the job that removes what is in it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pymongo.errors import DuplicateKeyError

from core.clock import DatabaseClock, now
from core.errors import AlreadyExistsError, ConflictError, FieldProblem, NotFoundError, ValidationFailedError
from core.ids import IdSource, Prefix, random_id
from core.storage.handles import Handles, ScopedCollection
from core.storage.mongo import Document
from core.storage.scope import NamespaceScope, OrganizationScope
from core.storage.selection import Selection, narrowed
from core.tenancy.tenant import Deletion, Environment, IndexRebuild, Namespace, NamespaceState
from core.words import FIRST_FORM, INDEX_FORM

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_NAME_RULE = "use 1 to 63 of a-z, 0-9, '-' and '_', starting with a letter or digit, and not 'ns_'"
ABSENT = "The namespace was not found."


class NamespaceStore:
    """The namespaces of all organizations."""

    def __init__(self, handles: Handles, clock: DatabaseClock) -> None:
        self._handles = handles
        self._clock = clock

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
            "index_form": INDEX_FORM,
        }
        try:
            self._namespaces(scope).insert_one(document)
        except DuplicateKeyError as error:
            standing = self._namespaces(scope).find_one({"_id": document["_id"]})
            if standing is None:
                raise AlreadyExistsError(f"A namespace called {name!r} exists already.") from error
            if standing["state"] != NamespaceState.ACTIVE.value:
                raise ConflictError("The namespace that this request made was deleted since.") from error
            return _namespace(standing)
        return _namespace({**document, "internal_id": scope.internal_id})

    def get(self, scope: OrganizationScope, id_or_name: str) -> Namespace:
        """The organization's own namespace with this id or name. Raises NotFoundError."""
        found = self._find(scope, id_or_name)
        if found is None or found["state"] != NamespaceState.ACTIVE.value:
            raise NotFoundError(ABSENT)
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
        found = self._namespaces(scope).find(query)
        return sorted(map(_namespace, found), key=lambda item: item.created_at, reverse=True)

    def find(self, namespace_id: str) -> Namespace | None:
        """A namespace by its id alone, for operators; None for one that is not there or is being deleted."""
        found = self._handles.system["namespaces"].find_one({"_id": namespace_id})
        return _namespace(found) if found and found["state"] == NamespaceState.ACTIVE.value else None

    # The lexical index ------------------------------------------------------------------------------

    def rebuild_of(self, scope: NamespaceScope) -> IndexRebuild | None:
        """The rebuilding that a namespace's index is in; None when it is in none."""
        found = self._find(scope, scope.namespace_id)
        return IndexRebuild(**found["index_rebuild"]) if found and "index_rebuild" in found else None

    def note_rebuild(self, scope: NamespaceScope, rebuild: IndexRebuild) -> None:
        """Say how far it has come, or that it begins."""
        self._namespaces(scope).update_one({"_id": scope.namespace_id}, {"$set": {"index_rebuild": asdict(rebuild)}})

    def end_rebuild(self, scope: NamespaceScope) -> None:
        """Every document that an earlier release wrote is rewritten: from now on this form alone is asked for."""
        done = {"$set": {"index_form": INDEX_FORM}, "$unset": {"index_rebuild": ""}}
        self._namespaces(scope).update_one({"_id": scope.namespace_id}, done)

    # Deletion ---------------------------------------------------------------------------------------

    def begin_deletion(
        self, scope: OrganizationScope, namespace_id: str, operation_id: str, request_id: str
    ) -> Deletion | None:
        """From now on nobody finds the namespace, whose name stays taken. None when it was not there any more."""
        deletion = {"since": self._clock.now(), "number": 1, "operation_id": operation_id, "request_id": request_id}
        marked = self._namespaces(scope).update_one(
            {"_id": namespace_id, "state": NamespaceState.ACTIVE.value},
            {"$set": {"state": NamespaceState.DELETING.value, "deletion": deletion}},
        )
        return self.deletion_of(scope, namespace_id) if marked else None

    def deletion_of(self, scope: OrganizationScope, id_or_name: str) -> Deletion | None:
        """The deletion that a namespace is in; None when it is in none."""
        found = self._find(scope, id_or_name)
        return _deletion(found) if found and found["state"] == NamespaceState.DELETING.value else None

    def deletions(self) -> Sequence[Deletion]:
        """All deletions that are not done, of every organization: what the sweeper looks through."""
        found = self._handles.system["namespaces"].find({"state": NamespaceState.DELETING.value})
        return [_deletion(document) for document in found]

    def renumber_deletion(self, deletion: Deletion) -> bool:
        """Make room for another job of a deletion. False when somebody else did."""
        return self._namespaces(deletion.scope).update_one(
            {"_id": deletion.scope.namespace_id, "deletion.number": deletion.number},
            {"$set": {"deletion.number": deletion.number + 1}},
        )

    def end_deletion(self, scope: NamespaceScope) -> bool:
        """Nothing is left: free the name. The record stays, so that the id is never given again.

        False when it was not being deleted.
        """
        return self._namespaces(scope).update_one(
            {"_id": scope.namespace_id, "state": NamespaceState.DELETING.value},
            {
                "$set": {
                    "state": NamespaceState.DELETED.value,
                    # no namespace may be called like an id, so this name is nobody's
                    "name": scope.namespace_id,
                    "description": None,
                    "updated_at": self._clock.now(),
                }
            },
        )

    def is_deleted(self, scope: NamespaceScope) -> bool:
        """Whether the namespace's deletion is done."""
        found = self._find(scope, scope.namespace_id)
        return found is not None and found["state"] == NamespaceState.DELETED.value

    def _find(self, scope: OrganizationScope, id_or_name: str) -> Document | None:
        field = "_id" if id_or_name.startswith(Prefix.NAMESPACE) else "name"
        return self._namespaces(scope).find_one({field: id_or_name})

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
        index_form=found.get("index_form", FIRST_FORM),
    )


def _deletion(found: Document) -> Deletion:
    deletion = found["deletion"]
    return Deletion(
        scope=NamespaceScope(found["internal_id"], found["_id"]),
        since=deletion["since"],
        number=deletion["number"],
        operation_id=deletion["operation_id"],
        request_id=deletion["request_id"],
    )
