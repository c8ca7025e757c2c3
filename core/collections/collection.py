"""A collection: which buckets feed it, which extractor works on them, and a document that came out. Pure values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class ExtractorConfig:
    """An extractor and how it is set for one collection."""

    name: str
    version: str
    parameters: Mapping[str, Any]
    """validated, with all defaults filled in"""
    input_mappings: Mapping[str, str]
    """extractor input → property of the bucket; empty takes every readable blob"""
    field_passthrough: tuple[str, ...]
    """fields of the object that its documents carry; empty with `include_all_source_fields` off carries none"""
    include_all_source_fields: bool

    @property
    def extractor_id(self) -> str:
        """The published `feature_extractor_id`."""
        return f"{self.name}_{self.version}"


@dataclass(frozen=True)
class Collection:
    """What an extractor makes of the objects of some buckets."""

    collection_id: str
    collection_name: str
    description: str | None
    bucket_ids: tuple[str, ...]
    extractor: ExtractorConfig
    metadata: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class Document:
    """One piece that an extractor made of an object. Its vector lives in the vector store under the same lineage."""

    document_id: str
    collection_id: str
    source_object_id: str
    chunk_index: int
    payload: Mapping[str, Any]
    created_at: datetime
