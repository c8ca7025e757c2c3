"""`text_extractor` v1: an object's texts become pieces, each with an embedding and BM25 weights. It writes nothing."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import orjson

from core.buckets.bucket import StoredObject
from core.collections.collection import ExtractorConfig
from core.collections.document_fields import SYSTEM_FIELDS
from core.collections.extractor_parameters import TextExtractorParameters
from core.errors import NotFoundError, PayloadTooLargeError
from core.ids import Prefix, derived_id, point_id
from core.retrievers.filters import value_at
from core.storage.vectors.bm25 import document_vector
from core.storage.vectors.store import DENSE, Point
from pipelines.embedders.embedder import Vectors
from pipelines.extractors.extractor import Extraction, ExtractionContext, ExtractionOutcome, ObjectFailure
from pipelines.extractors.reading import Text, Unreadable, can_read, read_text
from pipelines.extractors.splitting import split

_PIECES_AT_ONCE = 32
"""Pieces embedded between two looks at whether the call was cancelled."""
_MOST_PIECES = 5000
_MOST_CARRIED_BYTES = 32 * 1024 * 1024
"""What all documents of an object may repeat of its fields, as JSON."""


def extract_text(source: StoredObject, context: ExtractionContext) -> ExtractionOutcome:
    """All readable texts of the object, in the order of its blobs, as documents numbered through."""
    pieces: list[str] = []
    parameters = TextExtractorParameters.model_validate(context.collection.extractor.parameters)
    for reading in _readings(source, context):
        if isinstance(reading, Unreadable):
            return ObjectFailure(source.object_id, reading.code, reading.message)
        pieces += split(reading.content, reading.is_markdown, parameters)
    if not pieces:
        return ObjectFailure(source.object_id, "empty_text", "The object has no text.")
    if len(pieces) > _MOST_PIECES:
        return ObjectFailure(source.object_id, "too_large", f"The object makes more than {_MOST_PIECES} documents.")
    carried = _carried_fields(source.data, context.collection.extractor)
    if len(pieces) * len(orjson.dumps(carried)) > _MOST_CARRIED_BYTES:
        message = (
            f"Its {len(pieces)} documents would carry more than {_MOST_CARRIED_BYTES} bytes of the object's fields."
        )
        return ObjectFailure(source.object_id, "too_large", message)
    vectors = _embed(pieces, context)
    documents = [_document(source, context, carried, index, piece) for index, piece in enumerate(pieces)]
    points = [_point(context.namespace_id, *pair) for pair in zip(documents, vectors, strict=True)]
    return Extraction(source.object_id, tuple(documents), tuple(points))


def _readings(source: StoredObject, context: ExtractionContext) -> Iterator[Text | Unreadable]:
    """What each text of the object says; the collection may name one property as the text."""
    wanted = context.collection.extractor.input_mappings.get("text")
    blobs = [blob for blob in source.blobs if blob.property == wanted or not wanted]
    # an image beside the text is no fault of the object; alone, it is
    readable = [blob for blob in blobs if can_read(blob.content_type)] or blobs
    for blob in readable:
        context.check_cancelled()
        try:
            yield read_text(context.blobs.get(blob.blob_key), blob.content_type)
        except NotFoundError:
            yield Unreadable("content_missing", f"The content of {blob.property} is gone.")
        except PayloadTooLargeError as error:
            yield Unreadable("too_large", error.message)
    field = value_at(source.data, wanted) if wanted else None
    if isinstance(field, str):
        yield Text(field)
    elif not blobs:
        yield Unreadable("empty_text", f"The object has no {wanted or 'content'} to take text from.")


def _embed(pieces: list[str], context: ExtractionContext) -> Vectors:
    parts = []
    for start in range(0, len(pieces), _PIECES_AT_ONCE):
        context.check_cancelled()
        parts.append(context.embedder.embed(pieces[start : start + _PIECES_AT_ONCE]))
    return np.concatenate(parts)


def _document(
    source: StoredObject, context: ExtractionContext, carried: Mapping[str, Any], index: int, piece: str
) -> dict[str, Any]:
    collection_id = context.collection.collection_id
    identity = (context.namespace_id, collection_id, source.object_id, index)
    return {
        **carried,
        "document_id": derived_id(Prefix.DOCUMENT, *identity),
        "collection_id": collection_id,
        "chunk_index": index,
        "text": piece,
        "source_object_id": source.object_id,
        "root_object_id": source.object_id,
        "root_bucket_id": source.bucket_id,
        "source_type": "bucket",
        "lineage_path": f"{source.bucket_id}/{source.object_id}/{collection_id}",
    }


def _carried_fields(data: Mapping[str, Any], config: ExtractorConfig) -> dict[str, Any]:
    """The object's own fields that its documents carry: `metadata` and further keys are one level."""
    metadata = data.get("metadata")
    fields = {**data, **(metadata if isinstance(metadata, Mapping) else {})}
    named = {path.removeprefix("metadata.") for path in config.field_passthrough}
    return {
        name: value
        for name, value in fields.items()
        if name not in SYSTEM_FIELDS and (config.include_all_source_fields or name in named)
    }


def _point(namespace_id: str, document: Mapping[str, Any], vector: Vectors) -> Point:
    identity = (document["collection_id"], document["source_object_id"], DENSE, document["chunk_index"])
    return Point(
        id=point_id(namespace_id, *identity),
        dense=vector,
        sparse=document_vector(document["text"]),
        payload={**document, "namespace_id": namespace_id},
    )
