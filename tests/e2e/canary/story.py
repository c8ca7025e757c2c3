"""The life of forty secrets on a running stack, over HTTP as a customer and at the command line as an operator.

Whatever was answered or printed is kept as bytes, to be searched.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from core.vault.redaction import MASK
from core.webhooks.event import EventType
from tests.e2e.canary.cases import Case, Outcome
from tests.e2e.canary.search import Sink
from tests.e2e.canary.values import Canary, canary
from tests.stack import wait_until

SECRETS = "/v1/organizations/secrets"
_ENDED = {"COMPLETED", "COMPLETED_WITH_ERRORS", "FAILED", "CANCELED"}
_SECONDS = 120


OWN_HEADER = "x-own"
"""What the webhook is sent with."""


class Story:
    """One customer of a stack."""

    def __init__(self, data: Path, api_url: str, service: str) -> None:
        self._data = data
        self._service = service
        self.said: list[Sink] = []
        """every answer and every output of a command"""
        self.values: list[Canary] = []
        """every value that was stored or sent"""
        self.organization = json.loads(self.operator("org", "create", "--name", "Canaries", "--email", "c@example.com"))
        headers = {"Authorization": f"Bearer {self.organization['api_key']}", "X-Namespace": "default"}
        self._http = httpx.Client(base_url=api_url, headers=headers, timeout=60, trust_env=False)
        self.collection_id = ""
        self.tasks: list[str] = []
        """of the executions"""

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def call(self, method: str, path: str, body: Any = None, prefer: str = "", content: bytes | None = None) -> Any:
        """One request; its answer is kept with its headers. The answer's JSON, with its status as `http`."""
        headers = {"Prefer": prefer} if prefer else {}
        if content is not None:
            headers["Content-Type"] = "application/json"
        sent = {"content": content} if content is not None else {"json": body} if body is not None else {}
        answer = self._http.request(method, path, headers=headers, **sent)
        heads = b"\n".join(name + b": " + value for name, value in answer.headers.raw)
        self.said.append(Sink("http", f"{method} {path} {answer.status_code}", heads + b"\n\n" + answer.content))
        is_json = "json" in answer.headers.get("Content-Type", "")
        return {**(answer.json() if is_json else {}), "http": answer.status_code}

    def done(self, method: str, path: str, body: Any = None, prefer: str = "") -> Any:
        """The same for a request that must succeed."""
        answer = self.call(method, path, body, prefer)
        assert answer["http"] < 300, (method, path, answer)
        return answer

    def operator(self, *arguments: str) -> bytes:
        """An operator's command; what it printed is kept."""
        ran = subprocess.run(
            [str(Path(sys.executable).parent / "keystage"), *arguments],
            env={**os.environ, "KEYSTAGE_DATA": str(self._data), "KEYSTAGE_LOG_LEVEL": "DEBUG"},
            cwd=self._data.parent,
            capture_output=True,
            check=False,
        )
        self.said.append(Sink("command", " ".join(arguments), ran.stdout + ran.stderr))
        assert ran.returncode == 0, (arguments, ran.returncode, ran.stderr[-2000:])
        return ran.stdout

    def listen(self, url: str, number: int) -> None:
        """Subscribe to everything, with a value in a header that the endpoint alone may see."""
        made = self._new(number, Case())
        channel = {"channel": "webhook", "configs": {"url": url, "headers": {OWN_HEADER: made.value}}}
        body = {"webhook_name": "all", "event_types": [each.value for each in EventType], "channels": [channel]}
        self.done("POST", "/v1/organizations/webhooks", body)

    def ingest(self, text: str) -> None:
        """A collection of one document."""
        schema: dict[str, Any] = {"properties": {}}
        bucket = self.done("POST", "/v1/buckets", {"bucket_name": "b", "bucket_schema": schema})["bucket_id"]
        collection = {
            "collection_name": "notes",
            "source": {"type": "bucket", "bucket_ids": [bucket]},
            "feature_extractor": {"feature_extractor_name": "text_extractor", "version": "v1"},
        }
        self.collection_id = self.done("POST", "/v1/collections", collection)["collection_id"]
        note = {"blobs": [{"property": "text", "type": "text", "data": text}]}
        stored = self.done("POST", f"/v1/buckets/{bucket}/objects", note)["object_id"]
        batch = self.done("POST", f"/v1/buckets/{bucket}/batches", {"object_ids": [stored]})["batch_id"]
        task = self.done("POST", f"/v1/buckets/{bucket}/batches/{batch}/submit", {})["task_id"]
        self._ended(task)

    def store(self, number: int, case: Case) -> Canary:
        """Create the case's secret."""
        made = self._new(number, case)
        self.done("POST", SECRETS, {"secret_name": made.name, "secret_value": made.value, **case.limits})
        return made

    def replace(self, number: int, case: Case) -> Canary:
        """Give the case's secret another value."""
        made = self._new(number, case)
        self.done("PUT", f"{SECRETS}/{made.name}", {"secret_value": made.value})
        return made

    def blunder(self, number: int) -> None:
        """Send a value where it cannot be taken, in every way of which the answer or a log might tell."""
        made = self._new(number, Case())
        value, other = made.value, {"secret_name": "no_such"}
        bodies: list[tuple[str, str, Any]] = [
            ("POST", SECRETS, {"secret_name": "canary_00", "secret_value": value}),
            ("POST", SECRETS, {"secret_name": "Not A Name", "secret_value": value}),
            ("POST", SECRETS, {**other, "secret_value": [value]}),
            ("POST", SECRETS, {**other, "secret_value": value, "allowed_namespaces": [value]}),
            ("POST", SECRETS, {**other, "secret_value": value, "expires_at": value}),
            ("PUT", f"{SECRETS}/no_such", {"secret_value": value}),
            ("PUT", f"{SECRETS}/canary_00", {"secret_value": {"inner": value}}),
            ("POST", "/v1/retrievers", self._retriever("in_clear", [_in_clear(value)])),
        ]
        for method, path, body in bodies:
            assert self.call(method, path, body)["http"] in (400, 404, 409, 422), (method, path)
        # a field that nobody knows is let through, and may be told about
        self.done("POST", SECRETS, {"secret_name": "noted", "secret_value": value, "note": value})
        self.done("DELETE", f"{SECRETS}/noted")
        unfinished = b'{"secret_name": "no_such", "secret_value": ' + json.dumps(value).encode()
        assert self.call("POST", SECRETS, content=unfinished)["http"] in (400, 422)

    def retriever(self, number: int, case: Case) -> str:
        """A retriever of the case's stages; its id."""
        name = f"canary_{number:02}"
        stages = json.loads(json.dumps(case.stages).replace("@SERVICE", self._service).replace("@NAME", name))
        made = self.done("POST", "/v1/retrievers", self._retriever(f"retriever of {name}", stages))
        return str(made["retriever_id"])

    def start(self, retriever_id: str) -> str:
        """Begin an execution; its task."""
        path = f"/v1/retrievers/{retriever_id}/execute"
        self.tasks.append(str(self.done("POST", path, {"inputs": {}}, prefer="respond-async")["task_id"]))
        return self.tasks[-1]

    def end(self, retriever_id: str, task_id: str) -> Outcome:
        """How an execution ended, once it has."""
        task = self._ended(task_id)
        facts = task["additional_data"]
        path = f"/v1/retrievers/{retriever_id}/executions/{facts['execution_id']}"
        return Outcome(task["status"], facts.get("error_code"), MASK in str(self.done("GET", path)))

    def look_around(self) -> None:
        """Ask for everything that the API shows of what happened, and the operator's commands, too."""
        names = self.done("GET", SECRETS)["secrets"]
        for name in names:
            self.done("GET", f"{SECRETS}/{name}")
            self.done("GET", f"{SECRETS}/{name}/access")
        hook = self.done("POST", "/v1/organizations/webhooks/list", {})["results"][0]["webhook_id"]
        listed = self.done("GET", f"/v1/organizations/webhooks/{hook}/deliveries?limit=100")["results"]
        for delivery in listed[:5]:
            self.done("GET", f"/v1/organizations/webhooks/{hook}/deliveries/{delivery['delivery_id']}")
        for method, path in (
            ("POST", "/v1/tasks/list"),
            ("POST", "/v1/retrievers/list"),
        ):
            self.done(method, path, {})
        self.done("GET", "/v1/organizations")
        self.call("GET", "/metrics")
        organization = self.organization["organization_id"]
        self.operator("audit", "export", "--org", organization)
        self.operator("vault", "access", "--org", organization, "--json")
        self.operator("vault", "status", "--json")

    def _new(self, number: int, case: Case) -> Canary:
        made = canary(number, case.ending)
        self.values.append(made)
        return made

    def _retriever(self, name: str, stages: Sequence[Any]) -> dict[str, Any]:
        return {
            "retriever_name": name,
            "stages": list(stages),
            "collection_identifiers": [self.collection_id],
            "input_schema": {"properties": {"q": {"type": "string", "default": "tides"}}},
        }

    def _ended(self, task_id: str) -> dict[str, Any]:
        seen: dict[str, Any] = {}

        def is_over() -> bool:
            seen.update(self.done("GET", f"/v1/tasks/{task_id}"))
            return seen["status"] in _ENDED

        wait_until(is_over, _SECONDS, f"task {task_id} to end")
        return seen


def _in_clear(value: str) -> dict[str, Any]:
    return {"stage_id": "llm_enrich", "parameters": {"prompt": "x", "api_key": value}}
