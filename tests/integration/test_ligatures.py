"""A PDF that is typeset with ligatures: found by the letters that a reader sees, shown as its author set it."""

import io
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pypdf
from pypdf.generic import ArrayObject, DecodedStreamObject, DictionaryObject, NameObject, NumberObject

from core.buckets.bucket import FieldType, StoredBlob, StoredObject
from core.collections.collection import Collection, ExtractorConfig
from core.retrievers.parameters_search import TEXT_FEATURE
from core.retrievers.stages import parse_stages
from core.storage.blobs import BlobStore
from core.storage.vectors.edge import EdgeVectorStore
from pipelines.chain import run_stages
from pipelines.embedders.minilm import builtin_embedder
from pipelines.extractors.extractor import ExtractionContext
from pipelines.extractors.reader import FileBounds, Reader
from pipelines.ingestion import ingest
from pipelines.stage import StageContext

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMESPACE = "ns_ligatures"
SHOWN = "The ﬁle lies in the ﬂat oﬀice"


def typeset(text: bytes) -> bytes:
    """A PDF with one page, whose font has the glyphs fi, fl and ff at the codes 1 to 3."""
    writer = pypdf.PdfWriter()
    page = writer.add_blank_page(300, 300)
    glyphs = ArrayObject([NumberObject(1), NameObject("/fi"), NameObject("/fl"), NameObject("/ff")])
    encoding = {NameObject("/Type"): NameObject("/Encoding"), NameObject("/Differences"): glyphs}
    names = {"/Type": "/Font", "/Subtype": "/Type1", "/BaseFont": "/Helvetica"}
    font = DictionaryObject({NameObject(key): NameObject(value) for key, value in names.items()})
    font[NameObject("/Encoding")] = DictionaryObject(encoding)
    fonts = DictionaryObject({NameObject("/F1"): font})
    page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    content = DecodedStreamObject()
    content.set_data(b"BT /F1 12 Tf 20 200 Td (" + text + b") Tj ET")
    page[NameObject("/Contents")] = writer._add_object(content)
    written = io.BytesIO()
    writer.write(written)
    return written.getvalue()


def test_a_pdf_is_found_by_the_letters_of_its_ligatures(tmp_path: Path) -> None:
    blobs, vectors, embedder = BlobStore(tmp_path.as_uri()), EdgeVectorStore(tmp_path / "vectors"), builtin_embedder()
    body = typeset(b"The \\001le lies in the \\002at o\\003ice")
    blobs.put("pdf", body)
    blob = StoredBlob("content", FieldType.PDF, "pdf", "application/pdf", len(body), "", {})
    stored = StoredObject("obj_1", "bkt_1", None, (blob,), {}, NOW, NOW)
    extractor = ExtractorConfig("text_extractor", "v1", {}, {}, (), True)
    collection = Collection("col_1", "texts", None, ("bkt_1",), extractor, {}, NOW, NOW)
    with closing(Reader(FileBounds(60, 1024))) as reader:
        ingest([stored], ExtractionContext(NAMESPACE, collection, embedder, blobs, reader, lambda: None), vectors)
    for query in ("file", "FLAT", "office", "ﬁle"):
        search = {"feature_uri": TEXT_FEATURE, "query": query, "lexical": True}
        stages = parse_stages([{"stage_id": "feature_search", "parameters": {"searches": [search]}}])
        context = StageContext(NAMESPACE, ("col_1",), vectors, embedder)
        found = run_stages(stages, {}, context, limit=10, check_cancelled=lambda: None)
        assert [document["text"] for document in found.documents] == [SHOWN], query
    vectors.close()
