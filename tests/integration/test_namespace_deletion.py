"""A namespace with documents is deleted on real Ray by a worker that is killed; another one keeps everything."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from api.app import build_app
from config.settings import Settings
from core.bootstrap import Services, build_services
from core.ids import webhook_id
from core.jobs.job import Job, JobKind, JobState
from core.storage.scope import NamespaceScope
from core.storage.vectors.store import collection_name
from core.tenancy.permissions import Permission
from core.webhooks.endpoint import EndpointSettings
from core.webhooks.event import EventType
from pipelines.cluster import RAY_NAMESPACE, VECTORS_ACTOR
from pipelines.runner import Runner
from pipelines.vectors_actor import VectorsProxy
from tests.integration.bodies import retriever_body
from tests.integration.conftest import Tenant
from tests.integration.deletions import fill, left_in
from tests.points import point_count
from tests.ray_cluster import RayHead, ray_head
from tests.servers import own_database
from tests.tenants import new_key
from workers.drive_job import Executor, JobDriver
from workers.execution import RetrieverExecutor
from workers.ingestion import IngestionExecutor
from workers.namespace_deletion import NamespaceDeletionExecutor
from workers.watch import LeaseWatch

ROOT = Path(__file__).parents[2]
KEY = "k1:" + "A" * 43
OBJECTS = 12
EVERYWHERE = ("executions", "events", "deliveries", "attempts")
"""Collections that get further rows, of hands that this test does not play."""


@dataclass
class Stack:
    """A tenant, and a worker on real Ray."""

    settings: Settings
    tenant: Tenant
    driver: JobDriver

    def drive(self, tenant: Tenant, job_id: str) -> Job:
        """Drive a job to its end."""
        for _ in range(20):
            tenant.services.handles.namespace(tenant.scope)["jobs"].update_one(
                {"_id": job_id, "due_at": {"$gt": tenant.services.clock.now()}}, [{"$set": {"due_at": "$$NOW"}}]
            )
            if not self.driver.drive(job_id):
                break
        return tenant.services.jobs.get(tenant.scope, job_id)

    def left(self, scope: NamespaceScope) -> dict[str, int]:
        """What there is of a namespace, vectors included."""
        import ray

        owner = ray.get_actor(VECTORS_ACTOR, RAY_NAMESPACE)
        vectors = point_count(VectorsProxy(owner, "test"), scope.namespace_id)
        return {**left_in(self.tenant.services, scope), "vectors": vectors}


@pytest.fixture(scope="module")
def stack(mongo_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with ray_head() as head:
        settings = _settings(head, mongo_url, redis_url, Path(tmp_path_factory.mktemp("deletion")))
        services, runner = build_services(settings), Runner(settings)
        executors: dict[JobKind, Executor] = {
            JobKind.RETRIEVER: RetrieverExecutor(services, runner),
            JobKind.INGESTION: IngestionExecutor(services, runner),
            JobKind.NAMESPACE_DELETION: NamespaceDeletionExecutor(services, runner),
        }
        yield Stack(settings, _tenant(services), JobDriver(services, LeaseWatch(1), executors))
        services.close()


def _settings(head: RayHead, mongo_url: str, redis_url: str, data: Path) -> Settings:
    return Settings(
        _env_file=None,
        data=data,
        mongo_url=own_database(mongo_url),
        redis_url=redis_url,
        ray_address=head.address,
        ray_auth_token=head.token,
        vault_keys=KEY,
        key_peppers=KEY,
        audit_keys=KEY,
        stage_actors=1,
        job_lease_seconds=1,
        namespace_settle_seconds=0.1,
    )


def _tenant(services: Services) -> Tenant:
    organization = services.organizations.create("Deleting", "owner@example.com", "enterprise")
    services.ledger.grant(organization.scope, "grant:start", 1_000_000)
    settings = EndpointSettings("hook", "http://127.0.0.1:9/", tuple(EventType))
    services.webhooks.create(organization.scope, webhook_id(), settings, None)
    namespace = services.namespaces.create(organization.scope, "doomed")
    key = new_key(services, organization.scope, Permission.ADMIN, "test").text
    headers = {"Authorization": f"Bearer {key}", "X-Namespace": namespace.namespace_id}
    client = build_app(services).test_client()
    return Tenant(client, services, namespace.scope, organization.organization_id, key, headers)


def test_a_deletion_that_is_killed_ends_with_nothing_left_and_touches_no_other_namespace(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    doomed = stack.tenant
    services = doomed.services
    kept_scope = services.namespaces.create(doomed.scope.organization, "kept").scope
    kept = replace(doomed, scope=kept_scope, headers={**doomed.headers, "X-Namespace": kept_scope.namespace_id})
    for tenant in (doomed, kept):
        _ingest_and_ask(stack, tenant)
        fill(services.handles, tenant.scope, dict.fromkeys(EVERYWHERE, 600))
    before, kept_before = stack.left(doomed.scope), stack.left(kept.scope)
    assert all(before.values()), "every collection has something to lose"
    headers = {"Authorization": doomed.headers["Authorization"]}
    task_id = doomed.client.delete("/v1/namespaces/doomed", headers=headers).get_json()["task_id"]
    killed = _killed_worker(stack.settings, task_id)
    between = stack.left(doomed.scope)
    ended = stack.drive(doomed, task_id)
    after, kept_after = stack.left(doomed.scope), stack.left(kept.scope)
    with capsys.disabled():
        print(f"\nnamespace deletion: before {before}\n  killed at {between}\n  after {after}\n  other {kept_after}")
    assert killed == -signal.SIGKILL
    assert 0 < sum(between.values()) < sum(before.values())
    assert ended.state is JobState.SUCCEEDED
    assert sum(after.values()) == 0
    assert kept_after == kept_before
    assert not (stack.settings.vectors_dir / collection_name(doomed.scope.namespace_id)).exists()
    assert len(_ask(stack, kept)) == 5


def _ingest_and_ask(stack: Stack, tenant: Tenant) -> None:
    bucket = tenant.created("/v1/buckets", {"bucket_name": "b", "bucket_schema": {"properties": {}}})["bucket_id"]
    extractor = {"feature_extractor_name": "text_extractor", "version": "v1"}
    source = {"type": "bucket", "bucket_ids": [bucket]}
    body = {"collection_name": "notes", "source": source, "feature_extractor": extractor}
    collection = tenant.created("/v1/collections", body)["collection_id"]
    notes = [{"blobs": [{"property": "text", "type": "text", "data": f"note {n}"}]} for n in range(OBJECTS)]
    stored = tenant.created(f"/v1/buckets/{bucket}/objects/batch", {"objects": notes})["succeeded"]
    ids = {"object_ids": [item["object_id"] for item in stored]}
    batch = tenant.created(f"/v1/buckets/{bucket}/batches", ids)["batch_id"]
    task = tenant.created(f"/v1/buckets/{bucket}/batches/{batch}/submit", {})["task_id"]
    assert stack.drive(tenant, task).state is JobState.SUCCEEDED
    tenant.created("/v1/retrievers", retriever_body(collection_identifiers=[collection]))
    assert len(_ask(stack, tenant)) == 5


def _ask(stack: Stack, tenant: Tenant) -> list[Any]:
    path = "/v1/retrievers/answers/execute"
    task = tenant.post(path, {"inputs": {"query": "a note"}}, Prefer="respond-async").get_json()["task_id"]
    job = stack.drive(tenant, task)
    assert job.decision is not None
    execution = tenant.services.executions.get(tenant.scope, job.decision.result["execution_doc"])
    assert execution is not None
    documents: list[Any] = execution["documents"]
    return documents


def _killed_worker(settings: Settings, job_id: str) -> int:
    """A worker process that removes some of it and is killed; its exit code."""
    token = settings.ray_auth_token
    own = {
        "KEYSTAGE_DATA": str(settings.data),
        "KEYSTAGE_MONGO_URL": settings.mongo_url,
        "KEYSTAGE_REDIS_URL": settings.redis_url,
        "KEYSTAGE_RAY_ADDRESS": settings.ray_address,
        "KEYSTAGE_RAY_AUTH_TOKEN": token.get_secret_value() if token else "",
        "KEYSTAGE_VAULT_KEYS": KEY,
        "KEYSTAGE_KEY_PEPPERS": KEY,
        "KEYSTAGE_AUDIT_KEYS": KEY,
        "KEYSTAGE_STAGE_ACTORS": "1",
        "KEYSTAGE_JOB_LEASE_SECONDS": "1",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "tests.integration.killed_deleter", job_id]
    return subprocess.run(command, env={**os.environ, **own}, cwd=ROOT, capture_output=True, check=False).returncode
