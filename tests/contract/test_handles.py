"""The database handles on a real server: none steps outside its tenant, by any method; and what MongoDB refuses."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from pymongo.database import Database
from pymongo.errors import BulkWriteError, DuplicateKeyError

from core.errors import PayloadTooLargeError
from core.ids import Prefix, random_id
from core.storage.handles import (
    ORGANIZATION_COLLECTIONS,
    SYSTEM_COLLECTIONS,
    Handles,
    NamespaceData,
    OrganizationData,
    ScopedCollection,
)
from core.storage.mongo import Document, connect
from core.storage.schema import SCHEMA, create_schema
from core.storage.scope import NamespaceScope, OrganizationScope
from tests.servers import own_database

TOO_LARGE = {"_id": "a", "text": "x" * (17 * 1024 * 1024)}
Field = Mapping[str, Any]


@pytest.fixture(scope="module")
def database(mongo_url: str) -> Iterator[Database[Document]]:
    """One database for all: each test has a tenant of its own."""
    database = connect(own_database(mongo_url))
    create_schema(database)
    yield database
    database.client.close()


class Neighbours:
    """The same collection with one document of a tenant, one of its other namespace, and one of another tenant."""

    def __init__(self, database: Database[Document], handles: Handles, scope: NamespaceScope, level: str) -> None:
        self.raw = database["events"]
        self.own = self.ids(scope.internal_id, scope.namespace_id)
        sibling = self.ids(scope.internal_id, random_id(Prefix.NAMESPACE))
        foreign = self.ids(random_id(Prefix.INTERNAL), scope.namespace_id)
        stored = {random_id(Prefix.EVENT): ids for ids in (self.own, sibling, foreign)}
        self.own_id, sibling_id, self.foreign_id = stored
        self.raw.insert_many([{"_id": name, "n": 0, **ids} for name, ids in stored.items()])
        handle = handles.namespace(scope) if level == "namespace" else handles.organization(scope)
        self.scoped: ScopedCollection = handle["events"]
        self.inside = {self.own_id} if level == "namespace" else {self.own_id, sibling_id}
        self.all = set(stored)
        self.outside = self.all - self.inside

    @staticmethod
    def ids(internal_id: str, namespace_id: str) -> dict[str, str]:
        return {"internal_id": internal_id, "namespace_id": namespace_id}

    def changed(self) -> set[str]:
        """The documents that are not as they were."""
        return self.all - {item["_id"] for item in self.raw.find({"_id": {"$in": list(self.all)}, "n": 0})}


@pytest.fixture(params=["namespace", "organization"])
def neighbours(
    request: pytest.FixtureRequest, database: Database[Document], handles: Handles, scope: NamespaceScope
) -> Neighbours:
    return Neighbours(database, handles, scope, request.param)


# Reads and writes stay inside -------------------------------------------------------------------------


def test_reads_find_what_is_inside_and_nothing_else(neighbours: Neighbours) -> None:
    scoped = neighbours.scoped
    assert {item["_id"] for item in scoped.find({})} == neighbours.inside
    assert scoped.count({}) == len(neighbours.inside)
    for name in neighbours.inside:
        assert scoped.find_one({"_id": name}) is not None
    for name in neighbours.outside:
        assert scoped.find_one({"_id": name}) is None
        assert list(scoped.find({"_id": {"$in": [name]}})) == []
        assert scoped.count({"_id": name}) == 0


def test_sums_are_of_what_is_inside_and_nothing_else(neighbours: Neighbours) -> None:
    neighbours.raw.update_many({"_id": {"$in": list(neighbours.all)}}, {"$set": {"n": 5, "of": {"what": "x"}}})
    (found,) = neighbours.scoped.sums({"_id": {"$in": list(neighbours.all)}}, "n", {"what": "of.what"})
    assert found == {"_id": {"what": "x"}, "count": len(neighbours.inside), "sum": 5 * len(neighbours.inside)}


def test_updates_change_what_is_inside_and_nothing_else(neighbours: Neighbours) -> None:
    scoped = neighbours.scoped
    for name in neighbours.outside:
        assert not scoped.update_one({"_id": name}, {"$set": {"n": 1}})
        assert scoped.update_many({"_id": name}, {"$set": {"n": 1}}) == 0
    assert neighbours.changed() == set()
    assert scoped.update_many({}, {"$set": {"n": 1}}) == len(neighbours.inside)
    assert neighbours.changed() == neighbours.inside


def test_deletes_remove_what_is_inside_and_nothing_else(neighbours: Neighbours) -> None:
    scoped = neighbours.scoped
    for name in neighbours.outside:
        assert not scoped.delete_one({"_id": name})
    assert scoped.delete_many({}) == len(neighbours.inside)
    assert {item["_id"] for item in neighbours.raw.find({"_id": {"$in": list(neighbours.all)}})} == neighbours.outside


def test_a_document_of_another_scope_is_not_overwritten(neighbours: Neighbours) -> None:
    for name in neighbours.outside:
        with pytest.raises(BulkWriteError):
            neighbours.scoped.replace_many([{"_id": name, "n": 1, "namespace_id": neighbours.own["namespace_id"]}])
    assert neighbours.changed() == set()
    with pytest.raises(DuplicateKeyError):
        neighbours.scoped.insert_one({"_id": neighbours.foreign_id, "namespace_id": neighbours.own["namespace_id"]})


def test_what_is_stored_is_tagged(handles: Handles, scope: NamespaceScope, database: Database[Document]) -> None:
    data = handles.namespace(scope)["documents"]
    data.insert_one({"_id": "one"})
    data.insert_many([{"_id": "two"}])
    data.replace_many([{"_id": "three"}])
    tagged = {"internal_id": scope.internal_id, "namespace_id": scope.namespace_id}
    assert database["documents"].count_documents(tagged) == 3
    handles.organization(scope)["users"].insert_one({"_id": "usr_1", "email": "a"})
    assert database["users"].count_documents({"internal_id": scope.internal_id}) == 1


# What is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["internal_id", "namespace_id"])
def test_a_query_or_a_document_that_names_another_scope_is_refused(
    handles: Handles, scope: NamespaceScope, name: str
) -> None:
    data = handles.namespace(scope)["documents"]
    other: Field = {name: "another"}
    attempts: list[Callable[[], Any]] = [
        lambda: data.find_one(other),
        lambda: data.find(other),
        lambda: data.count(other),
        lambda: data.sums(other, "n", {}),
        lambda: data.update_one(other, {"$set": {"n": 1}}),
        lambda: data.update_many(other, {"$set": {"n": 1}}),
        lambda: data.delete_one(other),
        lambda: data.delete_many(other),
        lambda: data.insert_one({"_id": "a", **other}),
        lambda: data.insert_many([{"_id": "a", **other}]),
        lambda: data.replace_many([{"_id": "a", **other}]),
    ]
    for attempt in attempts:
        with pytest.raises(ValueError, match="of another scope"):
            attempt()


@pytest.mark.parametrize(
    "update",
    [
        {"$set": {"internal_id": "another"}},
        {"$unset": {"namespace_id": ""}},
        {"$rename": {"internal_id": "was"}},
        [{"$set": {"namespace_id": "another"}}],
        [{"$unset": "internal_id"}],
        [{"$replaceWith": {"n": 1}}],
        [{"$replaceRoot": {"newRoot": {"n": 1}}}],
    ],
)
def test_an_update_that_would_move_a_document_to_another_scope_is_refused(
    handles: Handles, scope: NamespaceScope, update: Any
) -> None:
    data = handles.namespace(scope)["documents"]
    for change in (data.update_one, data.update_many):
        with pytest.raises(ValueError, match="may not move"):
            change({}, update)


def test_each_handle_opens_its_own_collections_only(handles: Handles, scope: NamespaceScope) -> None:
    for name in SCHEMA.keys() - ORGANIZATION_COLLECTIONS:
        with pytest.raises(ValueError, match="namespace data"):
            handles.organization(scope)[name]
    for name in SCHEMA.keys() - SYSTEM_COLLECTIONS:
        with pytest.raises(ValueError, match="tenant data"):
            handles.system[name]


def test_no_handle_is_made_without_its_scope(database: Database[Document], scope: NamespaceScope) -> None:
    for handle, wrong in ((NamespaceData, scope.organization), (NamespaceData, None), (OrganizationData, None)):
        with pytest.raises(TypeError):
            handle(database, wrong)  # type: ignore[arg-type]  # what a caller without types might do


@pytest.mark.parametrize("wrong", ["", None, "ns_1", 7])
def test_no_scope_is_made_without_its_ids(wrong: Any) -> None:
    with pytest.raises(ValueError, match="internal_id"):
        OrganizationScope(wrong)
    with pytest.raises(ValueError, match="internal_id"):
        NamespaceScope(wrong, "ns_1")


@pytest.mark.parametrize("wrong", ["", None, "int_1", 7])
def test_no_namespace_scope_is_made_without_a_namespace(wrong: Any) -> None:
    with pytest.raises(ValueError, match="namespace_id"):
        NamespaceScope("int_1", wrong)


@pytest.mark.parametrize(
    "store",
    [
        lambda rows: rows.insert_one(TOO_LARGE),
        lambda rows: rows.insert_many([TOO_LARGE]),
        lambda rows: rows.replace_many([TOO_LARGE]),
    ],
    ids=["insert_one", "insert_many", "replace_many"],
)
def test_a_document_over_the_limit_is_refused_as_too_large(
    handles: Handles, scope: NamespaceScope, store: Callable[[ScopedCollection], Any]
) -> None:
    with pytest.raises(PayloadTooLargeError):
        store(handles.namespace(scope)["objects"])
