"""A bucket, its schema, and the objects in it. Pure values; the bytes of a blob live in the object storage."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from core.errors import FieldProblem


class FieldType(StrEnum):
    """The published types of a property."""

    STRING = "string"
    NUMBER = "number"
    INTEGER = "integer"
    FLOAT = "float"
    BOOLEAN = "boolean"
    OBJECT = "object"
    ARRAY = "array"
    DATE = "date"
    DATETIME = "datetime"
    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    PDF = "pdf"
    EXCEL = "excel"


_PROPERTIES_NAMED = 20
"""Properties of a schema that an error names."""

BINARY_TYPES = frozenset({FieldType.IMAGE, FieldType.AUDIO, FieldType.VIDEO, FieldType.PDF, FieldType.EXCEL})
"""Types whose `data` is base64."""
TEXT_TYPES = frozenset({FieldType.STRING, FieldType.TEXT, FieldType.DATE, FieldType.DATETIME})
"""Types whose `data` is the text itself. All others take a JSON value."""


@dataclass(frozen=True)
class Bucket:
    """A place for objects of one shape."""

    bucket_id: str
    bucket_name: str
    description: str | None
    properties: Mapping[str, Mapping[str, Any]]
    """the schema: name → {"type", "required", "description", …}; empty accepts any property"""
    metadata: Mapping[str, Any]
    object_count: int
    """kept beside the objects, in the same transaction"""
    total_size_bytes: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class NewBlob:
    """One blob of an object that is about to be stored."""

    property: str
    type: FieldType
    content_type: str
    content: bytes = field(repr=False)
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NewObject:
    """An object that is about to be stored. `data` holds its metadata and any other keys of the customer's."""

    object_id: str
    blobs: tuple[NewBlob, ...]
    data: Mapping[str, Any] = field(default_factory=dict)
    key_prefix: str | None = None


@dataclass(frozen=True)
class StoredBlob:
    """A blob in the object storage, and what is known of it."""

    property: str
    type: FieldType
    blob_key: str
    content_type: str
    size_bytes: int
    sha256: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class StoredObject:
    """One object of a bucket."""

    object_id: str
    bucket_id: str
    key_prefix: str | None
    blobs: tuple[StoredBlob, ...]
    data: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime


def schema_problems(bucket: Bucket, blobs: list[tuple[str, FieldType]], data: Mapping[str, Any]) -> list[FieldProblem]:
    """What in an object does not fit its bucket's schema. A bucket without properties takes anything."""
    if not bucket.properties:
        return []
    problems = []
    for index, (name, field_type) in enumerate(blobs):
        declared = bucket.properties.get(name)
        if declared is None:
            accepted = ", ".join(sorted(bucket.properties)[:_PROPERTIES_NAMED])
            problems.append(FieldProblem(("blobs", index, "property"), f"the bucket's schema has: {accepted}"))
        elif declared["type"] != field_type.value:
            problems.append(
                FieldProblem(("blobs", index, "type"), f"the bucket's schema says {declared['type']} for {name}")
            )
    given = {name for name, _ in blobs} | data.keys() | _mapping(data.get("metadata")).keys()
    missing = [name for name, declared in bucket.properties.items() if declared.get("required") and name not in given]
    return problems + [FieldProblem((name,), "required by the bucket's schema", "missing") for name in missing]


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
