"""The three database handles (design decision 6). Stores get one of them and never a bare collection.

A namespace handle adds both ids to every filter and insert, an organization handle adds `internal_id` and
opens a closed list of collections, a system handle opens the closed list of records that are found by their
own id before a tenant is known. None of them can be built, or asked to step, outside its scope.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from pymongo import ReplaceOne
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.cursor import Cursor
from pymongo.database import Database
from pymongo.errors import BulkWriteError, DocumentTooLarge

from core.backends.backend import Backend
from core.errors import BackendAwayError, PayloadTooLargeError
from core.storage.mongo import Document
from core.storage.scope import NamespaceScope, OrganizationScope
from core.storage.transactions import in_transaction

ORGANIZATION_COLLECTIONS: Final = frozenset(
    {
        "organizations", "users", "namespaces", "api_keys", "ledger", "credit_accounts", "idempotency",
        "webhooks", "events", "deliveries", "attempts", "jobs", "audit", "audit_heads", "audit_checkpoints",
        "org_keys", "secrets", "secret_versions", "secret_access",
    }
)  # fmt: skip
"""Collections that belong to an organization as a whole."""

SYSTEM_COLLECTIONS: Final = frozenset(
    {
        "organizations", "namespaces", "api_keys", "ledger", "jobs", "events", "deliveries", "audit_heads", "leases",
        "heartbeats", "org_keys", "database_checks",
    }
)  # fmt: skip
"""Collections that are reached by primary key, or by due time, before the tenant is known."""

_TOO_LARGE = "The record is larger than can be stored."
_TOO_LARGE_CODES = frozenset({10334, 17419, 17420})
"""What MongoDB calls a document of more than 16 MiB, by the kind of write."""

IsAway = Callable[[], bool]
"""Whether MongoDB is known to be away."""

Update = Mapping[str, Any] | Sequence[Mapping[str, Any]]


def _never_known() -> bool:
    """For whoever waits for MongoDB as long as the driver does."""
    return False


class ScopedCollection:
    """One collection, seen through a scope: the scope's fields join every filter and every insert."""

    def __init__(
        self, collection: Collection[Document], scope: Mapping[str, str], session: ClientSession | None = None
    ) -> None:
        self._collection = collection
        self._scope = dict(scope)
        self._session = session

    def find_one(self, query: Mapping[str, Any], projection: Mapping[str, Any] | None = None) -> Document | None:
        """The first match inside the scope."""
        return self._collection.find_one(self._inside(query), projection, session=self._session)

    def find(self, query: Mapping[str, Any], projection: Mapping[str, Any] | None = None) -> Cursor[Document]:
        """All matches inside the scope; bound them with a window and a limit."""
        return self._collection.find(self._inside(query), projection, session=self._session)

    def count(self, query: Mapping[str, Any]) -> int:
        """How many match inside the scope."""
        return self._collection.count_documents(self._inside(query), session=self._session)

    def sums(self, query: Mapping[str, Any], of: str, by: Mapping[str, str]) -> list[Document]:
        """`count` and `sum` of the field `of` among the matches inside the scope, for each value of the fields `by`.

        `by` gives each of these fields its name in `_id`. Bound the query with a window.
        """
        key = {name: f"${path}" for name, path in by.items()}
        group = {"_id": key, "count": {"$sum": 1}, "sum": {"$sum": f"${of}"}}
        steps: list[Mapping[str, Any]] = [{"$match": self._inside(query)}, {"$group": group}]
        return list(self._collection.aggregate(steps, session=self._session))

    def insert_one(self, document: Mapping[str, Any]) -> None:
        """Store one document, tagged. Raises pymongo's DuplicateKeyError, and PayloadTooLargeError."""
        with _size_refused():
            self._collection.insert_one(self._tagged(document), session=self._session)

    def insert_many(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Store several, tagged, going on past duplicates. Raises BulkWriteError, PayloadTooLargeError."""
        with _size_refused():
            self._collection.insert_many(
                [self._tagged(document) for document in documents], ordered=False, session=self._session
            )

    def update_one(self, query: Mapping[str, Any], update: Update) -> bool:
        """Change the one match inside the scope; False when nothing matched."""
        self._refuse_scope_change(update)
        return self._collection.update_one(self._inside(query), update, session=self._session).matched_count == 1

    def update_many(self, query: Mapping[str, Any], update: Update) -> int:
        """Change all matches inside the scope; how many matched."""
        self._refuse_scope_change(update)
        return self._collection.update_many(self._inside(query), update, session=self._session).matched_count

    def replace_many(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Store documents under their `_id`, overwriting what stands there. Raises PayloadTooLargeError."""
        writes = [
            ReplaceOne(self._inside({"_id": document["_id"]}), self._tagged(document), upsert=True)
            for document in documents
        ]
        if writes:
            with _size_refused():
                self._collection.bulk_write(writes, ordered=False, session=self._session)

    def delete_one(self, query: Mapping[str, Any]) -> bool:
        """Remove the one match inside the scope; False when there was none."""
        return self._collection.delete_one(self._inside(query), session=self._session).deleted_count == 1

    def delete_many(self, query: Mapping[str, Any]) -> int:
        """Remove all matches inside the scope; how many there were."""
        return self._collection.delete_many(self._inside(query), session=self._session).deleted_count

    def _inside(self, query: Mapping[str, Any]) -> Document:
        self._refuse_other_scope(query)
        return {**query, **self._scope}

    def _tagged(self, document: Mapping[str, Any]) -> Document:
        self._refuse_other_scope(document)
        return {**document, **self._scope}

    def _refuse_other_scope(self, fields: Mapping[str, Any]) -> None:
        for name, value in self._scope.items():
            if fields.get(name, value) != value:
                raise ValueError(f"{name} of another scope: a handle never steps outside its own")

    def _refuse_scope_change(self, update: Update) -> None:
        steps: Sequence[Mapping[str, Any]] = [update] if isinstance(update, Mapping) else update
        for step in steps:
            for operator, fields in step.items():
                touched = {fields} if isinstance(fields, str) else set(fields)
                if touched & self._scope.keys() or operator in {"$replaceRoot", "$replaceWith"}:
                    raise ValueError("an update may not move a document to another scope")


@contextmanager
def _size_refused() -> Iterator[None]:
    """MongoDB's limit of 16 MiB for a document, as an error of ours."""
    try:
        yield
    except DocumentTooLarge:
        raise PayloadTooLargeError(_TOO_LARGE) from None
    except BulkWriteError as error:
        if any(failed["code"] in _TOO_LARGE_CODES for failed in error.details["writeErrors"]):
            # its text repeats the whole document
            raise PayloadTooLargeError(_TOO_LARGE) from None
        raise


class NamespaceData:
    """The data of one namespace. Any collection; both ids on every filter and insert."""

    def __init__(
        self,
        database: Database[Document],
        scope: NamespaceScope,
        session: ClientSession | None = None,
        is_away: IsAway = _never_known,
    ) -> None:
        if not isinstance(scope, NamespaceScope):
            raise TypeError("NamespaceData needs a NamespaceScope")
        self._database = database
        self._session = session
        self._is_away = is_away
        self.scope = scope

    def __getitem__(self, name: str) -> ScopedCollection:
        scope = {"internal_id": self.scope.internal_id, "namespace_id": self.scope.namespace_id}
        return ScopedCollection(self._database[name], scope, self._session)

    def all_or_nothing(self, writes: Callable[["NamespaceData"], None]) -> None:
        """Make several writes in one transaction. `writes` is called again when it met another transaction."""

        def write(session: ClientSession) -> None:
            writes(NamespaceData(self._database, self.scope, session))

        in_transaction(self._database, write, self._is_away)


class OrganizationData:
    """The data of one organization as a whole. A closed list; `internal_id` on every filter and insert."""

    def __init__(
        self,
        database: Database[Document],
        scope: OrganizationScope,
        session: ClientSession | None = None,
        is_away: IsAway = _never_known,
    ) -> None:
        if not isinstance(scope, OrganizationScope):
            raise TypeError("OrganizationData needs an OrganizationScope")
        self._database = database
        self._session = session
        self._is_away = is_away
        self.scope = scope

    def __getitem__(self, name: str) -> ScopedCollection:
        if name not in ORGANIZATION_COLLECTIONS:
            raise ValueError(f"{name} is namespace data: use a NamespaceData handle")
        return ScopedCollection(self._database[name], {"internal_id": self.scope.internal_id}, self._session)

    def all_or_nothing(self, writes: Callable[["OrganizationData"], None]) -> None:
        """Make several writes in one transaction. `writes` is called again when it met another transaction."""

        def write(session: ClientSession) -> None:
            writes(OrganizationData(self._database, self.scope, session))

        in_transaction(self._database, write, self._is_away)


class SystemData:
    """Records found before a tenant is known, by primary key or due time. A closed list of collections."""

    def __init__(self, database: Database[Document], is_away: IsAway = _never_known) -> None:
        self._database = database
        self._is_away = is_away

    def __getitem__(self, name: str) -> Collection[Document]:
        if name not in SYSTEM_COLLECTIONS:
            raise ValueError(f"{name} is tenant data: it has no system queries")
        _require_here(self._is_away)
        return self._database[name]


class Handles:
    """Makes handles on one database. Raises BackendAwayError at once where MongoDB is known to be away."""

    def __init__(self, database: Database[Document], is_away: IsAway = _never_known) -> None:
        self._database = database
        self._is_away = is_away
        self.system = SystemData(database, is_away)

    def namespace(self, scope: NamespaceScope) -> NamespaceData:
        """The handle of one namespace."""
        _require_here(self._is_away)
        return NamespaceData(self._database, scope, is_away=self._is_away)

    def organization(self, scope: OrganizationScope) -> OrganizationData:
        """The handle of one organization."""
        _require_here(self._is_away)
        return OrganizationData(self._database, OrganizationScope(scope.internal_id), is_away=self._is_away)


def _require_here(is_away: IsAway) -> None:
    if is_away():
        raise BackendAwayError(Backend.MONGO)
