"""Extraction and stages as an actor runs them, on the real model, the real engine and real blobs; Ray apart."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.buckets.bucket import FieldType, StoredBlob, StoredObject
from core.collections.collection import Collection, ExtractorConfig
from core.errors import StageError, StageUnavailableError, UnavailableError
from core.ids import Prefix, random_id
from core.retrievers.parameters_search import TEXT_FEATURE
from core.retrievers.stages import parse_stages
from core.storage.blobs import BlobStore
from core.storage.vectors.edge import EdgeVectorStore
from core.storage.vectors.filters import Equals
from pipelines.chain import ChainResult, run_stages
from pipelines.embedders.embedder import Embedder
from pipelines.embedders.minilm import builtin_embedder
from pipelines.embedders.registry import EmbedderSpec, build_embedder
from pipelines.extractors.extractor import ExtractionContext
from pipelines.extractors.reader import FileBounds, Reader
from pipelines.ingestion import ChunkResult, ingest
from pipelines.remote import CallCancelledError
from pipelines.stage import StageContext
from tests.points import point_count
from tests.tiny_model import make_tiny_model

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = "An API key can be rotated at any time. The old key keeps working for a day."
BREAD = "Knead the dough, let it rest for an hour, and bake the bread in a hot oven."
QUEUES = "A queue carries doorbells. The worker that answers one claims the job with a lease."


@dataclass
class World:
    """One namespace with a collection, and all that an actor would hold."""

    namespace_id: str
    collection: Collection
    vectors: EdgeVectorStore
    blobs: BlobStore
    embedder: Embedder
    reader: Reader

    def stored(self, object_id: str, *contents: tuple[bytes | str, str], **data: Any) -> StoredObject:
        """An object whose blobs have these contents and content types."""
        blobs = []
        for number, (content, content_type) in enumerate(contents):
            body = content.encode() if isinstance(content, str) else content
            key = f"{self.namespace_id}/bkt_1/{object_id}/{number}"
            self.blobs.put(key, body)
            blobs.append(StoredBlob(f"part{number}", FieldType.TEXT, key, content_type, len(body), "", {}))
        return StoredObject(object_id, "bkt_1", None, tuple(blobs), data, NOW, NOW)

    def ingest(self, *objects: StoredObject, collection: Collection | None = None) -> ChunkResult:
        """Extract the objects into the collection."""
        return ingest(objects, self.extraction(collection), self.vectors)

    def extraction(self, collection: Collection | None = None, stop: bool = False) -> ExtractionContext:
        """The context of one call, already cancelled with `stop`."""

        def check_cancelled() -> None:
            if stop:
                raise CallCancelledError

        return ExtractionContext(
            self.namespace_id, collection or self.collection, self.embedder, self.blobs, self.reader, check_cancelled
        )

    def run(
        self, stages: list[dict[str, Any]], collections: tuple[str, ...] = ("col_1",), **inputs: Any
    ) -> ChainResult:
        """Execute these stages."""
        context = StageContext(self.namespace_id, collections, self.vectors, self.embedder)
        return run_stages(parse_stages(stages), inputs, context, limit=100, check_cancelled=lambda: None)


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    """The built-in model, loaded once."""
    return builtin_embedder()


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    """What reads files, in its own process."""
    reader = Reader(FileBounds(60, 1024))
    yield reader
    reader.close()


@pytest.fixture
def world(tmp_path: Path, embedder: Embedder, reader: Reader) -> Iterator[World]:
    """A fresh namespace."""
    vectors = EdgeVectorStore(tmp_path / "vectors")
    extractor = ExtractorConfig("text_extractor", "v1", {"chunk_size": 100}, {}, (), True)
    collection = Collection("col_1", "texts", None, ("bkt_1",), extractor, {}, NOW, NOW)
    blobs = BlobStore((tmp_path / "blobs").as_uri())
    yield World(random_id(Prefix.NAMESPACE), collection, vectors, blobs, embedder, reader)
    vectors.close()


@pytest.fixture
def library(world: World) -> World:
    """Three texts with fields, ingested."""
    world.ingest(
        world.stored("obj_keys", (KEYS, "text/plain"), topic="security", metadata={"year": 2024}),
        world.stored("obj_bread", (BREAD, "text/plain"), topic="food", metadata={"year": 2020}),
        world.stored("obj_queues", (QUEUES, "text/plain"), topic="security", metadata={"year": 2026}),
    )
    return world


def search(value: Any = "{{INPUT.query}}", **changes: Any) -> dict[str, Any]:
    """One search of a feature search."""
    return {"feature_uri": TEXT_FEATURE, "query": value, **changes}


def feature_search(*searches: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A feature search in shape A."""
    return {"stage_id": "feature_search", "parameters": {"searches": list(searches) or [search()], **changes}}


def sources(result: ChainResult) -> list[str]:
    """The objects that the documents came from."""
    return [document["source_object_id"] for document in result.documents]


# Extraction -----------------------------------------------------------------------------------------


def test_an_object_becomes_documents_with_lineage_and_its_own_fields(world: World) -> None:
    result = world.ingest(
        world.stored(
            "obj_1", (f"{KEYS}\n\n{BREAD}", "text/plain"), topic="mixed", metadata={"year": 2024, "text": "mine"}
        )
    )
    assert result.failures == []
    assert result.document_counts == {"obj_1": 2}
    first, second = result.documents
    assert first["document_id"].startswith("doc_")
    assert first == {
        "document_id": first["document_id"],
        "collection_id": "col_1",
        "chunk_index": 0,
        "text": KEYS,
        "source_object_id": "obj_1",
        "root_object_id": "obj_1",
        "root_bucket_id": "bkt_1",
        "source_type": "bucket",
        "lineage_path": "bkt_1/obj_1/col_1",
        "topic": "mixed",
        "year": 2024,
    }
    assert (second["chunk_index"], second["text"]) == (1, BREAD)


def test_a_customers_field_never_replaces_ours(world: World) -> None:
    fields = {"namespace_id": "ns_other", "document_id": "doc_x", "internal_id": "int_x", "score": 9, "chunk_index": 7}
    [document] = world.ingest(world.stored("obj_1", (KEYS, "text/plain"), **fields, metadata=fields)).documents
    assert document["document_id"] != "doc_x"
    assert document["chunk_index"] == 0
    assert not document.keys() & {"namespace_id", "internal_id", "score"}
    assert point_count(world.vectors, world.namespace_id) == 1


@pytest.mark.parametrize(
    ("everything", "named", "expected"),
    [(False, (), set()), (False, ("metadata.year",), {"year"}), (True, (), {"year", "topic"})],
)
def test_documents_carry_the_fields_that_the_collection_wants(
    world: World, everything: bool, named: tuple[str, ...], expected: set[str]
) -> None:
    extractor = replace(world.collection.extractor, include_all_source_fields=everything, field_passthrough=named)
    source = world.stored("obj_1", (KEYS, "text/plain"), topic="t", metadata={"year": 1})
    [document] = world.ingest(source, collection=replace(world.collection, extractor=extractor)).documents
    assert document.keys() & {"year", "topic"} == expected


def test_an_object_whose_documents_would_repeat_a_large_field_too_often_fails_alone(world: World) -> None:
    config = replace(
        world.collection.extractor,
        include_all_source_fields=True,
        parameters={"split_by": "characters", "chunk_size": 50, "chunk_overlap": 0},
    )
    wide = world.stored("obj_wide", ("word " * 2000, "text/plain"), notes="x" * 250_000)
    narrow = world.stored("obj_narrow", (KEYS, "text/plain"), notes="x")
    result = world.ingest(wide, narrow, collection=replace(world.collection, extractor=config))
    assert [(failed.object_id, failed.code) for failed in result.failures] == [("obj_wide", "too_large")]
    assert set(result.document_counts) == {"obj_narrow"}


def test_a_repeat_overwrites_and_a_shorter_version_leaves_nothing_behind(world: World) -> None:
    long = world.stored("obj_1", ("\n\n".join([KEYS, BREAD, QUEUES]), "text/plain"))
    other = world.stored("obj_2", ("\n\n".join([KEYS, BREAD]), "text/plain"))
    first = world.ingest(long, other)
    assert world.ingest(long, other) == first
    assert point_count(world.vectors, world.namespace_id) == 5
    shorter = world.ingest(world.stored("obj_1", (BREAD, "text/plain")))
    assert shorter.documents[0]["document_id"] == first.documents[0]["document_id"]
    assert point_count(world.vectors, world.namespace_id, Equals("source_object_id", "obj_1")) == 1
    assert point_count(world.vectors, world.namespace_id, Equals("source_object_id", "obj_2")) == 2


def test_one_bad_object_does_not_stop_the_others(world: World) -> None:
    gone = world.stored("obj_gone", (KEYS, "text/plain"))
    world.blobs.delete(gone.blobs[0].blob_key)
    result = world.ingest(
        world.stored("obj_empty", ("  \n", "text/plain")),
        world.stored("obj_binary", (bytes(range(1, 9)) * 9, "text/plain")),
        world.stored("obj_image", (b"GIF89a", "image/gif")),
        world.stored("obj_pdf", (b"%PDF-1.4 broken", "application/pdf")),
        world.stored("obj_nothing"),
        gone,
        world.stored(
            "obj_good", (KEYS, "text/plain"), (b"GIF89a", "image/gif"), ("# Bread\n\n" + BREAD, "text/markdown")
        ),
    )
    assert {failure.object_id: failure.code for failure in result.failures} == {
        "obj_empty": "empty_text",
        "obj_binary": "binary_content",
        "obj_image": "unsupported_content",
        "obj_pdf": "unreadable_content",
        "obj_nothing": "empty_text",
        "obj_gone": "content_missing",
    }
    assert result.document_counts == {"obj_good": 2}
    assert result.reports == []


def test_an_object_says_what_was_read_and_what_gave_nothing(world: World) -> None:
    gone = world.stored("obj_gone", (KEYS, "text/plain"), (BREAD, "text/plain"))
    world.blobs.delete(gone.blobs[1].blob_key)
    result = world.ingest(
        world.stored("obj_whole", (KEYS, "text/plain"), (b"GIF89a", "image/gif")),
        world.stored("obj_empty", (KEYS, "text/plain"), (" \n", "text/plain"), (BREAD, "text/plain")),
        world.stored("obj_faulty", (b"%PDF-1.7\nbroken", "application/pdf"), (KEYS, "text/plain")),
        gone,
    )
    assert result.failures == []
    assert result.document_counts == {"obj_whole": 1, "obj_empty": 2, "obj_faulty": 1, "obj_gone": 1}
    reports = {report.object_id: report for report in result.reports}
    assert reports.keys() == {"obj_empty", "obj_faulty", "obj_gone"}
    assert {
        name: (report.texts_read, report.documents, report.is_incomplete, report.has_faults)
        for name, report in reports.items()
    } == {"obj_empty": (2, 2, True, False), "obj_faulty": (1, 1, True, True), "obj_gone": (1, 1, True, True)}
    assert {name: [(part.property, part.code) for part in report.not_read] for name, report in reports.items()} == {
        "obj_empty": [("part1", "empty_text")],
        "obj_faulty": [("part0", "unreadable_content")],
        "obj_gone": [("part1", "content_missing")],
    }


def test_what_a_converter_remarks_on_reaches_the_objects_report(world: World) -> None:
    deep = "<div>" * 5000 + KEYS + "</div>" * 5000
    result = world.ingest(world.stored("obj_deep", (deep, "text/html"), ("Grüße".encode("cp1252"), "text/plain")))
    assert [document["text"] for document in result.documents] == [KEYS, "Grüße"]
    [report] = result.reports
    assert not report.is_incomplete
    warnings = [(name, remark.code, remark.count) for name, remark in report.warnings]
    assert warnings == [("part0", "html_flattened", 1), ("part1", "encoding_guessed", 1)]


def test_documents_that_are_longer_than_the_model_reads_are_counted(world: World) -> None:
    whole = replace(world.collection, extractor=replace(world.collection.extractor, parameters={"split_by": "none"}))
    long, short = world.stored("obj_long", ("keys " * 300, "text/plain")), world.stored("obj_1", (KEYS, "text/plain"))
    [report] = world.ingest(long, short, collection=whole).reports
    [(name, remark)] = report.warnings
    assert (report.object_id, name, remark.code, remark.count) == ("obj_long", None, "longer_than_window", 1)
    assert not report.is_incomplete


def test_an_object_none_of_whose_parts_can_be_read_fails_with_the_fault(world: World) -> None:
    source = world.stored("obj_1", ("", "text/plain"), (b"%PDF-1.7\nbroken", "application/pdf"))
    [failure] = world.ingest(source).failures
    assert failure.code == "unreadable_content"
    assert failure.message.startswith("part1: The PDF is damaged")
    assert "None of its 2 parts" in failure.message


def test_too_many_documents_are_noticed_before_they_are_made(world: World) -> None:
    every = {"split_by": "characters", "chunk_size": 5001, "chunk_overlap": 5000}
    small_steps = replace(world.collection, extractor=replace(world.collection.extractor, parameters=every))
    source = world.stored("obj_1", ("a" * 4_000_000, "text/plain"), (KEYS, "text/plain"))
    [failure] = world.ingest(source, collection=small_steps).failures
    assert failure.code == "too_large"


def test_a_collection_may_name_the_property_that_is_the_text(world: World) -> None:
    def mapped(name: str) -> Collection:
        return replace(world.collection, extractor=replace(world.collection.extractor, input_mappings={"text": name}))

    source = world.stored("obj_1", (KEYS, "text/plain"), (BREAD, "text/plain"), summary=QUEUES)
    assert [row["text"] for row in world.ingest(source, collection=mapped("part1")).documents] == [BREAD]
    assert [row["text"] for row in world.ingest(source, collection=mapped("summary")).documents] == [QUEUES]
    assert world.ingest(source, collection=mapped("absent")).failures[0].code == "empty_text"


def test_another_embedder_than_the_namespaces_is_refused(library: World, tmp_path: Path) -> None:
    smaller = build_embedder(EmbedderSpec(f"hub:{make_tiny_model(tmp_path)}", "", None, 30.0))
    context = replace(library.extraction(), embedder=smaller)
    with pytest.raises(StageError, match="384 dimensions, the embedder gives 16"):
        ingest([library.stored("obj_1", (KEYS, "text/plain"))], context, library.vectors)


def test_an_extractor_that_does_not_exist_is_unavailable(world: World) -> None:
    extractor = replace(world.collection.extractor, name="image_extractor")
    with pytest.raises(StageUnavailableError, match="image_extractor v1"):
        world.ingest(world.stored("obj_1"), collection=replace(world.collection, extractor=extractor))


def test_a_cancelled_extraction_stops_and_writes_nothing(world: World) -> None:
    with pytest.raises(CallCancelledError):
        ingest([world.stored("obj_1", (KEYS, "text/plain"))], world.extraction(stop=True), world.vectors)
    assert point_count(world.vectors, world.namespace_id) == 0


# Stages ---------------------------------------------------------------------------------------------


def test_a_question_finds_what_answers_it(library: World) -> None:
    result = library.run([feature_search()], query="How do I replace my credentials?")
    assert sources(result)[0] == "obj_keys"
    assert len(result.documents) == 3
    best = result.documents[0]
    assert best["text"] == KEYS
    assert best["topic"] == "security"
    assert 0 < best["score"] < 1
    assert "namespace_id" not in best


def test_words_are_found_lexically(library: World) -> None:
    result = library.run([feature_search(search(lexical=True))], query="doorbell")
    assert sources(result) == ["obj_queues"]
    assert library.run([feature_search(search(lexical=True))], query="the of and").documents == []


def test_meaning_and_words_are_fused(library: World) -> None:
    by_both = feature_search(search(), search("oven", lexical=True, weight=5.0), final_top_k=2)
    result = library.run([by_both], query="rotate an API key")
    assert sources(result) == ["obj_bread", "obj_keys"]
    dense_rank = sources(library.run([feature_search()], query="rotate an API key")).index("obj_bread") + 1
    assert result.documents[0]["score"] == pytest.approx(5 / 61 + 1 / (60 + dense_rank))


def test_a_raw_vector_searches_without_text(library: World) -> None:
    vector = library.embedder.embed([BREAD])[0].tolist()
    raw = {"input_mode": "vector", "value": vector}
    result = library.run([feature_search(search(raw, min_score=0.9))])
    assert sources(result) == ["obj_bread"]
    with pytest.raises(StageError, match="has 3 numbers; the feature has 384"):
        library.run([feature_search(search({"input_mode": "vector", "value": [1.0, 2.0, 3.0]}))])


def test_only_the_retrievers_collections_are_searched(library: World) -> None:
    other = replace(library.collection, collection_id="col_2")
    library.ingest(library.stored("obj_other", (KEYS, "text/plain")), collection=other)
    question = "How do I rotate a key?"
    assert "obj_other" not in sources(library.run([feature_search()], query=question))
    both = library.run([feature_search()], ("col_1", "col_2"), query=question)
    assert "obj_other" in sources(both)
    narrowed = feature_search(search(collection_identifiers=["col_2"]))
    assert sources(library.run([narrowed], ("col_1", "col_2"), query=question)) == ["obj_other"]
    with pytest.raises(StageError, match="'col_2' is not the id"):
        library.run([narrowed], query=question)
    by_fields = {"stage_id": "attribute_filter", "parameters": {"field": "text", "operator": "exists", "value": True}}
    assert "obj_other" not in sources(library.run([by_fields]))


def test_a_filter_can_come_first(library: World) -> None:
    first = {"stage_id": "attribute_filter", "parameters": {"field": "topic", "value": "{{INPUT.topic}}"}}
    assert set(sources(library.run([first], topic="security"))) == {"obj_keys", "obj_queues"}
    ignoring = {
        "stage_id": "attribute_filter",
        "parameters": {"field": "topic", "value": "FOOD", "case_insensitive": True},
    }
    assert sources(library.run([ignoring])) == ["obj_bread"]


def test_a_search_after_a_filter_stays_within_its_documents(library: World) -> None:
    recent = {
        "stage_id": "attribute_filter",
        "parameters": {"conditions": {"AND": [{"field": "metadata.year", "operator": "gte", "value": 2024}]}},
    }
    result = library.run([recent, feature_search()], query="baking bread")
    assert set(sources(result)) == {"obj_keys", "obj_queues"}


def test_stages_work_on_what_the_one_before_gave(library: World) -> None:
    result = library.run(
        [
            feature_search(),
            {"stage_id": "attribute_filter", "parameters": {"field": "topic", "value": "security"}},
            {"stage_id": "sort_attribute", "parameters": {"field": "year", "direction": "desc"}},
            {"stage_id": "limit", "parameters": {"limit": "{{INPUT.count}}"}},
        ],
        query="bread",
        count=1,
    )
    assert sources(result) == ["obj_queues"]
    counts = {name: (facts["input_count"], facts["output_count"]) for name, facts in result.stage_statistics.items()}
    assert counts == {"feature_search": (0, 3), "attribute_filter": (3, 2), "sort_attribute": (2, 2), "limit": (2, 1)}
    assert result.stage_statistics["limit"]["efficiency"] == 0.5
    assert result.stage_statistics["limit"]["duration_ms"] >= 0


def test_a_stage_that_does_not_exist_yet_is_told_before_anything_runs(library: World) -> None:
    with pytest.raises(StageUnavailableError, match="rerank") as caught:
        library.run([feature_search(), {"stage_id": "rerank", "on_error": "skip"}], query="x")
    assert caught.value.code == "stage_unavailable"


def test_a_chain_begins_with_a_stage_that_finds(library: World) -> None:
    with pytest.raises(StageError, match="begin with attribute_filter or feature_search"):
        library.run([{"stage_id": "limit"}])


def test_inputs_are_checked_when_they_are_filled_in(library: World) -> None:
    stages = [feature_search(), {"stage_id": "limit", "parameters": {"limit": "{{INPUT.count}}"}}]
    with pytest.raises(StageError, match=r"limit\.limit: Input should be a valid integer"):
        library.run(stages, query="x", count="many")
    with pytest.raises(StageError, match="'count' was not given"):
        library.run(stages, query="x")


def test_a_failing_stage_may_be_skipped(library: World) -> None:
    failing = {"stage_id": "limit", "on_error": "skip", "parameters": {"limit": "{{INPUT.count}}"}}
    result = library.run([feature_search(), failing], query="x")
    assert len(result.documents) == 3
    assert "not given" in result.stage_statistics["limit"]["error"]


def test_an_empty_namespace_gives_an_empty_list(world: World) -> None:
    assert world.run([feature_search()], query="anything").documents == []


def test_a_backend_that_is_away_is_no_failed_stage(library: World) -> None:
    library.vectors.close()
    elsewhere = EdgeVectorStore(library.vectors._directory)
    assert point_count(elsewhere, library.namespace_id) == 3
    with pytest.raises(UnavailableError):
        library.run([{**feature_search(), "on_error": "skip"}], query="x")
    elsewhere.close()
