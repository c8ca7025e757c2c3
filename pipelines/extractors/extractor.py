"""What an extractor is given and what comes out of it. Types only.

An object that cannot be extracted is an expected outcome: a value, so that the others of its batch go on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from core.buckets.bucket import StoredObject
from core.collections.collection import Collection
from core.storage.blobs import BlobStore
from core.storage.vectors.store import Point
from pipelines.embedders.embedder import Embedder
from pipelines.extractors.reader import Reader
from pipelines.extractors.reading_outcome import Remark

EMPTY = "empty_text"
"""Why a part gave nothing when there is no fault in it."""


@dataclass(frozen=True)
class ExtractionContext:
    """What one call works with. Nothing of it outlives the call but the loaded model and the connections."""

    namespace_id: str
    collection: Collection
    embedder: Embedder
    blobs: BlobStore
    reader: Reader
    check_cancelled: Callable[[], None]
    """raises when the call was cancelled; asked between pieces of work"""


@dataclass(frozen=True)
class UnreadPart:
    """A part of an object that gave nothing, and why: a stable code and a sentence that is safe to show."""

    property: str
    code: str
    message: str


@dataclass(frozen=True)
class ObjectReport:
    """What was read of an object that became documents, what gave nothing, and what the customer should know."""

    object_id: str
    texts_read: int
    documents: int
    not_read: tuple[UnreadPart, ...] = ()
    warnings: tuple[tuple[str | None, Remark], ...] = ()
    """the property that it is about, or none for the whole object"""

    @property
    def is_incomplete(self) -> bool:
        """Whether something that should have been read is in no document."""
        return bool(self.not_read) or any(remark.lost for _, remark in self.warnings)

    @property
    def has_faults(self) -> bool:
        """Whether some of it could not be read, which is more than that there was nothing to read."""
        return any(part.code != EMPTY for part in self.not_read) or any(remark.lost for _, remark in self.warnings)


@dataclass(frozen=True)
class Extraction:
    """What became of one object: its documents, and a point for each in the same order."""

    object_id: str
    documents: tuple[Mapping[str, Any], ...]
    points: tuple[Point, ...]
    report: ObjectReport


@dataclass(frozen=True)
class ObjectFailure:
    """Why one object could not be extracted: a stable code and a sentence that is safe to show."""

    object_id: str
    code: str
    message: str


ExtractionOutcome: TypeAlias = Extraction | ObjectFailure


class Extractor(Protocol):
    """Turns an object into documents with vectors."""

    def __call__(self, source: StoredObject, context: ExtractionContext) -> ExtractionOutcome:
        """Extract one object. Raises UnavailableError when a backend is away, StageError when none could work."""
