"""A customer of a running stack for whole-stack runs: made as an operator makes one, working over HTTP, and judged
from the records themselves."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cli.demo.client import Client
from core.bootstrap import Services
from core.credits.entry import EntryKind
from core.credits.reconcile import reconcile
from core.storage.scope import NamespaceScope

FEATURE = "mixpeek://text_extractor@v1/text_embedding"
SEARCH: Mapping[str, Any] = {
    "stage_type": "filter",
    "stage_id": "feature_search",
    "parameters": {"searches": [{"feature_uri": FEATURE, "query": {"input_mode": "text", "value": "{{INPUT.query}}"}}]},
}
_AT_ONCE = 100
"""Objects that one request stores."""


@dataclass(frozen=True)
class Customer:
    """An organization with one bucket, one collection and one retriever that searches it."""

    name: str
    api_url: str
    organization_id: str
    api_key: str
    namespace_id: str
    bucket_id: str = ""
    collection_id: str = ""
    retriever_id: str = ""

    def client(self, patience_seconds: float = 0.0) -> Client:
        """The API, with the customer's key in its namespace."""
        return Client(self.api_url, self.api_key, self.namespace_id, patience_seconds)

    def new_retriever(self, client: Client, name: str, stages: Sequence[Mapping[str, Any]]) -> str:
        """A retriever of these stages on the collection; it reads the input `query`."""
        body = {
            "retriever_name": name,
            "collection_identifiers": [self.collection_id],
            "input_schema": {"query": {"type": "string"}},
            "stages": list(stages),
        }
        return str(client.post("/v1/retrievers", body)["retriever_id"])

    def store(self, client: Client, texts: Sequence[str]) -> list[str]:
        """An object for each text; their ids."""
        stored: list[str] = []
        for start in range(0, len(texts), _AT_ONCE):
            part = texts[start : start + _AT_ONCE]
            blobs = [{"blobs": [{"property": "text", "type": "text", "data": text}]} for text in part]
            answer = client.post(f"/v1/buckets/{self.bucket_id}/objects/batch", {"objects": blobs})
            stored += [item["object_id"] for item in answer["succeeded"]]
        return stored

    def submit(self, client: Client, objects: Sequence[str]) -> str:
        """Begin the ingestion of these objects; its task."""
        path = f"/v1/buckets/{self.bucket_id}/batches"
        batch = client.post(path, {"object_ids": list(objects)})
        return str(client.post(f"{path}/{batch['batch_id']}/submit")["task_id"])

    def scope(self, services: Services) -> NamespaceScope:
        """Where its records stand."""
        organization = services.organizations.find(self.organization_id).scope
        return services.namespaces.get(organization, self.namespace_id).scope

    def ledger(self, services: Services) -> tuple[int, int, int]:
        """(captures beyond the first of a job, problems, milli-credits still held)."""
        scope = services.organizations.find(self.organization_id).scope
        entries = services.ledger.statement(scope, limit=100_000)
        captures = Counter(entry.job_id for entry in entries if entry.kind is EntryKind.CAPTURE)
        summary = reconcile(entries)
        return sum(count - 1 for count in captures.values()), len(summary.problems), summary.held

    def documents(self, services: Services) -> Counter[str]:
        """How many documents each object became."""
        stored = services.handles.namespace(self.scope(services))["documents"]
        found = stored.find({"collection_id": self.collection_id})
        return Counter(str(document["source_object_id"]) for document in found)


def new_customer(data: Path, api_url: str, name: str) -> Customer:
    """Make one, furnished."""
    command = [str(Path(sys.executable).parent / "keystage"), "org", "create"]
    ran = subprocess.run(
        [*command, "--name", name, "--email", f"{name}@example.com", "--credits", "1000000"],
        env={**os.environ, "KEYSTAGE_DATA": str(data)},
        capture_output=True,
        check=True,
    )
    created: dict[str, Any] = json.loads(ran.stdout)
    bare = Customer(name, api_url, created["organization_id"], created["api_key"], created["namespace_id"])
    with bare.client() as client:
        schema = {"properties": {"text": {"type": "text"}}}
        bucket = client.post("/v1/buckets", {"bucket_name": "notes", "bucket_schema": schema})["bucket_id"]
        collection = {
            "collection_name": "notes",
            "source": {"type": "bucket", "bucket_ids": [bucket]},
            "feature_extractor": {"feature_extractor_name": "text_extractor", "version": "v1"},
        }
        made = client.post("/v1/collections", collection)["collection_id"]
        furnished = replace(bare, bucket_id=bucket, collection_id=made)
        return replace(furnished, retriever_id=furnished.new_retriever(client, "search", [SEARCH]))
