"""The way of a job on a private stack: latency of a synchronous execution, and jobs and documents per second.

Timings differ between machines and moments: each is set beside a bare authenticated GET of the same run.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.timing import median_ms
from cli.demo.client import Client
from cli.demo.private_stack import private_stack

_CALLS = 100
_JOBS = 200
_SUBMITTERS = 8
_OBJECTS = 100
_PATIENCE_SECONDS = 120.0


def measure() -> dict[str, float]:
    """Figures by name: milliseconds at the median, rates per second, and ratios."""
    with tempfile.TemporaryDirectory(prefix="ks-bench-") as directory:
        data = Path(directory) / "data"
        with private_stack(data) as ready, _client(ready["api_url"], data) as client:
            documents_per_second, collection = _ingest(client)
            retriever = _create_retriever(client, collection)
            execute = f"/v1/retrievers/{retriever}/execute"
            body = {"inputs": {"query": "note number seven"}}
            get = median_ms(lambda: client.get("/v1/namespaces"), _CALLS)
            synchronous = median_ms(lambda: client.post(execute, body), _CALLS)
            jobs_per_second = _jobs_per_second(client, execute, body)
    return {
        "get_ms_p50": get,
        "sync_execution_ms_p50": synchronous,
        "sync_execution_per_get": synchronous / get,
        "async_jobs_per_second": jobs_per_second,
        "documents_ingested_per_second": documents_per_second,
    }


def _client(api_url: str, data: Path) -> Client:
    command = ["-m", "cli.main", "org", "create", "--name", "Bench", "--email", "b@example.com", "--credits", "100000"]
    environment = {**os.environ, "KEYSTAGE_DATA": str(data)}
    ran = subprocess.run([sys.executable, *command], env=environment, capture_output=True, check=True)
    created = json.loads(ran.stdout)
    return Client(api_url, created["api_key"], created["namespace_id"], patience_seconds=10.0)


def _ingest(client: Client) -> tuple[float, str]:
    """Documents per second of one batch, and the collection they went to."""
    bucket = client.post("/v1/buckets", {"bucket_name": "notes", "bucket_schema": {"properties": {}}})["bucket_id"]
    collection = client.post(
        "/v1/collections",
        {
            "collection_name": "notes",
            "source": {"type": "bucket", "bucket_ids": [bucket]},
            "feature_extractor": {"feature_extractor_name": "text_extractor", "version": "v1"},
        },
    )["collection_id"]
    objects = [{"blobs": [{"property": "text", "type": "text", "data": f"Note number {n}."}]} for n in range(_OBJECTS)]
    stored = client.post(f"/v1/buckets/{bucket}/objects/batch", {"objects": objects})["succeeded"]
    batches = f"/v1/buckets/{bucket}/batches"
    batch = client.post(batches, {"object_ids": [item["object_id"] for item in stored]})["batch_id"]
    started = time.perf_counter()
    ended = client.ended_task(client.post(f"{batches}/{batch}/submit")["task_id"], _PATIENCE_SECONDS)
    elapsed = time.perf_counter() - started
    return ended["additional_data"]["progress"]["documents_written"] / elapsed, str(collection)


def _create_retriever(client: Client, collection: str) -> str:
    search = {
        "feature_uri": "mixpeek://text_extractor@v1/text_embedding",
        "query": {"input_mode": "text", "value": "{{INPUT.query}}"},
    }
    retriever = {
        "retriever_name": "search",
        "collection_identifiers": [collection],
        "input_schema": {"query": {"type": "string"}},
        "stages": [{"stage_type": "filter", "stage_id": "feature_search", "parameters": {"searches": [search]}}],
    }
    return str(client.post("/v1/retrievers", retriever)["retriever_id"])


def _jobs_per_second(client: Client, execute: str, body: dict[str, Any]) -> float:
    """From the first submit to the last end, with as many submitters as given at the top."""
    started = time.perf_counter()
    with ThreadPoolExecutor(_SUBMITTERS) as pool:
        tasks = list(pool.map(lambda _: client.post(execute, body, prefer="respond-async")["task_id"], range(_JOBS)))
    for task in tasks:
        ended = client.ended_task(task, _PATIENCE_SECONDS)
        if ended["status"] != "COMPLETED":
            raise RuntimeError(f"job {task} ended {ended['status']}: {ended['error']}")
    return _JOBS / (time.perf_counter() - started)
