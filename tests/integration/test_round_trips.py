"""What a job costs, counted on the wire: MongoDB commands and Redis calls of a retriever job and a 10-object batch."""

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from api.app import build_app
from config.settings import Settings
from core.bootstrap import Services, build_services
from core.credits.prices import OBJECT_EXTRACTED
from core.jobs.job import JobKind, JobState
from core.storage import mongo
from core.tenancy.permissions import Permission
from pipelines.runner import Runner
from tests.integration.conftest import Tenant
from tests.mongo_commands import MongoCommands
from tests.ray_cluster import ray_head
from tests.redis_calls import calls_of
from tests.servers import own_database
from tests.tenants import new_key
from workers.drive_job import Executor, JobDriver
from workers.execution import RetrieverExecutor
from workers.ingestion import IngestionExecutor
from workers.watch import LeaseWatch

KEY = "k1:" + "A" * 43
OBJECTS = 10
WORKER_BUDGET = 8
"""MongoDB commands of the worker for one retriever job, heartbeats and webhooks apart."""


@dataclass
class Counted:
    """A tenant, a worker, and the counters of both wires."""

    tenant: Tenant
    driver: JobDriver
    wire: MongoCommands
    redis: Redis

    def drive(self, job_id: str) -> list[str]:
        """Drive a job to its end; the MongoDB commands it took."""
        self.wire.sent.clear()
        assert self.driver.drive(job_id)
        return list(self.wire.sent)


@pytest.fixture(scope="module")
def counted(mongo_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counted]:
    wire = MongoCommands()
    patch = pytest.MonkeyPatch()
    patch.setitem(mongo._OPTIONS, "event_listeners", [wire])
    with ray_head() as head:
        settings = Settings(
            _env_file=None,
            data=Path(tmp_path_factory.mktemp("round-trips")),
            mongo_url=own_database(mongo_url),
            redis_url=redis_url,
            ray_address=head.address,
            ray_auth_token=head.token,
            vault_keys=KEY,
            key_peppers=KEY,
            stage_actors=1,
        )
        services = build_services(settings)
        runner = Runner(settings)
        executors: dict[JobKind, Executor] = {
            JobKind.RETRIEVER: RetrieverExecutor(services, runner),
            JobKind.INGESTION: IngestionExecutor(services, runner),
        }
        driver = JobDriver(services, LeaseWatch(settings.job_lease_seconds), executors)
        yield Counted(_tenant(services), driver, wire, services.redis)
        services.close()
    patch.undo()


def _tenant(services: Services) -> Tenant:
    organization = services.organizations.create("Counted", "owner@example.com", "enterprise")
    services.ledger.grant(organization.scope, "grant:start", 1_000_000)
    namespace = services.namespaces.create(organization.scope, "default")
    key = new_key(services, organization.scope, Permission.ADMIN, "test").text
    headers = {"Authorization": f"Bearer {key}", "X-Namespace": namespace.namespace_id}
    client = build_app(services).test_client()
    return Tenant(client, services, namespace.scope, organization.organization_id, key, headers)


def test_what_one_batch_and_one_retriever_job_cost(counted: Counted, capsys: pytest.CaptureFixture[str]) -> None:
    tenant = counted.tenant
    bucket = tenant.created("/v1/buckets", {"bucket_name": "b", "bucket_schema": {"properties": {}}})["bucket_id"]
    collection = _create_collection(tenant, bucket, "notes")
    notes = [{"blobs": [{"property": "text", "type": "text", "data": f"note {n}"}]} for n in range(OBJECTS)]
    batch_task = _submit_batch(tenant, bucket, notes)
    batch_commands: list[str] = []
    batch_redis = calls_of(counted.redis, lambda: batch_commands.extend(counted.drive(batch_task)))

    retriever = _create_retriever(tenant, collection)
    path = f"/v1/retrievers/{retriever}/execute"
    body = {"inputs": {"query": "three"}}
    for _ in range(2):
        # the second one is warm: connections, caches and models are there
        tasks: list[str] = []
        intake_redis = calls_of(
            counted.redis,
            lambda: tasks.append(tenant.post(path, body, Prefer="respond-async").get_json()["task_id"]),  # noqa: B023
        )
        commands: list[str] = []
        worker_redis = calls_of(counted.redis, lambda: commands.extend(counted.drive(tasks[0])))  # noqa: B023
    with capsys.disabled():
        ended = _before_announcement(commands)
        print(f"\nretriever job, worker: {len(ended)} MongoDB commands, {len(commands) - len(ended)} to announce")
        print(json.dumps(dict(Counter(commands))))
        print(f"retriever job: {len(intake_redis)} Redis calls at intake {intake_redis}, {len(worker_redis)} in worker")
        print(f"{OBJECTS}-object batch, worker: {len(batch_commands)} MongoDB commands, {len(batch_redis)} Redis calls")
        print(json.dumps(dict(Counter(batch_commands))))
    shown = tenant.get(f"/v1/tasks/{tasks[0]}").get_json()
    assert shown["status"] == "COMPLETED"
    assert len(_before_announcement(commands)) <= WORKER_BUDGET
    execution_id = shown["additional_data"]["execution_id"]
    execution = tenant.get(f"/v1/retrievers/{retriever}/executions/{execution_id}").get_json()
    statistics = execution["stage_statistics"]
    assert statistics["stages"]["feature_search"]["output_count"] == len(execution["documents"]) > 0
    assert statistics["total_time_ms"] > 0


def test_the_retry_of_a_partial_batch_costs_what_is_done_again(counted: Counted) -> None:
    tenant, services = counted.tenant, counted.tenant.services
    bucket = tenant.created("/v1/buckets", {"bucket_name": "mixed", "bucket_schema": {"properties": {}}})["bucket_id"]
    _create_collection(tenant, bucket, "mixed")
    picture = {"blobs": [{"property": "p", "type": "image", "data": "data:image/png;base64,iVBORw0KGgo="}]}
    note = {"blobs": [{"property": "text", "type": "text", "data": "note"}]}
    first = _submit_batch(tenant, bucket, [note, picture])
    counted.drive(first)
    partial = services.jobs.get(tenant.scope, first)
    assert partial.decision
    assert (partial.state, partial.decision.charge) == (JobState.PARTIAL, OBJECT_EXTRACTED)
    again = services.submission.retry(partial)
    counted.drive(again.job_id)
    ended = services.jobs.get(tenant.scope, again.job_id)
    assert ended.decision
    assert (ended.state, ended.decision.charge, ended.decision.result["objects_failed"]) == (JobState.FAILED, 0, 1)


def test_a_batch_says_which_objects_are_incomplete(counted: Counted) -> None:
    tenant = counted.tenant
    bucket = tenant.created("/v1/buckets", {"bucket_name": "parts", "bucket_schema": {"properties": {}}})["bucket_id"]
    collection = _create_collection(tenant, bucket, "parts")

    def note(*parts: dict[str, Any]) -> dict[str, Any]:
        return {"blobs": [{"property": f"p{number}", "type": "text", **part} for number, part in enumerate(parts)]}

    damaged = {"type": "pdf", "data": "data:application/pdf;base64,JVBERi0xLjcKYnJva2Vu"}
    deep = {"data": "<div>" * 5000 + "deep" + "</div>" * 5000}
    half_empty, warned = note({"data": "one"}, {"data": " "}), note(deep, {"data": "two"})
    for objects, status in (
        ([note({"data": "whole"}), half_empty, warned], "COMPLETED"),
        ([note({"data": "whole"}), note({"data": "one"}, damaged)], "COMPLETED_WITH_ERRORS"),
    ):
        task_id = _submit_batch(tenant, bucket, objects)
        counted.drive(task_id)
        task = tenant.get(f"/v1/tasks/{task_id}").get_json()
        batch = tenant.get(f"/v1/buckets/{bucket}/batches/{task['additional_data']['batch_id']}").get_json()
        assert (task["status"], batch["status"]) == (status, status)
        assert batch["object_reports"] == task["additional_data"]["object_reports"]
        incomplete, *others = batch["object_reports"]
        assert (incomplete["object_id"], incomplete["incomplete"]) == (batch["object_ids"][1], True)
        assert (incomplete["collection_id"], incomplete["texts_read"], incomplete["documents"]) == (collection, 1, 1)
        [part] = incomplete["not_read"]
        expected = "empty_text" if status == "COMPLETED" else "unreadable_content"
        assert (part["property"], part["code"]) == ("p1", expected)
        assert (batch["failed_object_count"], batch["incomplete_object_count"]) == (0, 1)
        assert task["additional_data"]["result"]["objects_incomplete"] == 1
        assert batch["warned_object_count"] == len(others) == (1 if status == "COMPLETED" else 0)
        for other in others:
            assert [warning["code"] for warning in other["warnings"]] == ["html_flattened"]
            assert not other["incomplete"]


def _create_collection(tenant: Tenant, bucket: str, name: str) -> str:
    extractor = {"feature_extractor_name": "text_extractor", "version": "v1"}
    source = {"type": "bucket", "bucket_ids": [bucket]}
    body = {"collection_name": name, "source": source, "feature_extractor": extractor}
    return str(tenant.created("/v1/collections", body)["collection_id"])


def _submit_batch(tenant: Tenant, bucket: str, objects: list[dict[str, Any]]) -> str:
    stored = tenant.created(f"/v1/buckets/{bucket}/objects/batch", {"objects": objects})["succeeded"]
    ids = [item["object_id"] for item in stored]
    batch = tenant.created(f"/v1/buckets/{bucket}/batches", {"object_ids": ids})["batch_id"]
    return str(tenant.created(f"/v1/buckets/{bucket}/batches/{batch}/submit", {})["task_id"])


def _create_retriever(tenant: Tenant, collection: str) -> str:
    search: dict[str, Any] = {
        "feature_uri": "mixpeek://text_extractor@v1/text_embedding",
        "query": {"input_mode": "text", "value": "{{INPUT.query}}"},
    }
    stage = {"stage_type": "filter", "stage_id": "feature_search", "parameters": {"searches": [search]}}
    retriever = {
        "retriever_name": "r",
        "collection_identifiers": [collection],
        "input_schema": {"query": {"type": "string"}},
        "stages": [stage],
    }
    return str(tenant.created("/v1/retrievers", retriever)["retriever_id"])


def _before_announcement(commands: list[str]) -> list[str]:
    """The commands up to the job's end; what follows turns its events into deliveries and empties the outbox."""
    return list(itertools.takewhile(lambda command: command != "find webhooks", commands))
