"""One Idempotency-Key, one effect, one answer: whatever is repeated, in whatever order, and wherever a process dies."""

import hashlib
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from core.bootstrap import Services
from core.credits.entry import Balance, EntryKind, hold_id_of
from core.idempotency.record import (
    MAX_BODY_BYTES,
    Claimed,
    InProgress,
    Mismatch,
    SavedResponse,
    UsedKey,
    request_digest,
)
from core.idempotency.store import IdempotencyStore
from core.ids import Prefix, SeededIds
from core.storage.keyring import Keyring
from core.tenancy.permissions import Permission
from core.tenancy.tenant import Environment
from tests.integration.bodies import BUCKET, WEBHOOK, corpus, retriever_body
from tests.integration.conftest import Tenant
from tests.tenants import new_key

EXECUTE = "/v1/retrievers/answers/execute"
QUESTION: dict[str, Any] = {"inputs": {"query": "?"}}


def records(tenant: Tenant) -> list[dict[str, Any]]:
    return list(tenant.services.handles.organization(tenant.scope)["idempotency"].find({}))


def crashed(tenant: Tenant, route: str, path: str, body: bytes, namespaced: bool = True) -> SeededIds:
    """Claim the key `k` as a process that dies before it answers; the ids of its operation."""
    namespace_id = tenant.scope.namespace_id if namespaced else None
    key = UsedKey("k", route, path, namespace_id)
    claim = tenant.services.idempotency.claim(tenant.scope, key, request_digest("", body))
    assert isinstance(claim, Claimed)
    return SeededIds(claim.operation_id)


def expire_leases(tenant: Tenant) -> None:
    past = tenant.services.clock.now() - timedelta(seconds=1)
    tenant.services.handles.organization(tenant.scope)["idempotency"].update_many({}, {"$set": {"lease_until": past}})


def raw(tenant: Tenant, path: str, body: bytes) -> Any:
    headers = {**tenant.headers, "Content-Type": "application/json", "Idempotency-Key": "k"}
    return tenant.client.post(path, data=body, headers=headers)


def test_a_repetition_gets_the_first_answer_and_changes_nothing(tenant: Tenant) -> None:
    first = tenant.post("/v1/buckets", BUCKET, Idempotency_Key="k")
    again = tenant.post("/v1/buckets", BUCKET, Idempotency_Key="k")
    assert (again.status_code, again.data) == (first.status_code, first.data)
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert tenant.get("/v1/buckets").get_json()["total_count"] == 1


def test_a_replayed_execution_keeps_its_location_and_starts_no_second_job(tenant: Tenant) -> None:
    tenant.created("/v1/retrievers", retriever_body())
    first, again = (tenant.post(EXECUTE, QUESTION, Idempotency_Key="k", Prefer="respond-async") for _ in range(2))
    assert (again.status_code, again.data) == (202, first.data)
    assert again.headers["Location"] == first.headers["Location"]
    assert tenant.post("/v1/tasks/list").get_json()["total"] == 1
    assert tenant.services.ledger.balance(tenant.scope).held == 100


@pytest.mark.parametrize("change", ["body", "query"])
def test_the_same_key_with_another_request_is_422(tenant: Tenant, change: str) -> None:
    tenant.created("/v1/buckets", BUCKET, Idempotency_Key="k")
    body = {**BUCKET, "bucket_name": "other"} if change == "body" else BUCKET
    response = tenant.post(f"/v1/buckets{'?a=1' if change == 'query' else ''}", body, Idempotency_Key="k")
    assert response.status_code == 422
    assert response.get_json()["error"]["details"]["validation_errors"][0]["type"] == "idempotency_mismatch"


def test_a_key_belongs_to_one_organization_and_one_route(new_tenant: Callable[..., Tenant]) -> None:
    one, other = new_tenant(), new_tenant()
    assert one.created("/v1/buckets", BUCKET, Idempotency_Key="k") != other.created(
        "/v1/buckets", BUCKET, Idempotency_Key="k"
    )
    assert one.post("/v1/namespaces", {"namespace_name": "second"}, Idempotency_Key="k").status_code == 200


def test_a_key_belongs_to_one_namespace(tenant: Tenant) -> None:
    tenant.created("/v1/namespaces", {"namespace_name": "second"})
    first = tenant.created("/v1/buckets", BUCKET, Idempotency_Key="k")
    second = tenant.created("/v1/buckets", BUCKET, Idempotency_Key="k", X_Namespace="second")
    assert first["bucket_id"] != second["bucket_id"]
    for namespace, made in (("default", first), ("second", second)):
        again = tenant.post("/v1/buckets", BUCKET, Idempotency_Key="k", X_Namespace=namespace)
        assert (again.headers["Idempotent-Replayed"], again.get_json()) == ("true", made)
        assert [one["bucket_id"] for one in tenant.get("/v1/buckets", X_Namespace=namespace).get_json()["results"]] == [
            made["bucket_id"]
        ]


def test_a_key_belongs_to_one_resource(tenant: Tenant) -> None:
    buckets = [tenant.created("/v1/buckets", {**BUCKET, "bucket_name": name})["bucket_id"] for name in ("a", "b")]
    blob = {"property": "content", "type": "text", "data": "Ships carry cranes."}
    paths = [f"/v1/buckets/{bucket_id}/objects" for bucket_id in buckets]
    made = [tenant.created(path, {"blobs": [blob]}, Idempotency_Key="k")["object_id"] for path in paths]
    again = [tenant.post(path, {"blobs": [blob]}, Idempotency_Key="k") for path in paths]
    assert [answer.get_json()["object_id"] for answer in again] == made
    assert {answer.headers["Idempotent-Replayed"] for answer in again} == {"true"}
    assert len(set(made)) == 2
    # users of an organization, too, and what is done to each of several secrets
    for name in ("one", "two"):
        tenant.created("/v1/organizations/secrets", {"secret_name": name, "secret_value": "a long value"})
        rolled = tenant.post(f"/v1/organizations/secrets/{name}/rollback", {"version": 1}, Idempotency_Key="k")
        assert (rolled.status_code, rolled.get_json()["secret_name"]) == (200, name)


def test_an_answer_is_not_repeated_to_a_key_that_may_do_less(tenant: Tenant) -> None:
    dev = new_key(tenant.services, tenant.scope, Permission.ADMIN, environment=Environment.DEV).text
    body = {"namespace_name": "production", "environment": "prod"}
    tenant.created("/v1/namespaces", body, Idempotency_Key="k", X_Namespace="")
    refused = [
        tenant.post("/v1/namespaces", body, Authorization=f"Bearer {dev}", X_Namespace="", Idempotency_Key=key)
        for key in ("another", "k")
    ]
    assert [answer.status_code for answer in refused] == [403, 422]
    # whoever may do the same is whoever rotated the key meanwhile
    same = new_key(tenant.services, tenant.scope, Permission.ADMIN).text
    again = tenant.post("/v1/namespaces", body, Authorization=f"Bearer {same}", X_Namespace="", Idempotency_Key="k")
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")


@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 256, "tab\tbed"])
def test_a_malformed_key_is_400(tenant: Tenant, key: str) -> None:
    assert tenant.post("/v1/buckets", BUCKET, Idempotency_Key=key).status_code == 400


def test_while_the_first_request_is_handled_a_second_is_409(tenant: Tenant) -> None:
    crashed(tenant, "buckets.create", "/v1/buckets", b"{}")
    response = raw(tenant, "/v1/buckets", b"{}")
    assert (response.status_code, response.headers["Retry-After"]) == (409, "1")


def test_nothing_is_kept_of_a_request_that_was_not_valid_or_not_allowed(new_tenant: Callable[..., Tenant]) -> None:
    poor = new_tenant(credits=0)
    assert poor.post("/v1/buckets", {"bucket_name": 7}, Idempotency_Key="k").status_code == 422
    assert poor.created("/v1/buckets", BUCKET, Idempotency_Key="k")["bucket_name"] == "papers"
    poor.created("/v1/retrievers", retriever_body())
    assert poor.post(EXECUTE, QUESTION, Idempotency_Key="k").status_code == 403
    poor.services.ledger.grant(poor.scope, "grant:later", 1000)
    assert poor.post(EXECUTE, QUESTION, Idempotency_Key="k", Prefer="respond-async").status_code == 202


def test_a_lasting_refusal_is_replayed(tenant: Tenant) -> None:
    tenant.created("/v1/buckets", BUCKET)
    first, again = (tenant.post("/v1/buckets", BUCKET, Idempotency_Key="k") for _ in range(2))
    assert (first.status_code, first.data) == (409, again.data)
    assert again.headers["Idempotent-Replayed"] == "true"


def test_after_a_5xx_the_same_key_goes_on_at_once_with_the_same_ids(tenant: Tenant) -> None:
    bucket_id = tenant.created("/v1/buckets", {"bucket_name": "b", "schema": {}})["bucket_id"]
    path, body = f"/v1/buckets/{bucket_id}/objects", {"blobs": [{"property": "p", "type": "text", "data": "x"}]}
    blobs = tenant.services.settings.data / "blobs"
    shutil.move(blobs, blobs.with_name("away"))
    blobs.touch()
    try:
        failed = tenant.post(path, body, Idempotency_Key="k")
    finally:
        blobs.unlink()
        shutil.move(blobs.with_name("away"), blobs)
    assert (failed.status_code, failed.headers["Retry-After"]) == (503, "1")
    [record] = records(tenant)
    made = tenant.created(path, body, Idempotency_Key="k")
    assert made["object_id"] == SeededIds(record["op_id"])(Prefix.OBJECT)


def test_a_crash_after_the_effect_is_repaired_by_the_retry(tenant: Tenant) -> None:
    body = b'{"bucket_name": "papers", "schema": {}}'
    new_id = crashed(tenant, "buckets.create", "/v1/buckets", body)
    made = tenant.services.buckets.create(tenant.scope, new_id(Prefix.BUCKET), "papers", properties={})
    expire_leases(tenant)
    response = raw(tenant, "/v1/buckets", body)
    assert (response.status_code, response.get_json()["bucket_id"]) == (200, made.bucket_id)
    assert tenant.get("/v1/buckets").get_json()["total_count"] == 1
    assert raw(tenant, "/v1/buckets", body).headers["Idempotent-Replayed"] == "true"


def test_an_execution_that_crashed_anywhere_on_its_way_is_one_job_with_one_hold(tenant: Tenant) -> None:
    tenant.created("/v1/retrievers", retriever_body())
    body = b'{"inputs": {"query": "?"}}'
    job_id = crashed(tenant, "retrievers.execute", EXECUTE, body)(Prefix.TASK)
    # died between hold and record
    tenant.services.ledger.hold(tenant.scope, job_id, 100)
    expire_leases(tenant)
    first = raw(tenant, EXECUTE, body)
    assert (first.status_code, first.get_json()["task_id"]) == (202, job_id)
    # died between record and answer
    tenant.services.handles.organization(tenant.scope)["idempotency"].update_many({}, {"$set": {"state": "running"}})
    expire_leases(tenant)
    assert raw(tenant, EXECUTE, body).get_json()["task_id"] == job_id
    assert tenant.post("/v1/tasks/list").get_json()["total"] == 1
    assert tenant.services.ledger.balance(tenant.scope).held == 100


def test_a_job_whose_first_hold_was_released_as_an_orphan_is_recorded_on_a_fresh_one(tenant: Tenant) -> None:
    tenant.created("/v1/retrievers", retriever_body())
    body = b'{"inputs": {"query": "?"}}'
    job_id = crashed(tenant, "retrievers.execute", EXECUTE, body)(Prefix.TASK)
    ledger = tenant.services.ledger
    for number in (1, 2):
        # died between hold and record, again and again; each time the sweeper came before the retry
        ledger.release(tenant.scope, ledger.hold(tenant.scope, hold_id_of(job_id, number), 100))
    expire_leases(tenant)
    assert raw(tenant, EXECUTE, body).get_json()["task_id"] == job_id
    job = tenant.services.jobs.get(tenant.scope, job_id)
    assert [entry.kind for entry in ledger.entries_of(tenant.scope, job.hold_id)] == [EntryKind.HOLD]
    assert tenant.services.queue.holds_of([job_id]) == {hold_id_of(job_id, 3)}
    assert ledger.balance(tenant.scope).held == 100


def test_a_submission_that_is_repeated_after_its_job_ended_takes_no_second_hold(tenant: Tenant) -> None:
    tenant.created("/v1/retrievers", retriever_body())
    first = tenant.post(EXECUTE, QUESTION, Idempotency_Key="k").get_json()
    ledger, scope = tenant.services.ledger, tenant.scope
    (hold,) = ledger.entries_of(scope, tenant.services.jobs.get(scope, first["task_id"]).hold_id)
    ledger.capture(scope, hold, 60)
    # died between record and answer
    tenant.services.handles.organization(scope)["idempotency"].update_many({}, {"$set": {"state": "running"}})
    expire_leases(tenant)
    assert tenant.post(EXECUTE, QUESTION, Idempotency_Key="k").get_json()["task_id"] == first["task_id"]
    assert ledger.balance(scope) == Balance(1_000_000 - 60, 0)


def test_a_submission_that_crashed_after_its_job_was_recorded_is_not_taken_for_a_second_one(tenant: Tenant) -> None:
    ids = corpus(tenant)
    path = f"/v1/buckets/{ids['bucket_id']}/batches"
    batch_id = tenant.created(path, {"object_ids": [ids["object_id"]]})["batch_id"]
    submit = f"{path}/{batch_id}/submit"
    first = tenant.created(submit, {}, Idempotency_Key="k")
    tenant.services.handles.organization(tenant.scope)["idempotency"].update_many({}, {"$set": {"state": "running"}})
    expire_leases(tenant)
    assert tenant.created(submit, {}, Idempotency_Key="k")["task_id"] == first["task_id"]
    assert tenant.post(submit, {}, Idempotency_Key="other").status_code == 409
    assert tenant.services.ledger.balance(tenant.scope).held == 1000


def test_a_secret_that_we_make_is_shown_once_and_stored_in_no_answer(tenant: Tenant) -> None:
    first = tenant.created("/v1/organizations/webhooks", WEBHOOK, Idempotency_Key="k")
    again = tenant.created("/v1/organizations/webhooks", WEBHOOK, Idempotency_Key="k")
    assert first["signing_secret"].startswith("whsec_")
    assert (again["webhook_id"], again["signing_secret"], again["already_issued"]) == (first["webhook_id"], None, True)
    assert first["signing_secret"].encode() not in bytes(records(tenant)[0]["body"])
    # and a retry after a crash does not make a second one
    tenant.services.handles.organization(tenant.scope)["idempotency"].update_many({}, {"$set": {"state": "running"}})
    expire_leases(tenant)
    rebuilt = tenant.created("/v1/organizations/webhooks", WEBHOOK, Idempotency_Key="k")
    assert (rebuilt["webhook_id"], rebuilt["signing_secret"]) == (first["webhook_id"], None)
    assert tenant.post("/v1/organizations/webhooks/list").get_json()["total"] == 1


def test_a_key_whose_time_is_up_is_free_again(tenant: Tenant) -> None:
    tenant.created("/v1/buckets", BUCKET, Idempotency_Key="k")
    past = tenant.services.clock.now() - timedelta(seconds=1)
    tenant.services.handles.organization(tenant.scope)["idempotency"].update_many({}, {"$set": {"expires_at": past}})
    other = tenant.created("/v1/buckets", {**BUCKET, "bucket_name": "other"}, Idempotency_Key="k")
    assert other["bucket_name"] == "other"


def test_a_large_answer_is_not_kept_and_made_again_from_the_same_records(tenant: Tenant) -> None:
    bucket_id = tenant.created("/v1/buckets", {"bucket_name": "b", "schema": {}})["bucket_id"]
    path, body = f"/v1/buckets/{bucket_id}/objects/batch", {"objects": [{"note": "x" * (MAX_BODY_BYTES // 2)}] * 3}
    first = tenant.created(path, body, Idempotency_Key="k")
    assert "body" not in records(tenant)[0]
    again = tenant.created(path, body, Idempotency_Key="k")
    assert [item["object_id"] for item in again["succeeded"]] == [item["object_id"] for item in first["succeeded"]]
    assert tenant.get(f"/v1/buckets/{bucket_id}").get_json()["object_count"] == 3


def test_of_many_at_once_one_makes_the_record(tenant: Tenant) -> None:
    def send(_: int) -> tuple[int, bytes]:
        client = tenant.client.application.test_client()
        headers = {**tenant.headers, "Idempotency-Key": "k"}
        response = client.post("/v1/buckets", json=BUCKET, headers=headers)
        return response.status_code, response.data

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(16)))
    assert {status for status, _ in answers} <= {200, 409}
    assert len({data for status, data in answers if status == 200}) == 1
    assert tenant.get("/v1/buckets").get_json()["total_count"] == 1


def test_only_one_of_two_takes_over_a_dead_request(tenant: Tenant) -> None:
    store = tenant.services.idempotency
    crashed(tenant, "r", "/p", b"")
    expire_leases(tenant)
    key = UsedKey("k", "r", "/p", tenant.scope.namespace_id)
    claims = [store.claim(tenant.scope, key, request_digest("", b"")) for _ in range(2)]
    assert isinstance(claims[0], Claimed)
    assert isinstance(claims[1], InProgress)
    # the slow first request saves as well: the answer is of the same operation
    assert store.save(tenant.scope, key, SavedResponse(200, b"{}"))
    assert not store.save(tenant.scope, key, SavedResponse(500, b"late"))


def test_a_bodys_secret_cannot_be_guessed_from_its_fingerprint_and_a_rotation_changes_nothing(
    tenant: Tenant, services: Services
) -> None:
    digest, key = request_digest("", b'{"secret_value": "hunter22"}'), UsedKey("key-of-a-secret", "r", "/p", None)
    scope = tenant.scope.organization
    first, second = (Keyring("P", [SecretStr(f"{name}:{letter * 43}")]) for name, letter in (("a", "A"), ("b", "B")))
    both = Keyring("P", [SecretStr("b:" + "B" * 43), SecretStr("a:" + "A" * 43)])
    old = IdempotencyStore(services.handles, services.clock, first)
    assert isinstance(old.claim(scope, key, digest), Claimed)
    stored = services.handles.organization(scope)["idempotency"].find_one({"fingerprint_key": "a"})
    assert stored is not None
    assert stored["fingerprint"] not in {digest.hex(), hashlib.sha256(digest).hexdigest()}
    rotated = IdempotencyStore(services.handles, services.clock, both)
    assert isinstance(rotated.claim(scope, key, digest), InProgress)
    forgotten = IdempotencyStore(services.handles, services.clock, second)
    assert isinstance(forgotten.claim(scope, key, digest), Mismatch)
