"""Bodies become typed requests, or every bad field is named."""

import base64
import gzip
import io
import re
import zipfile
from typing import Any

import pytest
from pydantic import BaseModel

from api.call import validated
from api.decode import decode_body
from api.schemas.api_keys import KeyBody
from api.schemas.buckets import BucketBody, new_object, object_warnings
from api.schemas.collections import ExtractorBody, extractor_config, ignored_settings
from api.schemas.fields import name_pattern
from api.schemas.retrievers import ExecuteBody, RetrieverBody
from api.schemas.secrets import RollbackBody
from api.schemas.usage import SummaryQuery
from core.buckets.bucket import Bucket
from core.clock import now
from core.collections.document_fields import SYSTEM_FIELDS
from core.errors import ValidationFailedError
from core.ids import Prefix, SeededIds
from core.unknown_keys import warnings_of

BUCKET = Bucket("bkt_1", "any", None, {}, {}, 0, 0, now(), now())


DOCX_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(24))


def b64(content: bytes) -> str:
    """Base64 in one line."""
    return base64.b64encode(content).decode()


def office(member: str) -> bytes:
    """A file as Office makes them."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name in ("[Content_Types].xml", member):
            archive.writestr(name, "<x/>")
    return written.getvalue()


DOCX, XLSX = office("word/document.xml"), office("xl/workbook.xml")


def blob(**fields: Any) -> dict[str, Any]:
    return {"blobs": [{"property": "p", **fields}]}


@pytest.mark.parametrize(
    ("fields", "content_type", "content"),
    [
        ({"type": "text", "data": "héllo"}, "text/plain", "héllo".encode()),
        ({"type": "text", "data": "# T", "content_type": "text/markdown"}, "text/markdown", b"# T"),
        ({"type": "pdf", "data": base64.b64encode(b"%PDF").decode()}, "application/pdf", b"%PDF"),
        ({"type": "image", "data": "data:image/png;base64,iVBO"}, "image/png", b"\x89PN"),
        ({"type": "object", "data": {"a": 1}}, "application/json", b'{"a":1}'),
        ({"type": "boolean", "data": False}, "application/json", b"false"),
        # what carries its own content is its content
        (
            {"type": "text", "data": "data:text/html;charset=koi8-r;base64,zcnS"},
            "text/html;charset=koi8-r",
            b"\xcd\xc9\xd2",
        ),
        ({"type": "string", "data": "data:text/markdown,%23%20T%C3%BC"}, "text/markdown", "# Tü".encode()),
        ({"type": "text", "data": "data:;base64,aGk="}, "text/plain", b"hi"),
        ({"type": "text", "data": "data: hello, world"}, "text/plain", b"data: hello, world"),
        ({"type": "text", "data": "data:text/plain, more text"}, "text/plain", b"data:text/plain, more text"),
        # what is not said is looked at
        ({"type": "text", "data": "<!doctype html><p>x"}, "text/html", b"<!doctype html><p>x"),
        ({"type": "text", "data": "<html>x", "content_type": "application/octet-stream"}, "text/html", b"<html>x"),
        ({"type": "text", "data": "<html>x", "content_type": "text/plain"}, "text/plain", b"<html>x"),
        ({"type": "text", "data": "<p>x</p>", "content_type": "text/html; charset=utf-16"}, "text/html", b"<p>x</p>"),
        ({"type": "text", "data": "%PDF-1.7 is a format"}, "text/plain", b"%PDF-1.7 is a format"),
        ({"type": "text", "data": "GIF89a is a format"}, "text/plain", b"GIF89a is a format"),
        ({"type": "image", "data": b64(PNG)}, "image/png", PNG),
        ({"type": "image", "data": b64(b"?")}, "application/octet-stream", b"?"),
        ({"type": "image", "data": b64(PNG), "content_type": "application/octet-stream"}, "image/png", PNG),
        (
            {"type": "pdf", "data": b64(b"caf\xe9"), "content_type": "text/plain; charset=latin-1"},
            "text/plain; charset=latin-1",
            b"caf\xe9",
        ),
        ({"type": "excel", "data": b64(XLSX)}, XLSX_TYPE, XLSX),
        ({"type": "text", "data": "<a/>", "content_type": "application/xml"}, "application/xml", b"<a/>"),
    ],
)
def test_data_becomes_bytes_as_its_type_says(fields: dict[str, Any], content_type: str, content: bytes) -> None:
    [made] = new_object(BUCKET, blob(**fields), SeededIds("op")).blobs
    assert (made.content_type, made.content) == (content_type, content)


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "text"},
        {"type": "text", "data": 7},
        {"type": "pdf", "data": "not base64"},
        {"type": "pdf", "data": ""},
        {"type": "text", "data": " https://example.com/a.txt "},
        {"type": "pdf", "data": "s3://bucket/a.pdf"},
        {"type": "hologram", "data": "x"},
        {"type": "pdf", "data": f"data:{'a' * 1000};base64,AAAA"},
        {"type": "number", "data": None},
        {"type": "pdf", "data": "===="},
        {"type": "pdf", "data": "AA==AA=="},
        {"type": "pdf", "data": "AAAAA"},
        {"type": "pdf", "data": "AA*A"},
        {"type": "pdf", "data": "data:application/pdf;base64,"},
        {"type": "text", "data": "data:text/plain;base64,AA*A"},
    ],
)
def test_data_that_is_not_what_its_type_says_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationFailedError) as caught:
        new_object(BUCKET, blob(**fields), SeededIds("op"))
    assert caught.value.problems[0].location[:2] == ("blobs", 0)


FILE = bytes(range(256)) * 3


@pytest.mark.parametrize(
    "before", ["", "data:image/x;base64,", "data:;base64, ", " data:image/x; name=a.x ;base64 ,\n"]
)
@pytest.mark.parametrize(
    "written",
    [
        base64.b64encode(FILE + b"?").decode(),
        base64.encodebytes(FILE + b"?").decode(),
        base64.encodebytes(FILE + b"?").decode().replace("\n", "\r\n\t"),
        base64.b64encode(FILE + b"?").decode().rstrip("="),
        base64.urlsafe_b64encode(FILE + b"?").decode(),
        base64.urlsafe_b64encode(FILE + b"?").decode().rstrip("=") + " \n",
        base64.b64encode(FILE + b"?").decode().replace("=", "%3D").replace("+", "%2B"),
    ],
    ids=["plain", "76 columns", "crlf", "unpadded", "url-safe", "url-safe unpadded", "percent"],
)
def test_base64_is_read_however_it_is_written(before: str, written: str) -> None:
    if "%" in written and not before:
        pytest.skip("percent signs stand in URLs alone")
    [made] = new_object(BUCKET, blob(type="image", data=before + written), SeededIds("op")).blobs
    assert made.content == FILE + b"?"
    in_a_text = f"{before.replace('image/x', 'text/x') or 'data:;base64,'}{written}"
    [made] = new_object(BUCKET, blob(type="text", data=in_a_text), SeededIds("op")).blobs
    assert made.content == FILE + b"?"


def test_bad_base64_is_told_what_is_right() -> None:
    with pytest.raises(ValidationFailedError, match=r"base64.*padding.*line breaks.*data:.*type pdf"):
        new_object(BUCKET, blob(type="pdf", data="not base64!"), SeededIds("op"))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"type": "text", "data": b64(DOCX)}, "Word document"),
        ({"type": "string", "data": base64.encodebytes(DOCX).decode()}, "Word document"),
        ({"type": "text", "data": f"data:text/plain;base64,{b64(DOCX)}"}, "Word document"),
        ({"type": "text", "data": f"data:{DOCX_TYPE};base64,{b64(DOCX)}"}, "Word document"),
        ({"type": "text", "data": "x", "content_type": DOCX_TYPE}, DOCX_TYPE),
        ({"type": "text", "data": "x", "content_type": "application/zip"}, "application/zip"),
        ({"type": "text", "data": "x", "content_type": "image/png"}, "image/png"),
        ({"type": "object", "data": {"a": 1}, "content_type": DOCX_TYPE}, DOCX_TYPE),
        ({"type": "pdf", "data": b64(DOCX)}, "Word document"),
        ({"type": "pdf", "data": b64(DOCX), "content_type": "text/plain"}, "Word document"),
        ({"type": "pdf", "data": b64(DOCX), "content_type": DOCX_TYPE}, "Word document"),
        ({"type": "excel", "data": b64(DOCX)}, "Word document"),
        ({"type": "image", "data": b64(DOCX)}, "Word document"),
        ({"type": "image", "data": b64(PNG), "content_type": "text/plain"}, "PNG"),
        ({"type": "excel", "data": b64(XLSX), "content_type": "text/csv"}, "Excel workbook"),
        ({"type": "pdf", "data": b64(PNG)}, "PNG"),
        ({"type": "pdf", "data": b64(gzip.compress(b"x"))}, "gzip"),
        ({"type": "pdf", "data": b64(b"\x7fELF\x02\x01" + bytes(60)), "content_type": "text/plain"}, "program"),
        ({"type": "text", "data": b64(PNG * 3)}, "PNG"),
        ({"type": "text", "data": b64(gzip.compress(bytes(range(200))))}, "gzip"),
        ({"type": "text", "data": "%PDF-1.7\n%âãÏÓ\n1 0 obj"}, "a PDF"),
        ({"type": "text", "data": b64(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj" + bytes(60))}, "a PDF"),
        ({"type": "text", "data": "PK\x03\x04\x14\x06\x08word/document.xml"}, "Word document"),
        ({"type": "text", "data": "\x89PNG\r\n\x1a\nIHDR"}, "PNG"),
    ],
)
def test_a_file_that_no_text_can_be_taken_from_is_refused_with_what_can_be_read(
    fields: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValidationFailedError) as caught:
        new_object(BUCKET, blob(**fields), SeededIds("op"))
    [problem] = caught.value.problems
    assert problem.location == ("blobs", 0, "data")
    assert named in problem.message
    assert "PDF" in problem.message or "type pdf" in problem.message


@pytest.mark.parametrize("content_type", ["text", "text/plain; charset", "text/plain\r\nx: y", 'a/b; c="d\r"'])
def test_a_content_type_that_is_none_is_refused(content_type: str) -> None:
    with pytest.raises(ValidationFailedError):
        new_object(BUCKET, blob(type="text", data="x", content_type=content_type), SeededIds("op"))


def test_halves_of_a_pair_in_a_body_are_one_character_and_half_of_one_is_refused() -> None:
    body = b'{"blobs": [{"property": "p", "type": "text", "data": "\\ud83d\\ude00"}], "note": "\\ud83d\\ude00"}'
    made = new_object(BUCKET, decode_body("application/json", None, body), SeededIds("op"))
    assert made.blobs[0].content.decode() == made.data["note"] == "\U0001f600"
    with pytest.raises(ValidationFailedError, match="surrogate"):
        decode_body("application/json", None, body.replace(b"\\ude00", b""))


def test_a_text_that_only_contains_a_url_is_a_text() -> None:
    made = new_object(BUCKET, blob(type="text", data="see https://example.com/a"), SeededIds("op"))
    assert made.blobs[0].content == b"see https://example.com/a"


def test_the_customers_own_keys_are_data_and_the_published_ones_are_not() -> None:
    body = {"blobs": [], "skip_duplicates": False, "key_prefix": "/a", "metadata": {"x": 1}, "author": "mine"}
    made = new_object(BUCKET, body, SeededIds("op"))
    assert made.data == {"metadata": {"x": 1}, "author": "mine"}


def problems_of(body: dict[str, Any]) -> dict[tuple[str | int, ...], str]:
    """What is wrong with an object."""
    with pytest.raises(ValidationFailedError) as caught:
        new_object(BUCKET, body, SeededIds("op"))
    return {problem.location: problem.message for problem in caught.value.problems}


EXTRACTOR = {"feature_extractor_name": "text_extractor"}


UNREADABLE_NAMES = ["\u200b", "a\u202eb", "a\u0085b", "a\u2028b", "\ufeffa", "a\u00adb", "\u3164", "\u200da", "a\u200c"]


@pytest.mark.parametrize("name", UNREADABLE_NAMES)
def test_a_name_has_no_character_that_nobody_sees(name: str) -> None:
    for model, field in ((BucketBody, "bucket_name"), (KeyBody, "name")):
        with pytest.raises(ValidationFailedError, match="characters"):
            validated(model, {field: name, "schema": {"properties": {}}})
    assert not re.search(name_pattern(Prefix.BUCKET)["pattern"], name)


@pytest.mark.parametrize("name", ["café", "نامه\u200cها", "👩\u200d💻 team", "❤\ufe0f", "x", "a b"])
def test_a_name_may_have_what_shapes_its_letters(name: str) -> None:
    assert validated(BucketBody, {"bucket_name": name, "schema": {"properties": {}}}).bucket_name == name
    assert re.search(name_pattern(Prefix.BUCKET)["pattern"], name)


def test_a_refused_name_is_told_what_it_may_not_begin_with() -> None:
    with pytest.raises(ValidationFailedError, match="do not start with 'bkt_'"):
        validated(BucketBody, {"bucket_name": "bkt_x"})


@pytest.mark.parametrize("offset", [" 02:00", " 0200", " 02"])
def test_an_offset_whose_plus_became_a_blank_is_told_how_to_send_it(offset: str) -> None:
    with pytest.raises(ValidationFailedError, match="%2B"):
        validated(SummaryQuery, {"start_date": f"2026-01-01T00:00:00{offset}"})


@pytest.mark.parametrize("name", sorted(SYSTEM_FIELDS - {"text", "score", "metadata"}))
def test_a_name_that_documents_need_themselves_is_refused_where_it_stands(name: str) -> None:
    for body, place in (({name: "x"}, (name,)), ({"metadata": {name: "x"}}, ("metadata", name))):
        assert list(problems_of(body)) == [place]
    with pytest.raises(ValidationFailedError) as refused:
        validated(BucketBody, {"bucket_name": "b", "schema": {"properties": {name: {"type": "text"}}}})
    assert refused.value.problems[0].location[:3] == ("schema", "properties", name)
    with pytest.raises(ValidationFailedError) as refused:
        extractor_config(validated(ExtractorBody, {**EXTRACTOR, "field_passthrough": [{"source_path": name}]}))
    assert refused.value.problems[0].location == ("feature_extractor", "field_passthrough", 0, "source_path")


def test_what_would_be_lost_on_the_way_to_documents_is_refused() -> None:
    assert list(problems_of({"metadata": {"metadata": {"a": 1}}})) == [("metadata", "metadata")]
    assert "must be an object" in problems_of({"metadata": "x"})["metadata",]
    assert "another value" in problems_of({"a": 1, "metadata": {"a": 2}})["metadata", "a"]
    assert new_object(BUCKET, {"a": 1, "metadata": {"a": 1}}, SeededIds("op")).data["a"] == 1
    assert new_object(BUCKET, {"metadata": None}, SeededIds("op")).data == {"metadata": None}
    for path, message in (("metadata.author.name", "as a whole"), ("metadata.score", "ours"), ("metadata", "ours")):
        with pytest.raises(ValidationFailedError, match=message):
            extractor_config(validated(ExtractorBody, {**EXTRACTOR, "field_passthrough": [{"source_path": path}]}))
    for name in ("text", "score"):
        validated(BucketBody, {"bucket_name": "b", "schema": {"properties": {name: {"type": "number"}}}})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"metadata": {"score": 4.5}}, "'metadata.score': it stays with the object: its documents have a score"),
        ({"text": "a text"}, "'text': it stays with the object: its documents have a text of their own."),
        ({"status": "draft"}, "'status': documents carry it, but the object is shown with its own status"),
        ({"metadata": {"created_at": "2026-01-01"}}, "'metadata.created_at': filters and sorts see it, but"),
        ({"blob": []}, "The key 'blob' is kept as data and has no effect; did you mean 'blobs'?"),
        ({"keyprefix": "a"}, "The key 'keyprefix' is kept as data and has no effect; did you mean 'key_prefix'?"),
        (blob(type="text", data="x", contentype="text/plain"),
         "Unknown key 'blobs.0.contentype' was ignored; did you mean 'content_type'?"),
        ({"author": "Ada", "metadata": {"status": "draft", "blob": 1, "year": 2026}}, None),
    ],
)  # fmt: skip
def test_what_is_kept_and_may_be_missed_is_said(body: dict[str, Any], said: str | None) -> None:
    new_object(BUCKET, body, SeededIds("op"))
    warnings = object_warnings(body)
    assert (len(warnings), warnings[0][: len(said)]) == (1, said) if said else warnings == []


@pytest.mark.parametrize(
    "prefix", ["", "/", "a", "/a", "a/", "/contracts/2026/", "a b/ü", "..a/b..", "a%20b", "...", "~"]
)
def test_a_key_prefix_is_names_with_slashes_between(prefix: str) -> None:
    assert new_object(BUCKET, {"key_prefix": prefix}, SeededIds("op")).key_prefix == prefix


@pytest.mark.parametrize(
    "prefix",
    ["../../other/", "..", ".", "a/../b", "a/..", "/..", "./a", "a//b", "//", "//a", "a//", "a\\b", "..\\a",
     "a\nb", "a\x7f", "%2e%2e/a", "a/%2E./b", "a%2fb", "a%5Cb", "a%00", "a\n"],
)  # fmt: skip
def test_a_key_prefix_cannot_lead_elsewhere(prefix: str) -> None:
    assert list(problems_of({"key_prefix": prefix})) == [("key_prefix",)]


@pytest.mark.parametrize("name", [".", ".."])
def test_no_name_is_one_that_a_path_swallows(name: str) -> None:
    schema: dict[str, Any] = {"properties": {}}
    bodies: list[tuple[type[BaseModel], dict[str, Any]]] = [
        (BucketBody, {"bucket_name": name, "schema": schema}),
        (RetrieverBody, {"retriever_name": name, "stages": [{}]}),
        (KeyBody, {"name": name}),
    ]
    for model, body in bodies:
        with pytest.raises(ValidationFailedError):
            validated(model, body)


def test_settings_of_an_extractor_that_have_no_effect_are_named() -> None:
    body = {**EXTRACTOR, "parameters": {"chunksize": 500}, "input_mappings": {"text": "content", "txt": "content"}}
    assert warnings_of(ignored_settings(validated(ExtractorBody, body))) == [
        "Unknown key 'feature_extractor.parameters.chunksize' was ignored; did you mean 'chunk_size'?",
        "Unknown key 'feature_extractor.input_mappings.txt' was ignored; did you mean 'text'?",
    ]


@pytest.mark.parametrize(
    ("declared", "place"),
    [
        ({"n": {"type": "integer", "default": "10"}}, ("input_schema", "n", "default")),
        ({"n": {"type": "number", "default": True}}, ("input_schema", "n", "default")),
        ({"properties": {"n": {"type": "integer", "default": 1.5}}}, ("input_schema", "properties", "n", "default")),
    ],
)
def test_a_default_is_of_its_inputs_own_type(declared: dict[str, Any], place: tuple[str, ...]) -> None:
    with pytest.raises(ValidationFailedError) as refused:
        validated(RetrieverBody, {"retriever_name": "r", "stages": [{}], "input_schema": declared}).inputs()
    assert [problem.location for problem in refused.value.problems] == [place]


def test_a_declared_input_that_is_nearly_right_is_named() -> None:
    declared = {"q": {"type": "string", "requierd": True, "description": "x"}}
    body = validated(RetrieverBody, {"retriever_name": "r", "stages": [{}], "input_schema": declared})
    assert [key.path for key in body.unknown_inputs()] == ["input_schema.q.requierd"]


def test_an_objects_own_key_decides_its_id() -> None:
    first, second, other = (
        new_object(BUCKET, {"idempotency_key": key}, SeededIds(operation)).object_id
        for key, operation in [("a", "1"), ("a", "2"), ("b", "1")]
    )
    assert first == second != other


def test_extractor_parameters_are_stored_with_their_defaults() -> None:
    body = validated(ExtractorBody, {"feature_extractor_name": "text_extractor", "params": {"chunk_size": 500}})
    config = extractor_config(body)
    assert config.parameters["chunk_size"] == 500
    assert len(config.parameters) > 1


def test_bad_extractor_parameters_are_named() -> None:
    body = validated(ExtractorBody, {"feature_extractor_name": "text_extractor", "parameters": {"chunk_size": -1}})
    with pytest.raises(ValidationFailedError) as caught:
        extractor_config(body)
    assert caught.value.problems[0].location == ("feature_extractor", "parameters", "chunk_size")


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({}, {}),
        ({"q": {"type": "string", "required": True}}, {"q": {"type": "string", "required": True}}),
        (
            {"properties": {"q": {"type": "string"}}, "required": ["q"]},
            {"q": {"type": "string", "required": True}},
        ),
        ({"properties": {"type": "object"}}, {"properties": {"type": "object", "required": False}}),
    ],
)
def test_an_input_schema_is_flat_once_it_is_read(declared: dict[str, Any], expected: dict[str, Any]) -> None:
    body = validated(RetrieverBody, {"retriever_name": "r", "stages": [{}], "input_schema": declared})
    assert body.inputs() == expected


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({}, 100),
        ({"limit": 5}, 5),
        ({"limit": 5, "pagination": {"method": "cursor", "limit": 7}}, 7),
        ({"pagination": {"page_size": 7.0, "page_number": 1, "offset": 0}}, 7),
    ],
)
def test_how_many_documents_an_execution_asks_for(body: dict[str, Any], wanted: int) -> None:
    assert validated(ExecuteBody, body).documents_wanted() == wanted


@pytest.mark.parametrize(
    "paging",
    [{"limit": 501}, {"limit": True}, {"limit": "5"}, {"cursor": "x"}, {"page": 2}, {"page_number": 2}, {"offset": "0"},
     {"offset": 5}, {"offset": False}, {"page": "1"}, {"page_size": 1.5}, {"after": {"id": "x"}}, {"scroll_id": "x"}],
)  # fmt: skip
def test_paging_that_an_execution_does_not_have_is_refused(paging: dict[str, Any]) -> None:
    with pytest.raises(ValidationFailedError):
        validated(ExecuteBody, {"pagination": paging}).documents_wanted()


def test_a_whole_number_may_be_written_with_a_point_and_no_other_may() -> None:
    assert validated(RollbackBody, {"version": 3.0}).version == 3
    assert RollbackBody.model_json_schema()["properties"]["version"]["minimum"] == 1
    for refused in (3.5, "3", True, None, 0.0):
        with pytest.raises(ValidationFailedError):
            validated(RollbackBody, {"version": refused})
