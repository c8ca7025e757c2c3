"""Extracts a few objects into one collection and writes their vectors. Repeating it overwrites and never doubles."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from core.buckets.bucket import StoredObject
from core.errors import ConflictError, StageError
from core.storage.vectors.filters import All, Between, Equals, Some
from core.storage.vectors.store import VectorStore
from pipelines.extractors.extractor import Extraction, ExtractionContext, ObjectFailure, ObjectReport
from pipelines.extractors.registry import extractor_named

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ChunkResult:
    """What became of the objects of one call. Their vectors are stored."""

    documents: list[dict[str, Any]]
    """rows for the document store, without vectors"""
    document_counts: dict[str, int]
    """object id → documents made of it, for the objects that succeeded"""
    failures: list[ObjectFailure]
    reports: list[ObjectReport] = field(default_factory=list)
    """of the objects of which there is more to say than their documents"""


def ingest(objects: Sequence[StoredObject], context: ExtractionContext, vectors: VectorStore) -> ChunkResult:
    """Extract, then store. Raises StageError, UnavailableError, and what `check_cancelled` raises."""
    config = context.collection.extractor
    extract = extractor_named(config.name, config.version)
    done: list[Extraction] = []
    failures: list[ObjectFailure] = []
    for source in objects:
        context.check_cancelled()
        outcome = extract(source, context)
        if isinstance(outcome, Extraction):
            done.append(outcome)
        else:
            log.info("object.not_extracted", object_id=outcome.object_id, code=outcome.code)
            failures.append(outcome)
    if done:
        _store(done, context, vectors)
    return ChunkResult(
        documents=[dict(document) for extraction in done for document in extraction.documents],
        document_counts={extraction.object_id: len(extraction.documents) for extraction in done},
        failures=failures,
        reports=[one.report for one in done if one.report.is_incomplete or one.report.warnings],
    )


def _store(done: Sequence[Extraction], context: ExtractionContext, vectors: VectorStore) -> None:
    """Write the points, then remove those that an earlier, longer version of an object left behind."""
    try:
        vectors.ensure(context.namespace_id, context.embedder.dimension)
    except ConflictError as error:
        # another embedder made the namespace: trying again cannot help
        raise StageError(error.message) from error
    vectors.upsert(context.namespace_id, [point for extraction in done for point in extraction.points])
    stale = Some(
        tuple(
            All(
                (
                    Equals("source_object_id", extraction.object_id),
                    Between("chunk_index", at_least=len(extraction.points)),
                )
            )
            for extraction in done
        )
    )
    vectors.delete(context.namespace_id, All((Equals("collection_id", context.collection.collection_id), stale)))
