"""The demo's story, step by step, against a running stack. Each step proves something or raises DemoFailedError."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook

from cli.demo.client import Client
from cli.demo.files import InputFile
from cli.demo.narrator import Narrator
from cli.demo.receiver import Receiver

_INGESTION_SECONDS = 300.0
_CREDIT_DIGITS = 3
"""A milli-credit is the smallest amount."""
_WEBHOOK_SECONDS = 60.0
_QUESTIONS = (
    "What happens when a worker is killed in the middle of a job?",
    "How are credits charged exactly once?",
    "How do I add a new stage?",
)
_FEATURE = "mixpeek://text_extractor@v1/text_embedding"
_EVENTS = ["collection.documents.batch_completed", "resource.executed", "resource.execution_failed"]


class DemoFailedError(Exception):
    """A step of the demo did not hold."""


class Story:
    """One telling of the demo."""

    def __init__(self, data: Path, api_url: str, narrator: Narrator) -> None:
        self._data = data
        self._api_url = api_url
        self._narrator = narrator
        self.summary: dict[str, Any] = {}

    def tell(self, files: list[InputFile]) -> None:
        """Every step in order."""
        organization = self._create_organization()
        with (
            Client(self._api_url, organization["api_key"], organization["namespace_name"]) as client,
            Receiver() as listening,
            Receiver(down=True) as broken,
        ):
            secret = self._listen(client, "orders", listening)["signing_secret"]
            broken_hook = self._listen(client, "broken deploy", broken)["webhook_id"]
            collection_id = self._ingest(client, files)
            self._verify_webhook(listening, secret)
            self._replay(client, organization["organization_id"], broken_hook, broken)
            self._ask(client, collection_id)
            self._settle(organization["organization_id"])
        self.summary["api_key"] = organization["api_key"]

    def _create_organization(self) -> dict[str, Any]:
        self._narrator.chapter("A customer arrives")
        created: dict[str, Any] = self._operator(
            "org", "create", "--name", "Demo", "--email", "demo@example.com", "--credits", "1000"
        )
        self._narrator.held(f"organization {created['organization_id']} with 1000 credits and an admin key")
        self.summary["organization_id"] = created["organization_id"]
        return created

    def _listen(self, client: Client, name: str, receiver: Receiver) -> dict[str, Any]:
        body = {
            "webhook_name": name,
            "event_types": _EVENTS,
            "channels": [{"channel": "webhook", "configs": {"url": receiver.url}}],
        }
        created: dict[str, Any] = client.post("/v1/organizations/webhooks", body)
        state = "is down" if receiver.down else "listens"
        self._narrator.held(f"the customer's endpoint {name!r} {state} at {receiver.url}")
        return created

    def _ingest(self, client: Client, files: list[InputFile]) -> str:
        self._narrator.chapter(f"{len(files)} files become searchable documents")
        schema = {"properties": {"content": {"type": "text"}, "title": {"type": "string"}}}
        bucket = client.post("/v1/buckets", {"bucket_name": "files", "bucket_schema": schema})
        collection = client.post(
            "/v1/collections",
            {
                "collection_name": "files",
                "source": {"type": "bucket", "bucket_ids": [bucket["bucket_id"]]},
                "feature_extractor": {
                    "feature_extractor_name": "text_extractor",
                    "version": "v1",
                    "include_all_source_fields": True,
                },
            },
        )
        objects = [
            client.post(f"/v1/buckets/{bucket['bucket_id']}/objects", file.as_object())["object_id"] for file in files
        ]
        batches = f"/v1/buckets/{bucket['bucket_id']}/batches"
        batch = client.post(batches, {"object_ids": objects})
        task = client.post(f"{batches}/{batch['batch_id']}/submit")
        with self._narrator.bar("ingesting", len(files)) as move:

            def follow(state: dict[str, Any]) -> None:
                move(int(state["additional_data"].get("progress", {}).get("processed", 0)))

            ended = client.ended_task(task["task_id"], _INGESTION_SECONDS, follow)
        _require(ended["status"] == "COMPLETED", f"the batch ended {ended['status']}: {ended.get('error')}")
        documents = ended["additional_data"]["progress"]["documents_written"]
        self._narrator.held(f"{len(files)} files gave {documents} documents (task {task['task_id']})")
        self.summary |= {"files": len(files), "documents": documents, "batch_task_id": task["task_id"]}
        return str(collection["collection_id"])

    def _verify_webhook(self, receiver: Receiver, secret: str) -> None:
        self._narrator.chapter("The customer is told, with a signature")
        request = receiver.wait_for("collection.documents.batch_completed", _WEBHOOK_SECONDS)
        event = Webhook(secret).verify(request.body, request.headers)
        _require(event["event_id"] == request.headers["webhook-id"], "the event id is not the message id")
        self._narrator.held(f"{event['event_type']} arrived; the standardwebhooks library verified it")
        self.summary["webhook_verified"] = True

    def _replay(self, client: Client, organization_id: str, hook: str, receiver: Receiver) -> None:
        self._narrator.chapter("An endpoint was down; an operator replays what it missed")
        path = f"/v1/organizations/webhooks/{hook}/deliveries"
        failed = self._await_delivery(client, path, "failed")
        self._narrator.held(f"delivery {failed['delivery_id']} failed after {failed['attempts']} attempts and is kept")
        receiver.down = False
        self._operator("webhooks", "replay", failed["delivery_id"], "--org", organization_id, "--json")
        receiver.wait_for("collection.documents.batch_completed", _WEBHOOK_SECONDS)
        replayed = self._await_delivery(client, path, "delivered")
        _require(replayed["delivery_id"] == failed["delivery_id"], "another delivery was replayed")
        self._narrator.held("the endpoint came up, the operator replayed the delivery, and it arrived")
        self.summary["replayed_delivery_id"] = replayed["delivery_id"]

    def _await_delivery(self, client: Client, path: str, status: str) -> dict[str, Any]:
        deadline = time.monotonic() + _WEBHOOK_SECONDS
        while time.monotonic() < deadline:
            found: list[dict[str, Any]] = client.get(path)["results"]
            wanted = [item for item in found if item["status"] == status]
            if wanted:
                return wanted[0]
            time.sleep(0.2)
        raise DemoFailedError(f"no delivery became {status} in {_WEBHOOK_SECONDS:.0f} s")

    def _ask(self, client: Client, collection_id: str) -> None:
        self._narrator.chapter("Three questions, over meaning and words at once")
        search = {"feature_uri": _FEATURE, "query": {"input_mode": "text", "value": "{{INPUT.query}}"}, "top_k": 20}
        stages = [
            {
                "stage_type": "filter",
                "stage_id": "feature_search",
                "parameters": {"searches": [search, {**search, "lexical": True}], "fusion": "rrf", "final_top_k": 10},
            },
            {"stage_type": "reduce", "stage_id": "limit", "parameters": {"limit": 3}},
        ]
        retriever = client.post(
            "/v1/retrievers",
            {
                "retriever_name": "ask",
                "collection_identifiers": [collection_id],
                "input_schema": {"query": {"type": "string"}},
                "stages": stages,
            },
        )
        path = f"/v1/retrievers/{retriever['retriever_id']}/execute"
        answered = []
        for question in _QUESTIONS:
            result = client.post(path, {"inputs": {"query": question}})
            _require(bool(result["documents"]), f"no answer to {question!r}")
            best = result["documents"][0]
            self._narrator.held(question)
            self._narrator.say(f"{best.get('title', best['document_id'])}: {_first_words(best.get('text', ''))}")
            answered.append({"question": question, "document_id": best["document_id"], "title": best.get("title")})
        task = client.post(path, {"inputs": {"query": _QUESTIONS[0]}}, prefer="respond-async")
        ended = client.ended_task(task["task_id"], 60)
        _require(ended["status"] == "COMPLETED", f"the asynchronous execution ended {ended['status']}")
        self._narrator.held("the first one again, asynchronously: 202, a task, COMPLETED")
        self.summary |= {"answers": answered, "retriever_id": retriever["retriever_id"]}

    def _settle(self, organization_id: str) -> None:
        self._narrator.chapter("The bill adds up")
        (ledger,) = self._operator("credits", "reconcile", "--org", organization_id, "--json")
        _require(not ledger["problems"], f"the ledger does not add up: {ledger['problems']}")
        left = ledger["granted"] - ledger["captured"]
        _require(round(left - ledger["posted"], _CREDIT_DIGITS) == 0, "granted less charged is not the balance")
        _require(ledger["held"] == 0, "credits are still held")
        self._narrator.held(
            f"granted {ledger['granted']:g}, charged {ledger['captured']:g}, left {ledger['posted']:g} credits; "
            f"{ledger['entries']} ledger entries, each hash in its chain"
        )
        self.summary["credits"] = {name: ledger[name] for name in ("granted", "captured", "posted", "held")}

    def _operator(self, *arguments: str) -> Any:
        """Run an operator's command as an operator would."""
        command = [str(Path(sys.executable).parent / "keystage"), *arguments]
        environment = {**os.environ, "KEYSTAGE_DATA": str(self._data)}
        ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if ran.returncode:
            raise DemoFailedError(f"keystage {' '.join(arguments)}: {ran.stderr.strip()}")
        return json.loads(ran.stdout)


def _first_words(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 160 else words[:157] + "…"


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise DemoFailedError(otherwise)
