"""Bodies become typed requests, or every bad field is named."""

import base64
from typing import Any

import pytest

from api.call import validated
from api.schemas.buckets import new_object
from api.schemas.collections import ExtractorBody, extractor_config
from api.schemas.retrievers import ExecuteBody, RetrieverBody
from api.schemas.secrets import RollbackBody
from core.buckets.bucket import Bucket
from core.clock import now
from core.errors import ValidationFailedError
from core.ids import SeededIds

BUCKET = Bucket("bkt_1", "any", None, {}, {}, 0, 0, now(), now())


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
    ],
)
def test_data_that_is_not_what_its_type_says_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationFailedError) as caught:
        new_object(BUCKET, blob(**fields), SeededIds("op"))
    assert caught.value.problems[0].location[:2] == ("blobs", 0)


def test_a_text_that_only_contains_a_url_is_a_text() -> None:
    made = new_object(BUCKET, blob(type="text", data="see https://example.com/a"), SeededIds("op"))
    assert made.blobs[0].content == b"see https://example.com/a"


def test_the_customers_own_keys_are_data_and_the_published_ones_are_not() -> None:
    body = {"blobs": [], "skip_duplicates": False, "key_prefix": "/a", "metadata": {"x": 1}, "internal_id": "mine"}
    made = new_object(BUCKET, body, SeededIds("op"))
    assert made.data == {"metadata": {"x": 1}, "internal_id": "mine"}


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
    [({}, 100), ({"limit": 5}, 5), ({"limit": 5, "pagination": {"method": "cursor", "limit": 7}}, 7)],
)
def test_how_many_documents_an_execution_asks_for(body: dict[str, Any], wanted: int) -> None:
    assert validated(ExecuteBody, body).documents_wanted() == wanted


@pytest.mark.parametrize("paging", [{"limit": 501}, {"limit": True}, {"limit": "5"}, {"cursor": "x"}, {"page": 2}])
def test_paging_that_an_execution_does_not_have_is_refused(paging: dict[str, Any]) -> None:
    with pytest.raises(ValidationFailedError):
        validated(ExecuteBody, {"pagination": paging}).documents_wanted()


def test_a_whole_number_may_be_written_with_a_point_and_no_other_may() -> None:
    assert validated(RollbackBody, {"version": 3.0}).version == 3
    assert RollbackBody.model_json_schema()["properties"]["version"]["minimum"] == 1
    for refused in (3.5, "3", True, None, 0.0):
        with pytest.raises(ValidationFailedError):
            validated(RollbackBody, {"version": refused})
