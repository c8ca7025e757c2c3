"""Which fields of a document are ours, and what that means for an object's own of the same name. Pure.

An object's `metadata` and its further keys become one level of fields of its documents. What would be lost on the way
is refused when it is sent, or said; nothing is dropped in silence.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from core.errors import FieldProblem

SYSTEM_FIELDS: Final = frozenset(
    {
        "_id", "document_id", "collection_id", "namespace_id", "internal_id", "chunk_index", "text", "score",
        "source_object_id", "root_object_id", "root_bucket_id", "source_type", "lineage_path", "metadata",
    }
)  # fmt: skip
"""Fields of a document that are ours: a customer's field of such a name is not carried."""
_KEPT_BY_OBJECTS: Final = frozenset({"text", "score"})
"""Everyday names: an object may have them for itself, and be told that its documents have their own."""
REFUSED_FIELDS: Final = SYSTEM_FIELDS - _KEPT_BY_OBJECTS
_SHOWN_OF_OBJECTS: Final = frozenset({"object_id", "bucket_id", "status", "created_at", "updated_at"})
"""What is shown of every object, over its own keys of these names."""
_METADATA: Final = "metadata"
OURS: Final = "documents have a field of this name that is ours: use another name"


def field_problems(data: Mapping[str, Any]) -> list[FieldProblem]:
    """What of an object's own keys no document could carry, each with its place."""
    metadata = data.get(_METADATA)
    if metadata is not None and not isinstance(metadata, Mapping):
        return [FieldProblem((_METADATA,), "must be an object: its keys become fields of documents")]
    problems = [FieldProblem(place, OURS, "reserved_name") for place in _places(data, REFUSED_FIELDS)]
    twice = [name for name, value in (metadata or {}).items() if name != _METADATA and data.get(name, value) != value]
    message = "stands beside metadata with another value: a document has one field of a name"
    return problems + [FieldProblem((_METADATA, name), message) for name in twice]


def field_warnings(data: Mapping[str, Any]) -> list[tuple[tuple[str, ...], str]]:
    """What of them is kept and does not come back where it may be looked for: the place, and why."""
    places = _places(data, _KEPT_BY_OBJECTS | _SHOWN_OF_OBJECTS)
    return [(place, reason) for place in places if (reason := _reason(place))]


def passthrough_problem(path: str) -> str | None:
    """Why a collection's documents cannot carry this field of their objects."""
    name = path.removeprefix("metadata.")
    if name in SYSTEM_FIELDS:
        return OURS
    return "a field is carried as a whole: name its first level" if "." in name else None


def _places(data: Mapping[str, Any], names: frozenset[str]) -> Iterator[tuple[str, ...]]:
    """Where these names stand among an object's own keys."""
    for name in sorted(data.keys() & names - {_METADATA}):
        yield (name,)
    for name in sorted((data.get(_METADATA) or {}).keys() & names):
        yield (_METADATA, name)


def _reason(place: tuple[str, ...]) -> str | None:
    name = place[-1]
    if name in _KEPT_BY_OBJECTS:
        return f"it stays with the object: its documents have a {name} of their own"
    if len(place) == 1 and name in _SHOWN_OF_OBJECTS:
        return f"documents carry it, but the object is shown with its own {name}: put it into metadata"
    if name == "created_at":
        return "filters and sorts see it, but documents are listed with the time when they were made"
    return None
