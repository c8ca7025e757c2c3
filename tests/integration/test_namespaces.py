"""Namespaces over the API: where a request's namespace comes from, and how one is deleted without leaving anything."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from flask.testing import FlaskClient
from pymongo.errors import ConnectionFailure
from werkzeug.test import TestResponse

from api.app import build_app
from core.audit.actions import AuditAction
from core.audit.entry import AuditStatus
from core.audit.pages import LogFilter
from core.bootstrap import Services, build_services
from core.credits.entry import Balance
from core.credits.reconcile import reconcile
from core.errors import ConflictError
from core.ids import Prefix, SeededIds, random_id
from core.jobs.job import Decision, Job, JobKind, JobState, NewJob
from core.storage.schema import NAMESPACED
from core.storage.scope import NamespaceScope
from core.storage.vectors.edge import EdgeVectorStore
from core.tenancy.namespace_contents import NamespaceContents
from core.tenancy.permissions import Operation, Permission, ResourceType, Scope
from core.tenancy.tenant import Environment
from pipelines.runner import CallContext
from tests.claiming import claimed
from tests.integration.bodies import BUCKET, corpus, retriever_body
from tests.integration.conftest import Tenant
from tests.integration.deletions import fill, left_in
from tests.tenants import new_key
from workers.drive_job import JobDriver
from workers.namespace_deletion import NamespaceDeletionExecutor
from workers.sweeper import Sweeper
from workers.watch import LeaseWatch

NAMESPACE = "/v1/namespaces/default"
MANY = {name: 3 for name in NAMESPACED if name != "jobs"} | {"documents": 1_200}


class Killed(BaseException):
    """What SIGKILL is to the code that runs."""


class OwnVectors:
    """The vector engine without Ray around it."""

    def __init__(self, directory: Path) -> None:
        self.store = EdgeVectorStore(directory)

    def drop_vectors(self, call: CallContext, should_stop: Event) -> bool:
        return self.store.drop(call.namespace_id)


@pytest.fixture
def vectors(tmp_path: Path) -> Iterator[OwnVectors]:
    own = OwnVectors(tmp_path)
    yield own
    own.store.close()


@pytest.fixture
def worker(services: Services, vectors: OwnVectors, monkeypatch: pytest.MonkeyPatch) -> JobDriver:
    """Drives deletions that settle at once."""
    executor = NamespaceDeletionExecutor(services, vectors)  # type: ignore[arg-type]  # all it uses of a Runner
    monkeypatch.setattr(executor, "_settle", -services.queue._lease)
    watch = LeaseWatch(services.settings.job_lease_seconds)
    return JobDriver(services, watch, {JobKind.NAMESPACE_DELETION: executor})


@pytest.fixture
def other_process(services: Services) -> Iterator[FlaskClient]:
    """A second API process on the same MongoDB and Redis."""
    twin = build_services(services.settings)
    yield build_app(twin).test_client()
    twin.close()


def delete(tenant: Tenant, path: str = NAMESPACE, **headers: str) -> TestResponse:
    return without_header(tenant, "DELETE", path, **headers)


def without_header(tenant: Tenant, method: str, path: str, **headers: str) -> TestResponse:
    """Send a request that names no namespace in a header."""
    sent = {"Authorization": tenant.headers["Authorization"]}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return tenant.client.open(path, method=method, headers=sent)


def make_due(tenant: Tenant, job_id: str) -> None:
    tenant.services.handles.namespace(tenant.scope)["jobs"].update_one(
        {"_id": job_id, "due_at": {"$gt": tenant.services.clock.now()}}, [{"$set": {"due_at": "$$NOW"}}]
    )


def drive_to_the_end(tenant: Tenant, worker: JobDriver, job_id: str) -> Job:
    for _ in range(20):
        make_due(tenant, job_id)
        if not worker.drive(job_id):
            break
    return tenant.services.jobs.get(tenant.scope, job_id)


def finished(tenant: Tenant, worker: JobDriver) -> Job:
    """Delete the tenant's namespace, to the end."""
    response = delete(tenant)
    assert response.status_code == 200, response.get_data(as_text=True)
    return drive_to_the_end(tenant, worker, response.get_json()["task_id"])


def submit_job(tenant: Tenant) -> Job:
    spec = {"retriever_id": "ret_1", "execution_id": "exec_1"}
    new = NewJob(random_id(Prefix.TASK), JobKind.RETRIEVER, spec, 1_000, "req_1")
    return tenant.services.submission.submit(tenant.scope, new)


# Where a request's namespace comes from ---------------------------------------------------------------


def test_header_path_query_and_body_may_not_disagree(tenant: Tenant) -> None:
    tenant.created("/v1/namespaces", {"namespace_name": "second"})
    for response in (
        tenant.get("/v1/namespaces/second"),
        tenant.call("DELETE", "/v1/namespaces/second"),
        tenant.get("/v1/buckets?namespace_id=second"),
        tenant.post("/v1/buckets", {**BUCKET, "namespace_id": "second"}),
    ):
        assert (response.status_code, response.get_json()["error"]["type"]) == (400, "BadRequestError")
    assert tenant.get("/v1/namespaces/default").status_code == 200
    assert tenant.get("/v1/namespaces/second", X_Namespace="second").status_code == 200


def test_a_namespace_of_another_organization_is_absent_to_the_byte(new_tenant: Callable[..., Tenant]) -> None:
    own, other = new_tenant(), new_tenant()
    foreign = other.scope.namespace_id
    for method in ("GET", "PATCH", "DELETE"):
        answers = {
            without_header(own, method, f"/v1/namespaces/{name}", X_Request_ID="same").data
            for name in (foreign, random_id(Prefix.NAMESPACE), "nobody")
        }
        assert len(answers) == 1
        assert json.loads(answers.pop())["status"] == 404
    answers = {own.get("/v1/buckets", X_Namespace=name, X_Request_ID="s").data for name in (foreign, "ns_nobody")}
    assert len(answers) == 1
    assert other.get("/v1/buckets").status_code == 200


def test_a_renamed_namespace_goes_by_its_new_name_only_in_every_process(
    tenant: Tenant, other_process: FlaskClient
) -> None:
    for client in (tenant.client, other_process):
        assert client.get("/v1/buckets", headers={**tenant.headers, "X-Namespace": "default"}).status_code == 200
    assert tenant.call("PATCH", NAMESPACE, {"namespace_name": "renamed"}).status_code == 200
    for client in (tenant.client, other_process):
        assert client.get("/v1/buckets", headers={**tenant.headers, "X-Namespace": "default"}).status_code == 404
        assert client.get("/v1/buckets", headers={**tenant.headers, "X-Namespace": "renamed"}).status_code == 200


# Who may delete ---------------------------------------------------------------------------------------


def test_deleting_needs_admin_the_scope_and_the_environment(new_tenant: Callable[..., Tenant]) -> None:
    assert delete(new_tenant(Permission.DELETE)).status_code == 403
    elsewhere = Scope(ResourceType.NAMESPACE, "second")
    assert delete(new_tenant(scopes=(elsewhere,))).status_code == 403
    reading = Scope(ResourceType.NAMESPACE, "default", frozenset({Operation.READ_DATA}))
    assert delete(new_tenant(scopes=(reading,))).status_code == 403
    assert delete(new_tenant(environment=Environment.PROD)).status_code == 403
    assert delete(new_tenant(scopes=(Scope(ResourceType.NAMESPACE, "default"),))).status_code == 200
    tenant = new_tenant()
    tenant.created("/v1/namespaces", {"namespace_name": "live", "environment": "prod"})
    bound = new_key(tenant.services, tenant.scope, Permission.ADMIN, "bound", environment=Environment.PROD).text
    assert delete(tenant, "/v1/namespaces/live", Authorization=f"Bearer {bound}").status_code == 200


def test_a_deletion_is_in_the_audit_log(tenant: Tenant) -> None:
    delete(tenant)
    entries, _ = tenant.services.audit.export(tenant.scope, LogFilter(), 10)
    assert [(entry.action, entry.status, entry.resource_id) for entry in entries[:1]] == [
        (AuditAction.NAMESPACE_DELETED, AuditStatus.SUCCESS, tenant.scope.namespace_id)
    ]


# Gone at once -----------------------------------------------------------------------------------------


def test_a_deleted_namespace_is_absent_at_once_in_every_process(tenant: Tenant, other_process: FlaskClient) -> None:
    ids = corpus(tenant)
    paths = ["/v1/buckets", f"/v1/buckets/{ids['bucket_id']}", "/v1/collections", "/v1/tasks/task_x", NAMESPACE]
    headers = {**tenant.headers, "X-Request-ID": "same"}
    for client in (tenant.client, other_process):
        assert client.get("/v1/buckets", headers=headers).status_code == 200
    accepted = delete(tenant)
    task = accepted.get_json()
    assert (accepted.status_code, task["task_type"], task["status"]) == (200, "api_namespaces_delete", "PENDING")
    assert accepted.headers["Location"] == f"/v1/tasks/{task['task_id']}"
    for client in (other_process, tenant.client):
        for path in paths:
            answers = {
                client.get(path, headers={**headers, "X-Namespace": name}).data
                for name in (tenant.scope.namespace_id, "default", random_id(Prefix.NAMESPACE))
            }
            assert len(answers) == 1
            assert json.loads(answers.pop())["status"] == 404
        listed = client.get("/v1/namespaces", headers={"Authorization": headers["Authorization"]})
        assert listed.get_json()["results"] == []
    assert delete(tenant).status_code == 404
    assert without_header(tenant, "GET", f"/v1/tasks/{task['task_id']}").get_json() == task


def test_the_name_is_taken_until_everything_is_gone_and_the_id_for_ever(tenant: Tenant, worker: JobDriver) -> None:
    create = {"Authorization": tenant.headers["Authorization"]}
    task_id = delete(tenant).get_json()["task_id"]
    refused = tenant.client.post("/v1/namespaces", json={"namespace_name": "default"}, headers=create)
    assert (refused.status_code, refused.get_json()["error"]["type"]) == (409, "AlreadyExistsError")
    assert drive_to_the_end(tenant, worker, task_id).state is JobState.SUCCEEDED
    made = tenant.client.post("/v1/namespaces", json={"namespace_name": "default"}, headers=create)
    assert made.status_code == 200
    assert made.get_json()["namespace_id"] != tenant.scope.namespace_id
    assert tenant.get("/v1/buckets").status_code == 404
    assert tenant.get("/v1/buckets", X_Namespace="default").status_code == 200
    with pytest.raises(ConflictError):
        tenant.services.namespaces.create(tenant.scope, "again", new_id=lambda _: tenant.scope.namespace_id)


def test_several_namespaces_are_deleted_one_after_the_other(tenant: Tenant, worker: JobDriver) -> None:
    for name in ("default", "second", "third"):
        if name != "default":
            tenant.services.namespaces.create(tenant.scope, name)
        task_id = delete(tenant, f"/v1/namespaces/{name}").get_json()["task_id"]
        found = tenant.services.queue.find(task_id)
        assert found is not None
        tenant.scope = found.scope
        assert drive_to_the_end(tenant, worker, task_id).state is JobState.SUCCEEDED


# Jobs under way ---------------------------------------------------------------------------------------


def test_jobs_under_way_refuse_a_deletion_unless_forced(tenant: Tenant, worker: JobDriver) -> None:
    job = submit_job(tenant)
    refused = delete(tenant)
    assert (refused.status_code, refused.get_json()["error"]["type"]) == (409, "ConflictError")
    assert refused.get_json()["error"]["details"]["task_ids"] == [job.job_id]
    assert tenant.get("/v1/buckets").status_code == 200
    assert delete(tenant, f"{NAMESPACE}?force=perhaps").status_code == 422
    task_id = delete(tenant, f"{NAMESPACE}?force=true").get_json()["task_id"]
    ended = drive_to_the_end(tenant, worker, task_id)
    assert ended.state is JobState.QUEUED, "it waits until what was held for the job is given back"
    assert tenant.services.ledger.balance(tenant.scope).held == 1_000
    assert worker.drive(job.job_id)
    assert drive_to_the_end(tenant, worker, task_id).state is JobState.SUCCEEDED
    assert tenant.services.ledger.balance(tenant.scope).held == 0
    assert left_in(tenant.services, tenant.scope)["jobs"] == 0


def test_a_running_job_is_over_before_anything_is_removed(tenant: Tenant, worker: JobDriver) -> None:
    job = submit_job(tenant)
    lease = claimed(tenant.services.queue, job.job_id, "a worker")
    assert lease is not None
    fill(tenant.services.handles, tenant.scope, {"documents": 1})
    task_id = delete(tenant, f"{NAMESPACE}?force=true").get_json()["task_id"]
    assert drive_to_the_end(tenant, worker, task_id).state is JobState.QUEUED
    assert not lease.heartbeat(), "the worker is told to stop"
    assert left_in(tenant.services, tenant.scope)["documents"] == 1
    lease.decide(Decision(JobState.CANCELLED))
    make_due(tenant, job.job_id)
    assert worker.drive(job.job_id)
    assert drive_to_the_end(tenant, worker, task_id).state is JobState.SUCCEEDED
    assert left_in(tenant.services, tenant.scope) == dict.fromkeys([*NAMESPACED, "blobs"], 0)


def test_what_a_late_writer_leaves_is_removed_before_the_end(
    tenant: Tenant, worker: JobDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, late = NamespaceContents.remove, ["documents", "objects", "jobs"]

    def remove(self: NamespaceContents, scope: NamespaceScope) -> Iterator[tuple[str, int]]:
        yield from original(self, scope)
        if late:
            # after the pass has been there: a worker that lost its lease, a request that began before
            fill(tenant.services.handles, tenant.scope, {late.pop(): 1})

    fill(tenant.services.handles, tenant.scope, {"documents": 1})
    monkeypatch.setattr(NamespaceContents, "remove", remove)
    assert finished(tenant, worker).state is JobState.SUCCEEDED
    assert late == []
    assert left_in(tenant.services, tenant.scope) == dict.fromkeys([*NAMESPACED, "blobs"], 0)


def test_a_namespace_is_watched_for_late_writes_before_its_name_is_free(
    tenant: Tenant, services: Services, vectors: OwnVectors
) -> None:
    executor = NamespaceDeletionExecutor(services, vectors)  # type: ignore[arg-type]
    patient = JobDriver(services, LeaseWatch(1), {JobKind.NAMESPACE_DELETION: executor})
    job = finished(tenant, patient)
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)
    assert job.due_at is not None
    assert services.namespaces.deletion_of(tenant.scope, "default") is not None


def test_a_deletion_cannot_be_cancelled(tenant: Tenant, worker: JobDriver) -> None:
    task_id = delete(tenant).get_json()["task_id"]
    assert without_header(tenant, "DELETE", f"/v1/tasks/{task_id}").status_code == 200
    assert drive_to_the_end(tenant, worker, task_id).state is JobState.SUCCEEDED


# Everything, and nothing else -------------------------------------------------------------------------


def test_everything_of_the_namespace_is_removed_and_nothing_of_another(
    tenant: Tenant, worker: JobDriver, vectors: OwnVectors, new_tenant: Callable[..., Tenant]
) -> None:
    services = tenant.services
    second = services.namespaces.create(tenant.scope, "second").scope
    others = [second, new_tenant().scope]
    for scope in (tenant.scope, *others):
        fill(services.handles, scope, MANY)
        services.blobs.put(f"{scope.namespace_id}/bkt_1/obj_1/0", b"x")
        vectors.store.ensure(scope.namespace_id, 4)
    services.blobs.put(f"{tenant.scope.namespace_id}2/bkt_1/obj_1/0", b"a namespace whose id begins alike")
    before = [left_in(services, scope) for scope in others]
    job = finished(tenant, worker)
    assert job.state is JobState.SUCCEEDED
    assert job.decision is not None
    assert job.decision.result == {**MANY, "blobs": 1, "vectors": 1}
    assert left_in(services, tenant.scope) == dict.fromkeys([*NAMESPACED, "blobs"], 0)
    assert [left_in(services, scope) for scope in others] == before
    assert not vectors.store.drop(tenant.scope.namespace_id)
    assert all(vectors.store.drop(scope.namespace_id) for scope in others)
    assert len(list(services.blobs.list_keys(f"{tenant.scope.namespace_id}2/"))) == 1


def test_a_deletion_is_free_and_leaves_the_ledger_and_the_task(new_tenant: Callable[..., Tenant]) -> None:
    tenant = new_tenant(credits=0)
    task_id = delete(tenant).get_json()["task_id"]
    assert tenant.services.ledger.statement(tenant.scope) == []
    assert tenant.services.ledger.balance(tenant.scope) == Balance(0, 0)
    assert reconcile(tenant.services.ledger.statement(tenant.scope)).problems == ()
    shown = without_header(tenant, "GET", f"/v1/tasks/{task_id}").get_json()
    assert shown["additional_data"]["namespace_id"] == tenant.scope.namespace_id


def test_the_task_of_a_done_deletion_can_be_read_without_a_namespace(tenant: Tenant, worker: JobDriver) -> None:
    tenant.created("/v1/retrievers", retriever_body())
    job = finished(tenant, worker)
    shown = without_header(tenant, "GET", f"/v1/tasks/{job.job_id}").get_json()
    assert (shown["status"], shown["additional_data"]["result"]["retrievers"]) == ("COMPLETED", 1)
    assert shown["additional_data"]["result"]["credits_used"] == 0


def test_a_namespace_without_the_mark_is_never_emptied(tenant: Tenant, worker: JobDriver) -> None:
    fill(tenant.services.handles, tenant.scope, {"documents": 1})
    new = NewJob(random_id(Prefix.TASK), JobKind.NAMESPACE_DELETION, {}, 0, "req_1")
    tenant.services.submission.submit(tenant.scope, new)
    job = drive_to_the_end(tenant, worker, new.job_id)
    assert job.decision is not None
    assert job.decision.error is not None
    assert (job.state, job.decision.error.code) == (JobState.FAILED, "namespace_not_deleted")
    assert left_in(tenant.services, tenant.scope)["documents"] == 1


# Crashes ----------------------------------------------------------------------------------------------


def test_a_crash_after_the_mark_leaves_nothing_half_done(
    tenant: Tenant, worker: JobDriver, other_process: FlaskClient
) -> None:
    services = tenant.services
    assert other_process.get("/v1/buckets", headers=tenant.headers).status_code == 200
    services.namespaces.begin_deletion(tenant.scope, tenant.scope.namespace_id, "op_1", "req_1")
    assert Sweeper(services).resume_deletions() == 1
    assert other_process.get("/v1/buckets", headers=tenant.headers).status_code == 404
    assert Sweeper(services).resume_deletions() == 0
    deletion = services.namespaces.deletion_of(tenant.scope, "default")
    assert deletion is not None
    job = services.deletions.submit(deletion)
    assert drive_to_the_end(tenant, worker, job.job_id).state is JobState.SUCCEEDED
    assert tenant.scope not in [deletion.scope for deletion in services.namespaces.deletions()]


def test_the_same_request_again_after_a_crash_gets_the_task(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("core.jobs.submission.Submission.submit", _raise(ConnectionFailure("gone")))
        assert delete(tenant, Idempotency_Key="k").status_code == 503
    again = delete(tenant, Idempotency_Key="k")
    assert (again.status_code, again.get_json()["task_type"]) == (200, "api_namespaces_delete")
    assert delete(tenant, Idempotency_Key="other").status_code == 404
    assert delete(tenant).status_code == 404
    repeated = delete(tenant, Idempotency_Key="k")
    assert (repeated.data, repeated.headers["Idempotent-Replayed"]) == (again.data, "true")


def test_a_deletion_whose_job_failed_gets_another_one(tenant: Tenant, worker: JobDriver) -> None:
    services = tenant.services
    first = delete(tenant).get_json()["task_id"]
    lease = claimed(services.queue, first, "a worker")
    assert lease is not None
    lease.decide(Decision(JobState.FAILED))
    lease.finish(Decision(JobState.FAILED), ())
    assert Sweeper(services).resume_deletions() == 1
    assert Sweeper(services).resume_deletions() == 0
    [second] = services.handles.namespace(tenant.scope)["jobs"].find({"_id": {"$ne": first}})
    assert drive_to_the_end(tenant, worker, second["_id"]).state is JobState.SUCCEEDED
    assert services.jobs.get(tenant.scope, first).state is JobState.FAILED


@pytest.mark.parametrize("chunks", [1, 4, 9])
def test_a_killed_deletion_goes_on(
    tenant: Tenant, worker: JobDriver, monkeypatch: pytest.MonkeyPatch, chunks: int
) -> None:
    fill(tenant.services.handles, tenant.scope, MANY)
    task_id = delete(tenant).get_json()["task_id"]
    original = NamespaceContents.remove

    def killed(self: NamespaceContents, scope: NamespaceScope) -> Iterator[tuple[str, int]]:
        for number, chunk in enumerate(original(self, scope), start=1):
            yield chunk
            if number == chunks:
                raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(NamespaceContents, "remove", killed)
        with pytest.raises(Killed):
            worker.drive(task_id)
    assert sum(left_in(tenant.services, tenant.scope).values()) > 0
    assert drive_to_the_end(tenant, worker, task_id).state is JobState.SUCCEEDED
    assert left_in(tenant.services, tenant.scope) == dict.fromkeys([*NAMESPACED, "blobs"], 0)


def test_killed_between_the_last_step_and_the_decision_it_still_succeeds(
    tenant: Tenant, worker: JobDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = delete(tenant).get_json()["task_id"]
    with monkeypatch.context() as patch:
        patch.setattr("core.jobs.lease.Lease.decide", _raise(Killed()))
        with pytest.raises(Killed):
            worker.drive(task_id)
    assert tenant.services.namespaces.deletion_of(tenant.scope, "default") is None
    assert drive_to_the_end(tenant, worker, task_id).state is JobState.SUCCEEDED


def test_two_requests_at_once_make_one_deletion(tenant: Tenant) -> None:
    ids = SeededIds("op_1")
    services = tenant.services
    first = services.namespaces.begin_deletion(tenant.scope, tenant.scope.namespace_id, ids(Prefix.OPERATION), "a")
    assert first is not None
    assert services.namespaces.begin_deletion(tenant.scope, tenant.scope.namespace_id, "op_other", "b") is None


def _raise(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail
