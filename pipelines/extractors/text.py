"""`text_extractor` v1: an object's texts become pieces, each with an embedding and BM25 weights. It writes nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import orjson

from core.buckets.bucket import FieldType, StoredBlob, StoredObject
from core.collections.collection import ExtractorConfig
from core.collections.document_fields import SYSTEM_FIELDS
from core.collections.extractor_parameters import TextExtractorParameters
from core.errors import NotFoundError, PayloadTooLargeError
from core.files.kinds import is_readable, is_unsaid
from core.ids import Prefix, derived_id, point_id
from core.retrievers.filters import value_at
from core.storage.vectors.bm25 import document_vector
from core.storage.vectors.store import DENSE, Point
from pipelines.embedders.embedder import Vectors
from pipelines.extractors.extractor import (
    EMPTY,
    Extraction,
    ExtractionContext,
    ExtractionOutcome,
    ObjectFailure,
    ObjectReport,
    UnreadPart,
)
from pipelines.extractors.reading_outcome import Cutting, Remark, Unreadable

_PIECES_AT_ONCE = 32
"""Pieces embedded between two looks at whether the call was cancelled."""
_MOST_PIECES = 5000
_MOST_CARRIED_BYTES = 32 * 1024 * 1024
"""What all documents of an object may repeat of its fields, as JSON."""

_MOST_TOLD = 20
"""Parts that gave nothing, and warnings, that the report of one object names."""
_NO_TEXT = "It has no text; a scanned page has none either."
_CUT = "documents are longer than the embedding model reads: their vectors speak of the beginning alone."
_NO_TEXT_IN: Final = frozenset({FieldType.IMAGE, FieldType.AUDIO, FieldType.VIDEO, FieldType.EXCEL})


def extract_text(source: StoredObject, context: ExtractionContext) -> ExtractionOutcome:
    """All readable texts of the object, in the order of its blobs, as documents numbered through."""
    parts = _Parts()
    for name, cutting in _cuttings(source, context, parts):
        parts.take(name, cutting)
    pieces = parts.pieces
    if not pieces:
        return _nothing(source, parts.not_read)
    if len(pieces) > _MOST_PIECES:
        return ObjectFailure(source.object_id, "too_large", f"The object makes more than {_MOST_PIECES} documents.")
    carried = _carried_fields(source.data, context.collection.extractor)
    if len(pieces) * len(orjson.dumps(carried)) > _MOST_CARRIED_BYTES:
        message = (
            f"Its {len(pieces)} documents would carry more than {_MOST_CARRIED_BYTES} bytes of the object's fields."
        )
        return ObjectFailure(source.object_id, "too_large", message)
    vectors, cut = _embed(pieces, context)
    documents = [_document(source, context, carried, index, piece) for index, piece in enumerate(pieces)]
    points = [_point(context.namespace_id, *pair) for pair in zip(documents, vectors, strict=True)]
    return Extraction(source.object_id, tuple(documents), tuple(points), parts.report(source.object_id, cut))


@dataclass
class _Parts:
    """What the parts of an object gave so far."""

    pieces: list[str] = field(default_factory=list)
    read: int = 0
    not_read: list[UnreadPart] = field(default_factory=list)
    warnings: list[tuple[str | None, Remark]] = field(default_factory=list)

    @property
    def room(self) -> int:
        """Pieces that may be added: one more than an object may have is enough to see that it has too many."""
        return max(0, _MOST_PIECES + 1 - len(self.pieces))

    def take(self, name: str, cutting: Cutting) -> None:
        """Count one part: its pieces, or why there are none."""
        if isinstance(cutting, Unreadable):
            self.not_read.append(UnreadPart(name, cutting.code, cutting.message))
            return
        self.warnings += [(name, remark) for remark in cutting.remarks]
        if not cutting.texts and self.room:
            self.not_read.append(UnreadPart(name, EMPTY, _NO_TEXT))
        self.read += bool(cutting.texts)
        self.pieces += cutting.texts

    def report(self, object_id: str, cut: int) -> ObjectReport:
        """What was read, with how many pieces the embedder read in part only."""
        warnings = self.warnings[:_MOST_TOLD]
        if cut:
            warnings.append((None, Remark("longer_than_window", f"{cut} of {len(self.pieces)} {_CUT}", cut)))
        return ObjectReport(object_id, self.read, len(self.pieces), tuple(self.not_read[:_MOST_TOLD]), tuple(warnings))


def _nothing(source: StoredObject, not_read: Sequence[UnreadPart]) -> ObjectFailure:
    """Why no part of the object gave a text: a fault before an emptiness."""
    worst = next((part for part in not_read if part.code != EMPTY), not_read[0])
    others = f" None of its {len(not_read)} parts has a text that can be read." if len(not_read) > 1 else ""
    return ObjectFailure(source.object_id, worst.code, f"{worst.property}: {worst.message}{others}")


def _cuttings(source: StoredObject, context: ExtractionContext, parts: _Parts) -> Iterator[tuple[str, Cutting]]:
    """What each text of the object comes to, by its property; the collection may name one property as the text."""
    wanted = context.collection.extractor.input_mappings.get("text")
    blobs = [blob for blob in source.blobs if blob.property == wanted or not wanted]
    # an image beside the text is no fault of the object; alone, it is
    readable = [blob for blob in blobs if _may_be_read(blob)] or blobs
    for blob in readable:
        context.check_cancelled()
        yield blob.property, _read(blob, context, parts.room)
    value = value_at(source.data, wanted) if wanted else None
    if wanted and isinstance(value, str):
        yield wanted, context.reader.cut(value, _parameters(context), parts.room, context.check_cancelled)
    elif not blobs:
        name = wanted or "content"
        yield name, Unreadable(EMPTY, f"The object has no {name} to take text from.")


def _parameters(context: ExtractionContext) -> TextExtractorParameters:
    return TextExtractorParameters.model_validate(context.collection.extractor.parameters)


def _may_be_read(blob: StoredBlob) -> bool:
    """Whether a text is to be looked for in it: in a picture of an unknown type there is none."""
    return is_readable(blob.content_type) and not (is_unsaid(blob.content_type) and blob.type in _NO_TEXT_IN)


def _read(blob: StoredBlob, context: ExtractionContext, room: int) -> Cutting:
    try:
        content = context.blobs.get(blob.blob_key)
    except NotFoundError:
        return Unreadable("content_missing", f"The content of {blob.property} is gone.")
    except PayloadTooLargeError as error:
        return Unreadable("too_large", error.message)
    return context.reader.read(content, blob.content_type, _parameters(context), room, context.check_cancelled)


def _embed(pieces: list[str], context: ExtractionContext) -> tuple[Vectors, int]:
    """A vector for each piece, and how many pieces are longer than what the model reads."""
    parts = []
    cut = 0
    for start in range(0, len(pieces), _PIECES_AT_ONCE):
        context.check_cancelled()
        some = pieces[start : start + _PIECES_AT_ONCE]
        parts.append(context.embedder.embed(some))
        read = context.embedder.characters_read(some)
        cut += sum(length < len(piece) for length, piece in zip(read, some, strict=True))
    return np.concatenate(parts), cut


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
