"""The schema on a real server: a document without its tenant cannot be stored, and nothing is unique across tenants."""

from typing import Any

import pytest
from pymongo.database import Database
from pymongo.errors import WriteError

from core.storage.mongo import Document
from core.storage.schema import NAMESPACED, SCHEMA

OF_A_NAMESPACE = {
    "jobs", "executions", "buckets", "objects", "collections", "documents", "batches", "retrievers", "events",
    "deliveries", "attempts",
}  # fmt: skip
OF_NOBODY = {"leases", "heartbeats", "database_checks"}
KNOWN_EVERYWHERE = {("organizations", "organization_id")}
"""What is found before its tenant is known."""


def test_a_document_without_its_ids_cannot_be_stored(database: Database[Document]) -> None:
    for name in sorted(SCHEMA.keys() - OF_NOBODY):
        whole = {"internal_id": "int_1"} | ({"namespace_id": "ns_1"} if name in OF_A_NAMESPACE else {})
        for missing in whole:
            less = {field: value for field, value in whole.items() if field != missing}
            for document in (less, {**whole, missing: ""}, {**whole, missing: None}):
                with pytest.raises(WriteError):
                    database[name].insert_one({"_id": "x", **document})
        database[name].insert_one({"_id": "x", **whole})


def test_the_data_of_namespaces_is_what_a_deletion_removes() -> None:
    assert set(NAMESPACED) == OF_A_NAMESPACE


def test_nothing_is_unique_across_tenants() -> None:
    for name, schema in SCHEMA.items():
        for index in schema.indexes:
            options: dict[str, Any] = index.document
            first = next(iter(options["key"]))
            if options.get("unique") and (name, first) not in KNOWN_EVERYWHERE:
                assert first == "internal_id", f"{name}: {options['key']}"
                assert name in {"attempts"} or name not in OF_A_NAMESPACE or "namespace_id" in options["key"]
