"""Request bodies that several API tests send."""

from typing import Any

from tests.integration.conftest import Tenant

BUCKET = {"bucket_name": "papers", "bucket_schema": {"properties": {"content": {"type": "text"}}}}
SEARCH_STAGE = {
    "stage_type": "filter",
    "stage_id": "feature_search",
    "parameters": {
        "searches": [
            {
                "feature_uri": "mixpeek://text_extractor@v1/text_embedding",
                "query": {"input_mode": "text", "value": "{{INPUT.query}}"},
                "top_k": 10,
            }
        ],
        "final_top_k": 5,
    },
}
WEBHOOK = {
    "webhook_name": "done",
    "event_types": ["collection.documents.batch_completed", "resource.executed"],
    "channels": [{"channel": "webhook", "configs": {"url": "https://example.com/hook"}}],
}


def corpus(tenant: Tenant) -> dict[str, str]:
    """A bucket with one object, and a collection over it."""
    bucket_id = tenant.created("/v1/buckets", BUCKET)["bucket_id"]
    blob = {"property": "content", "type": "text", "data": "Ships carry cranes."}
    object_id = tenant.created(f"/v1/buckets/{bucket_id}/objects", {"blobs": [blob], "author": "Ada"})["object_id"]
    collection_id = tenant.created("/v1/collections", collection_body(bucket_id))["collection_id"]
    return {"bucket_id": bucket_id, "object_id": object_id, "collection_id": collection_id}


def collection_body(bucket_id: str) -> dict[str, Any]:
    """A collection of texts over one bucket."""
    return {
        "collection_name": "chunks",
        "source": {"type": "bucket", "bucket_ids": [bucket_id]},
        "feature_extractor": {"feature_extractor_name": "text_extractor", "version": "v1"},
    }


def retriever_body(**more: Any) -> dict[str, Any]:
    """A retriever called `answers` with one search."""
    return {
        "retriever_name": "answers",
        "stages": [SEARCH_STAGE],
        "input_schema": {"query": {"type": "string", "required": True}},
        **more,
    }
