"""What an execution needs, by its stages, and an upload, by its content."""

from typing import Any

import pytest

from core.backends.backend import Backend
from core.backends.needs import of_execution, of_upload
from core.buckets.bucket import FieldType, NewBlob, NewObject

BY_TEXT: dict[str, Any] = {"feature_uri": "f", "query": {"input_mode": "text", "value": "{{INPUT.q}}"}}
BY_WORDS = {**BY_TEXT, "lexical": True}
BY_VECTOR: dict[str, Any] = {"feature_uri": "f", "query": {"input_mode": "vector", "value": [0.1]}}
RAY, VECTORS, EMBEDDER, KEYS = Backend.RAY, Backend.VECTORS, Backend.EMBEDDER, Backend.KEY_SERVICE


def stage(stage_id: str, **parameters: Any) -> dict[str, Any]:
    return {"stage_name": stage_id, "config": {"stage_id": stage_id, "parameters": parameters}}


def search(*searches: dict[str, Any]) -> dict[str, Any]:
    return stage("feature_search", searches=list(searches))


@pytest.mark.parametrize(
    ("stages", "needed"),
    [
        ([search(BY_TEXT)], {RAY, VECTORS, EMBEDDER}),
        ([search({"feature_uri": "f", "query": "a short form"})], {RAY, VECTORS, EMBEDDER}),
        ([search(BY_WORDS)], {RAY, VECTORS}),
        ([search(BY_VECTOR)], {RAY, VECTORS}),
        ([search(BY_VECTOR, BY_TEXT)], {RAY, VECTORS, EMBEDDER}),
        ([stage("attribute_filter", field="a")], {RAY, VECTORS}),
        ([stage("query_expand", feature_search_config={"searches": [BY_TEXT]})], {RAY, VECTORS, EMBEDDER}),
        ([search(BY_WORDS), stage("llm_filter", api_key="{{secrets.mine}}")], {RAY, VECTORS, KEYS}),
        ([stage("summarize"), stage("limit", limit=1)], {RAY, VECTORS}),
    ],
)
def test_an_execution_needs_what_its_stages_reach(stages: list[dict[str, Any]], needed: set[Backend]) -> None:
    assert of_execution(stages) == needed


def test_an_upload_needs_the_object_storage_for_content_alone() -> None:
    blob = NewBlob("text", FieldType.TEXT, "text/plain", b"text")
    assert of_upload([NewObject("obj_1", ())]) == frozenset()
    assert of_upload([NewObject("obj_1", ()), NewObject("obj_2", (blob,))]) == {Backend.BLOBS}
