"""One row of the database behind each list of the API, and copies of it that fill the list. For the tests of paging."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import ObjectId
from pymongo.collection import Collection

from api.registry import ROUTES
from core.storage.mongo import Document
from tests.integration.conftest import Tenant

COPIES = 24
"""With the row itself 25: three pages of ten."""


@dataclass(frozen=True)
class Shelf:
    """Where the rows of a list are, and how its answer shows one."""

    collection: str
    shown_as: str
    """the field of a result that names its row; empty where the name is all that is shown"""
    named_by: str = "_id"
    """the field of the row that this is"""
    unique: tuple[str, ...] = ()
    """other fields that no two rows share"""
    results: str = "results"
    time: str = "created_at"


SHELVES: Mapping[str, Shelf] = {
    "users.list": Shelf("users", "user_id", unique=("email",)),
    "api_keys.list": Shelf("api_keys", "key_id", unique=("name",)),
    "namespaces.list": Shelf("namespaces", "namespace_id", unique=("name",)),
    "buckets.list": Shelf("buckets", "bucket_id", unique=("bucket_name",)),
    "objects.list": Shelf("objects", "object_id"),
    "collections.list": Shelf("collections", "collection_id", unique=("collection_name",)),
    "documents.list": Shelf("documents", "document_id"),
    "batches.list": Shelf("batches", "batch_id"),
    "tasks.list": Shelf("jobs", "task_id"),
    "retrievers.list": Shelf("retrievers", "retriever_id", unique=("retriever_name",)),
    "secrets.list": Shelf("secrets", "", "name", unique=("name",), results="secrets"),
    "webhooks.list": Shelf("webhooks", "webhook_id"),
    "deliveries.list": Shelf("deliveries", "delivery_id"),
    "audit.list": Shelf("audit", "audit_id", time="at"),
    "billing.transactions": Shelf(
        "ledger", "record_id", "op_id", unique=("op_id", "hold_id"), results="transactions", time="at"
    ),
}
"""Every list, by what a plan calls its route."""


@dataclass(frozen=True)
class Stock:
    """A list of one tenant, filled."""

    tenant: Tenant
    shelf: Shelf
    path: str
    method: str
    rows: Collection[Document]
    names: tuple[str, ...]
    """as the list names its rows; the first is the row that others were copied from, and other records may need"""

    def page(self, query: str) -> Any:
        """The answer to a request for a page."""
        return self.tenant.call(self.method, f"{self.path}?{query}", {} if self.method == "POST" else None)

    def shown(self, answer: Mapping[str, Any]) -> list[str]:
        """The rows of an answer, by name."""
        results = answer[self.shelf.results]
        return [result[self.shelf.shown_as] if self.shelf.shown_as else result for result in results]

    def remove(self, name: str) -> None:
        """Take a row away."""
        found = {self.shelf.named_by: name, "internal_id": self.tenant.scope.internal_id}
        assert self.rows.delete_one(found).deleted_count == 1

    def add(self, number: int, moment: datetime | None = None) -> str:
        """Another copy, of this time or of the same; its name."""
        row = self.rows.find_one({self.shelf.named_by: self.names[0], "internal_id": self.tenant.scope.internal_id})
        assert row is not None
        copied = _copy(row, self.shelf, number) | ({self.shelf.time: moment} if moment else {})
        self.rows.insert_one(copied)
        return str(copied[self.shelf.named_by])


def fill(tenant: Tenant, limited_as: str, known: dict[str, str], moment: datetime) -> Stock:
    """A list with 25 rows, all made in one millisecond. `known` has a row of each kind, as `known_records` makes it."""
    shelf = SHELVES[limited_as]
    route = next(route for route in ROUTES if route.name == limited_as)
    path = route.rule
    for name, value in known.items():
        path = path.replace(f"<{name.removeprefix('path.')}>", value)
    rows = tenant.services.database[shelf.collection]
    stock = Stock(tenant, shelf, path, route.method, rows, ())
    shown = stock.shown(stock.page("limit=1000").get_json())
    # the row that others are copied from stays the same, because more than the list may need it
    first = known.setdefault(f"first of {limited_as}", shown[-1])
    for name in shown:
        if name != first:
            stock.remove(name)
    found = {shelf.named_by: first, "internal_id": tenant.scope.internal_id}
    row = rows.find_one_and_update(found, {"$set": {shelf.time: moment}}, return_document=True)
    assert row is not None
    copies = [_copy(row, shelf, number) for number in range(COPIES)]
    rows.insert_many(copies)
    return Stock(tenant, shelf, path, route.method, rows, (first, *(copy[shelf.named_by] for copy in copies)))


def _copy(row: Document, shelf: Shelf, number: int) -> Document:
    """The row again, under another id and other names."""
    own = f"{(number * 7919) % 65536:04x}"
    changed: Document = {"_id": f"{row['_id'][:-4]}{own}" if isinstance(row["_id"], str) else ObjectId()}
    for field in shelf.unique:
        changed[field] = f"{own}_{row[field]}"
    if "seq" in row:
        changed["seq"] = row["seq"] + 1_000 + (number * 7919) % 65536
    return {**row, **changed}
