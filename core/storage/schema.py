"""Every collection with its indexes and validator, in one list; created at start, repeatable."""

from dataclasses import dataclass, field
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.database import Database
from pymongo.errors import CollectionInvalid

from core.storage.mongo import Document

_BOTH_IDS = ("internal_id", "namespace_id")


def _index(*fields: str, unique: bool = False, **options: Any) -> IndexModel:
    keys = [(name.lstrip("-"), DESCENDING if name.startswith("-") else ASCENDING) for name in fields]
    return IndexModel(keys, unique=unique, **options)


def _in_namespace(*fields: str, unique: bool = False, **options: Any) -> IndexModel:
    return _index(*_BOTH_IDS, *fields, unique=unique, **options)


@dataclass(frozen=True)
class CollectionSchema:
    """One collection: the ids every document must carry, and its indexes."""

    required: tuple[str, ...] = _BOTH_IDS
    indexes: list[IndexModel] = field(default_factory=list)


SCHEMA: dict[str, CollectionSchema] = {
    "organizations": CollectionSchema(
        ("internal_id",), [_index("organization_id", unique=True), _index("internal_id", unique=True)]
    ),
    "namespaces": CollectionSchema(
        ("internal_id",),
        [
            _index("internal_id", "_id"),
            _index("internal_id", "name", unique=True),
            _index("internal_id", "state"),
            _index("state", partialFilterExpression={"state": "deleting"}),
        ],
    ),
    "users": CollectionSchema(
        ("internal_id",), [_index("internal_id", "_id"), _index("internal_id", "email", unique=True)]
    ),
    "api_keys": CollectionSchema(
        ("internal_id",),
        [
            _index("internal_id", "_id"),
            _index("internal_id", "user_id", "name", unique=True, partialFilterExpression={"active": True}),
            _index("internal_id", "user_id", "revoked_at"),
            _index("internal_id", "permissions", "active"),
        ],
    ),
    "ledger": CollectionSchema(
        ("internal_id",),
        [
            _index("internal_id", "seq", unique=True),
            _index("internal_id", "op_id", unique=True),
            _index("internal_id", "hold_id", unique=True, partialFilterExpression={"terminal": True}),
            _index("kind", "at"),
            # ascending: the embedded engine leaves the lower end of a range out where an index descends
            _index("internal_id", "kind", "at"),
            _index("internal_id", "usage.namespace_id", "kind", "at"),
        ],
    ),
    "credit_accounts": CollectionSchema(("internal_id",), [_index("internal_id", "_id")]),
    "audit": CollectionSchema(
        ("internal_id",),
        [
            _index("internal_id", "seq", unique=True),
            _index("internal_id", "-at", "-seq"),
            _index("internal_id", "resource_id", "-at", "-seq"),
            _index("internal_id", "actor_id", "-at", "-seq"),
            _index("internal_id", "action", "-at", "-seq"),
            _index("internal_id", "resource_type", "-at", "-seq"),
        ],
    ),
    "audit_heads": CollectionSchema(("internal_id",), [_index("internal_id", "_id"), _index("at")]),
    "org_keys": CollectionSchema(
        ("internal_id",),
        [
            _index("internal_id", "version", unique=True),
            _index("internal_id", "state", unique=True, partialFilterExpression={"state": "active"}),
            _index("kek_id", sparse=True),
        ],
    ),
    "secrets": CollectionSchema(
        ("internal_id",), [_index("internal_id", "name", unique=True), _index("internal_id", "dek_version")]
    ),
    "secret_versions": CollectionSchema(
        ("internal_id",),
        [_index("internal_id", "secret_id", "version", unique=True), _index("internal_id", "dek_version")],
    ),
    "secret_access": CollectionSchema(
        ("internal_id",),
        [_index("internal_id", "secret_id", "day", unique=True), _index("expires_at", expireAfterSeconds=0)],
    ),
    "audit_checkpoints": CollectionSchema(("internal_id",), [_index("internal_id", "number", unique=True)]),
    "idempotency": CollectionSchema(
        ("internal_id",), [_index("internal_id", "_id"), _index("expires_at", expireAfterSeconds=0)]
    ),
    "jobs": CollectionSchema(
        _BOTH_IDS,
        [
            _index("due_at", sparse=True),
            # a lane looks for its own kinds, however many of the others are due
            _index("kind", "due_at"),
            _index("waiting_for", sparse=True),
            _in_namespace("_id"),
            _index("internal_id", "_id"),
            _index("internal_id", "-created_at"),
            _in_namespace("-created_at"),
        ],
    ),
    "executions": CollectionSchema(_BOTH_IDS, [_in_namespace("_id")]),
    "buckets": CollectionSchema(
        _BOTH_IDS,
        [_in_namespace("_id"), _in_namespace("bucket_name", unique=True), _in_namespace("-created_at")],
    ),
    "objects": CollectionSchema(_BOTH_IDS, [_in_namespace("_id"), _in_namespace("bucket_id", "-created_at")]),
    "collections": CollectionSchema(
        _BOTH_IDS,
        [
            _in_namespace("_id"),
            _in_namespace("collection_name", unique=True),
            _in_namespace("-created_at"),
            _in_namespace("bucket_ids"),
        ],
    ),
    "documents": CollectionSchema(
        _BOTH_IDS,
        [
            _in_namespace("_id"),
            _in_namespace("collection_id", "-created_at"),
            _in_namespace("collection_id", "source_object_id", "chunk_index"),
        ],
    ),
    "batches": CollectionSchema(_BOTH_IDS, [_in_namespace("_id"), _in_namespace("bucket_id", "-created_at")]),
    "retrievers": CollectionSchema(
        _BOTH_IDS,
        [
            _in_namespace("_id"),
            _in_namespace("retriever_name", unique=True),
            _in_namespace("-created_at"),
            _in_namespace("secret_names"),
        ],
    ),
    "webhooks": CollectionSchema(
        ("internal_id",),
        [
            _index("internal_id", "_id"),
            _index("internal_id", "-created_at"),
            _index("internal_id", "secret.dek_version"),
            _index("internal_id", "sealed_headers.dek_version"),
        ],
    ),
    "events": CollectionSchema(_BOTH_IDS, [_index("internal_id", "_id"), _in_namespace("_id")]),
    "deliveries": CollectionSchema(
        _BOTH_IDS,
        [
            _index("due_at", sparse=True),
            _index("internal_id", "_id"),
            _in_namespace("_id"),
            _index("internal_id", "webhook_id", "-created_at"),
            _index("internal_id", "webhook_id", "status", "-created_at"),
            _index("internal_id", "-created_at"),
        ],
    ),
    "attempts": CollectionSchema(
        _BOTH_IDS,
        [
            _in_namespace("_id"),
            _in_namespace("delivery_id", "result", "number"),
            _index("internal_id", "delivery_id", "number", unique=True),
        ],
    ),
    "leases": CollectionSchema(()),
    "database_checks": CollectionSchema(()),
    "heartbeats": CollectionSchema((), [_index("at", expireAfterSeconds=86_400)]),
}

NAMESPACED = tuple(name for name, schema in SCHEMA.items() if "namespace_id" in schema.required)
"""Collections whose every document belongs to one namespace."""


def create_schema(database: Database[Document]) -> None:
    """Create what is missing. Safe to run from several processes at once."""
    existing = set(database.list_collection_names())
    for name, schema in SCHEMA.items():
        if name not in existing:
            _create_collection(database, name, schema.required)
        if schema.indexes:
            database[name].create_indexes(schema.indexes)


def _create_collection(database: Database[Document], name: str, required: tuple[str, ...]) -> None:
    text = {"bsonType": "string", "minLength": 1}
    rules = {"bsonType": "object", "required": list(required), "properties": dict.fromkeys(required, text)}
    try:
        database.create_collection(name, validator={"$jsonSchema": rules} if required else {})
    except CollectionInvalid:
        # another process created it between our look and our call
        return
