"""What each noun of the API does: buckets, collections, batches, tasks, retrievers, webhooks."""

import base64
from collections.abc import Callable
from typing import Any

import pytest

from core.jobs.job import Decision, JobError, JobState
from core.jobs.waiting import tell_waiting
from core.retrievers.executions import job_id_of
from tests.claiming import claimed
from tests.integration.bodies import BUCKET, SEARCH_STAGE, WEBHOOK, collection_body, corpus, retriever_body
from tests.integration.conftest import Tenant
from tests.security_page import LLM_STAGE

# Buckets and objects ----------------------------------------------------------------------------------


def test_an_object_keeps_extra_keys_as_data_and_its_bytes_in_the_object_storage(tenant: Tenant) -> None:
    ids = corpus(tenant)
    shown = tenant.get(f"/v1/buckets/{ids['bucket_id']}/objects/{ids['object_id']}").get_json()
    assert shown["author"] == "Ada"
    assert shown["blobs"][0]["size_bytes"] == len("Ships carry cranes.")
    stored, missing = tenant.services.buckets.object_references(
        tenant.scope, ids["bucket_id"], [ids["object_id"], "obj_none"]
    )
    assert missing == ["obj_none"]
    assert tenant.services.blobs.get(stored[0].blobs[0].blob_key) == b"Ships carry cranes."
    bucket = tenant.get("/v1/buckets/papers").get_json()
    assert (bucket["object_count"], bucket["total_size_bytes"]) == (1, len("Ships carry cranes."))


def test_deleting_an_object_removes_its_bytes_and_a_second_time_is_404(tenant: Tenant) -> None:
    ids = corpus(tenant)
    path = f"/v1/buckets/{ids['bucket_id']}/objects/{ids['object_id']}"
    deleted = tenant.call("DELETE", path)
    assert (deleted.status_code, deleted.data) == (204, b"")
    assert tenant.call("DELETE", path).status_code == 404
    assert not list((tenant.services.settings.data / "blobs").rglob(f"*{ids['object_id']}*/0-*"))


def test_an_object_is_found_in_its_own_bucket_only(tenant: Tenant) -> None:
    ids = corpus(tenant)
    tenant.created("/v1/buckets", {"bucket_name": "other", "schema": {}})
    path = f"/v1/buckets/other/objects/{ids['object_id']}"
    assert tenant.get(path).status_code == 404
    assert tenant.call("DELETE", path).status_code == 404
    assert tenant.get(f"/v1/buckets/{ids['bucket_id']}/objects/{ids['object_id']}").status_code == 200


def test_a_batch_of_objects_takes_the_good_ones_and_names_the_bad(tenant: Tenant) -> None:
    bucket_id = tenant.created("/v1/buckets", {"bucket_name": "mixed", "schema": {"properties": {}}})["bucket_id"]
    pdf = base64.b64encode(b"%PDF-1.4").decode()
    objects = [
        {"blobs": [{"property": "content", "type": "text", "data": "fine"}]},
        {"blobs": [{"property": "content", "type": "text", "data": "https://example.com/file.txt"}]},
        {"blobs": [{"property": "content", "type": "pdf", "data": pdf}], "metadata": {"year": 2026}},
        {"blobs": [{"property": "content", "type": "pdf", "data": "not base64!"}]},
        {"blobs": [{"property": "content", "type": "hologram", "data": "x"}]},
    ]
    answer = tenant.created(f"/v1/buckets/{bucket_id}/objects/batch", {"objects": objects})
    assert [item["object_index"] for item in answer["succeeded"]] == [0, 2]
    assert [item["object_index"] for item in answer["failed"]] == [1, 3, 4]
    assert "URLs are not fetched yet" in answer["failed"][0]["error"]
    assert (answer["total_requested"], answer["succeeded_count"], answer["failed_count"]) == (5, 2, 3)
    assert answer["succeeded"][1]["metadata"] == {"year": 2026}


def test_the_bucket_schema_is_held_against_objects(tenant: Tenant) -> None:
    properties = {"content": {"type": "text", "required": True}, "scan": {"type": "pdf"}}
    tenant.created("/v1/buckets", {"bucket_name": "strict", "bucket_schema": {"properties": properties}})
    blob = {"property": "scan", "type": "text", "data": "x"}
    response = tenant.post("/v1/buckets/strict/objects", {"blobs": [blob]})
    locations = [item["location"] for item in response.get_json()["error"]["details"]["validation_errors"]]
    assert (response.status_code, locations) == (422, [["blobs", 0, "type"], ["content"]])


def test_a_list_is_paged_to_its_end_without_a_gap_or_a_repetition(tenant: Tenant) -> None:
    bucket_id = tenant.created("/v1/buckets", {"bucket_name": "many", "schema": {}})["bucket_id"]
    objects = [{"blobs": [{"property": "n", "type": "text", "data": str(number)}]} for number in range(25)]
    # made in one request, so in one millisecond: only counting tells them apart
    made = tenant.created(f"/v1/buckets/{bucket_id}/objects/batch", {"objects": objects})["succeeded"]
    path, seen, cursor = f"/v1/buckets/{bucket_id}/objects/list", [], ""
    for _ in range(3):
        page = tenant.post(f"{path}?limit=10&cursor={cursor}").get_json()
        seen += [item["object_id"] for item in page["results"]]
        cursor = page["pagination"]["next_cursor"]
    assert cursor is None
    assert page["pagination"]["total"] == 25
    assert sorted(seen) == sorted(item["object_id"] for item in made)
    first = tenant.post(f"{path}?limit=10").get_json()["pagination"]
    assert (first["total"], first["next_page"], first["previous_page"]) == (None, "2", None)
    assert tenant.post(f"{path}?limit=10&include_total=true").get_json()["pagination"]["total"] == 25
    third = tenant.post(f"{path}?page_size=10&page=3").get_json()
    assert [item["object_id"] for item in third["results"]] == seen[20:]
    for bad in ("limit=0", "limit=x", "cursor=zzz", "cursor=1-2", "offset=-1"):
        assert tenant.post(f"{path}?{bad}").status_code == 422


def test_a_page_number_beyond_what_can_be_reached_is_refused_and_not_another_page(tenant: Tenant) -> None:
    assert tenant.get("/v1/buckets?limit=1000&page=11").status_code == 200
    assert tenant.get("/v1/buckets?limit=1000&page=12").status_code == 422


def test_names_are_taken_once_in_a_namespace(tenant: Tenant) -> None:
    corpus(tenant)
    again = tenant.post("/v1/buckets", BUCKET)
    assert (again.status_code, again.get_json()["error"]["type"]) == (409, "AlreadyExistsError")


# Collections and batches ------------------------------------------------------------------------------


def test_a_collection_is_shown_as_published(tenant: Tenant) -> None:
    ids = corpus(tenant)
    shown = tenant.get("/v1/collections/chunks").get_json()
    assert shown["feature_extractor"]["feature_extractor_id"] == "text_extractor_v1"
    assert shown["input_schema"]["properties"]["content"]["type"] == "text"
    assert shown["output_schema"]["properties"]
    assert shown["source"] == {"type": "bucket", "bucket_ids": [ids["bucket_id"]]}


@pytest.mark.parametrize(
    ("change", "location"),
    [
        ({"feature_extractor": {"feature_extractor_name": "hologram"}}, "feature_extractor"),
        ({"source": {"type": "bucket", "bucket_ids": ["bkt_none"]}}, "source"),
        ({"source": {"type": "taxonomy"}}, "source"),
        ({"collection_name": "ab"}, "collection_name"),
    ],
)
def test_a_collection_that_could_not_work_is_refused(tenant: Tenant, change: dict[str, Any], location: str) -> None:
    bucket_id = tenant.created("/v1/buckets", BUCKET)["bucket_id"]
    response = tenant.post("/v1/collections", {**collection_body(bucket_id), **change})
    assert response.status_code == 422
    assert response.get_json()["error"]["details"]["validation_errors"][0]["location"][0] == location


def test_documents_replace_those_of_an_earlier_run(tenant: Tenant) -> None:
    ids = corpus(tenant)
    collections = tenant.services.collections

    def write(count: int) -> None:
        documents = [
            {"document_id": f"doc_{number}", "source_object_id": "obj_1", "chunk_index": number, "text": "…"}
            for number in range(count)
        ]
        collections.replace_documents(tenant.scope, ids["collection_id"], {"obj_1": count}, documents)

    write(3)
    write(2)
    path = f"/v1/collections/{ids['collection_id']}/documents"
    listed = tenant.post(f"{path}/list").get_json()
    assert sorted(item["document_id"] for item in listed["results"]) == ["doc_0", "doc_1"]
    shown = tenant.get(f"{path}/doc_1").get_json()
    assert (shown["text"], shown["root_object_id"], shown["chunk_index"]) == ("…", "obj_1", 1)


def test_a_batch_is_a_draft_until_it_is_submitted_once(tenant: Tenant) -> None:
    ids = corpus(tenant)
    path = f"/v1/buckets/{ids['bucket_id']}/batches"
    batch = tenant.created(path, {"object_ids": [ids["object_id"]]})
    assert (batch["status"], batch["task_id"], batch["collection_ids"]) == ("DRAFT", None, [ids["collection_id"]])
    task = tenant.created(f"{path}/{batch['batch_id']}/submit", {})
    assert (task["task_type"], task["status"]) == ("api_buckets_batches_process", "PENDING")
    assert task["additional_data"]["batch_id"] == batch["batch_id"]
    again = tenant.post(f"{path}/{batch['batch_id']}/submit")
    assert again.status_code == 409
    assert again.get_json()["error"]["details"]["task_id"] == task["task_id"]
    assert tenant.services.ledger.balance(tenant.scope).held == 1000
    stopped = tenant.call("DELETE", f"/v1/tasks/{task['task_id']}")
    assert stopped.data == tenant.call("DELETE", "/v1/tasks/task_none").data
    assert tenant.get(f"{path}/{batch['batch_id']}").get_json()["status"] == "PROCESSING"


def test_a_batch_of_more_extractions_than_a_job_can_note_is_refused(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = corpus(tenant)
    path = f"/v1/buckets/{ids['bucket_id']}/batches"
    monkeypatch.setattr("api.routes.batches.MAX_BATCH_PAIRS", 1)
    assert tenant.post(path, {"object_ids": [ids["object_id"]]}).status_code == 200
    other = {"blobs": [{"property": "content", "type": "text", "data": "More."}]}
    second = tenant.created(f"/v1/buckets/{ids['bucket_id']}/objects", other)["object_id"]
    assert tenant.post(path, {"object_ids": [ids["object_id"], second]}).status_code == 422


def test_a_batch_names_what_is_missing(tenant: Tenant) -> None:
    ids = corpus(tenant)
    path = f"/v1/buckets/{ids['bucket_id']}/batches"
    bodies: list[dict[str, Any]] = [
        {"object_ids": ["obj_none"]},
        {"object_ids": []},
        {"object_ids": [ids["object_id"]], "collection_ids": ["col_none"]},
    ]
    for body in bodies:
        assert tenant.post(path, body).status_code == 422


def test_a_submission_without_credits_is_refused_and_leaves_a_draft(new_tenant: Callable[..., Tenant]) -> None:
    poor = new_tenant(credits=0)
    ids = corpus(poor)
    path = f"/v1/buckets/{ids['bucket_id']}/batches"
    batch_id = poor.created(path, {"object_ids": [ids["object_id"]]})["batch_id"]
    refused = poor.post(f"{path}/{batch_id}/submit")
    error = refused.get_json()["error"]
    assert (refused.status_code, error["type"], error["code"]) == (403, "QuotaExceededError", "insufficient_credits")
    assert error["details"] == {"required": 1, "available": 0, "retryable": False}
    assert poor.get(f"{path}/{batch_id}").get_json()["status"] == "DRAFT"


# Tasks ------------------------------------------------------------------------------------------------


def test_tasks_are_listed_by_status_type_and_namespace(tenant: Tenant) -> None:
    tenant.created("/v1/namespaces", {"namespace_name": "second"})
    retriever_id = tenant.created("/v1/retrievers", retriever_body())["retriever_id"]
    body = {"inputs": {"query": "?"}}
    task_id = tenant.post(f"/v1/retrievers/{retriever_id}/execute", body, Prefer="respond-async").get_json()["task_id"]

    def listed(asked: dict[str, str], **headers: str) -> list[str]:
        return [task["task_id"] for task in tenant.post("/v1/tasks/list", asked, **headers).get_json()["results"]]

    assert listed({"status": "PENDING", "task_type": "api_retrievers_execute"}) == [task_id]
    assert listed({"status": "COMPLETED"}) == []
    assert listed({}, X_Namespace="second") == []
    assert tenant.post("/v1/tasks/list", {"status": "SLEEPING"}).status_code == 422


# Retrievers -------------------------------------------------------------------------------------------


def test_the_example_of_the_seed_page_is_accepted_and_stored(tenant: Tenant) -> None:
    shown = tenant.created("/v1/retrievers", {"retriever_name": "seed", "stages": [LLM_STAGE]})
    read = tenant.get(f"/v1/retrievers/{shown['retriever_id']}").get_json()
    stage = read["stages"][0]
    assert stage["config"] == {"stage_id": "llm_enrich", "parameters": LLM_STAGE["parameters"]}
    assert stage["parameters"] == LLM_STAGE["parameters"]
    assert read["retriever"]["retriever_id"] == shown["retriever_id"]


def test_a_retriever_takes_both_stage_shapes_and_both_forms_of_its_inputs(tenant: Tenant) -> None:
    nested = {"stage_name": "find", "config": {key: SEARCH_STAGE[key] for key in ("stage_id", "parameters")}}
    wrapped = {"properties": {"query": {"type": "string"}}, "required": ["query"]}
    ids = corpus(tenant)
    body = retriever_body(stages=[nested], input_schema=wrapped, collection_ids=["chunks"])
    shown = tenant.created("/v1/retrievers", body)
    assert shown["stages"][0]["stage_name"] == "find"
    assert shown["input_schema"]["query"] == {"type": "string", "required": True}
    assert shown["collection_ids"] == [ids["collection_id"]]
    assert tenant.post("/v1/retrievers", retriever_body(collection_identifiers=["none"])).status_code == 422


def test_an_asynchronous_execution_answers_with_a_task(tenant: Tenant) -> None:
    tenant.created("/v1/retrievers", retriever_body())
    response = tenant.post(
        "/v1/retrievers/answers/execute", {"inputs": {"query": "?"}, "limit": 3}, Prefer="respond-async"
    )
    task = response.get_json()
    assert response.status_code == 202
    assert response.headers["Preference-Applied"] == "respond-async"
    assert response.headers["Location"] == f"/v1/tasks/{task['task_id']}"
    assert tenant.get(response.headers["Location"]).get_json()["status"] == "PENDING"
    job = tenant.services.jobs.get(tenant.scope, task["task_id"])
    assert (job.spec["limit"], job.spec["inputs"], job.awaited) == (3, {"query": "?"}, False)
    assert job_id_of(task["additional_data"]["execution_id"]) == task["task_id"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"inputs": {"query": 7}},
        {"inputs": {"query": "?"}, "limit": 501},
        {"inputs": {"query": "?"}, "limit": "5"},
        {"inputs": {"query": "?"}, "filters": {"field": "a", "operator": "eq", "value": 1}},
        {"inputs": {"query": "?"}, "stream": True},
        {"inputs": {"query": "?"}, "pagination": {"method": "offset", "offset": 5}},
    ],
)
def test_an_execution_that_could_not_be_answered_truly_is_refused(tenant: Tenant, body: dict[str, Any]) -> None:
    tenant.created("/v1/retrievers", retriever_body())
    assert tenant.post("/v1/retrievers/answers/execute", body).status_code == 422
    assert tenant.services.ledger.balance(tenant.scope).held == 0


def _end(tenant: Tenant, job_id: str, decision: Decision) -> None:
    """Drive a job to its end as a worker does, without stages."""
    lease = claimed(tenant.services.queue, job_id, f"test:{job_id}")
    assert lease is not None
    lease.decide(decision)
    lease.finish(decision, ())
    tell_waiting(tenant.services.redis, tenant.scope.namespace_id, job_id)


def test_a_synchronous_execution_that_takes_too_long_answers_202_and_can_be_read_later(tenant: Tenant) -> None:
    tenant.created("/v1/retrievers", retriever_body())
    response = tenant.post("/v1/retrievers/answers/execute", {"inputs": {"query": "?"}})
    assert response.status_code == 202
    execution_id = response.get_json()["additional_data"]["execution_id"]
    path = f"/v1/retrievers/answers/executions/{execution_id}"
    assert tenant.get(path).get_json()["status"] == "pending"
    result = {
        "documents": [{"document_id": "doc_1", "score": 0.5}],
        "stage_statistics": {"stages": {}, "total_time_ms": 3},
    }
    tenant.services.executions.save(tenant.scope, f"{execution_id}.1", result)
    _end(
        tenant,
        job_id_of(execution_id),
        Decision(JobState.SUCCEEDED, charge=100, result={"execution_doc": f"{execution_id}.1"}),
    )
    shown = tenant.get(path).get_json()
    assert (shown["status"], shown["documents"]) == ("completed", result["documents"])
    assert shown["stage_statistics"] == {"stages": {}, "total_time_ms": 3, "credits_used": 0.1}


def test_an_execution_is_found_under_its_own_retriever_only(tenant: Tenant) -> None:
    tenant.created("/v1/retrievers", retriever_body())
    tenant.created("/v1/retrievers", retriever_body(retriever_name="other"))
    task = tenant.post("/v1/retrievers/answers/execute", {"inputs": {"query": "?"}}, Prefer="respond-async").get_json()
    execution_id = task["additional_data"]["execution_id"]
    assert tenant.get(f"/v1/retrievers/answers/executions/{execution_id}").status_code == 200
    assert tenant.get(f"/v1/retrievers/other/executions/{execution_id}").status_code == 404


def test_a_failed_execution_says_why_with_status_200(tenant: Tenant) -> None:
    tenant.created("/v1/retrievers", retriever_body())
    accepted = tenant.post("/v1/retrievers/answers/execute", {"inputs": {"query": "?"}}, Idempotency_Key="k")
    error = JobError("stage_unavailable", "This stage is not available in this version of Keystage.")
    _end(tenant, accepted.get_json()["task_id"], Decision(JobState.FAILED, error=error))
    execution_id = accepted.get_json()["additional_data"]["execution_id"]
    response = tenant.get(f"/v1/retrievers/answers/executions/{execution_id}")
    shown = response.get_json()
    assert (response.status_code, shown["status"], shown["error_code"]) == (200, "failed", "stage_unavailable")
    task = tenant.get(f"/v1/tasks/{accepted.get_json()['task_id']}").get_json()
    assert (task["status"], task["error"]) == ("FAILED", error.message)


# Webhooks ---------------------------------------------------------------------------------------------


def test_a_webhook_is_made_shown_changed_and_removed(tenant: Tenant) -> None:
    made = tenant.created("/v1/organizations/webhooks", WEBHOOK)
    assert made["signing_secret"].startswith("whsec_")
    path = f"/v1/organizations/webhooks/{made['webhook_id']}"
    shown = tenant.get(path).get_json()
    assert "signing_secret" not in shown
    assert shown["channels"][0]["configs"]["signing_secret"] == "redacted"
    changed = tenant.call("PUT", path, {**WEBHOOK, "webhook_name": "renamed", "is_active": False}).get_json()
    assert (changed["webhook_name"], changed["is_active"]) == ("renamed", False)
    assert tenant.post("/v1/organizations/webhooks/list", {"is_active": False}).get_json()["total"] == 1
    assert tenant.post("/v1/organizations/webhooks/list", {"is_active": True}).get_json()["total"] == 0
    assert tenant.get(f"{path}/deliveries").get_json()["results"] == []
    assert [tenant.call("DELETE", path).status_code for _ in range(2)] == [204, 204]
    assert tenant.get(path).status_code == 404


def test_creating_a_webhook_answers_201_on_the_trailing_slash_alone(tenant: Tenant) -> None:
    assert tenant.post("/v1/organizations/webhooks/", WEBHOOK).status_code == 201
    assert tenant.post("/v1/organizations/webhooks", WEBHOOK).status_code == 200


def test_a_webhook_that_could_not_work_is_refused(tenant: Tenant) -> None:
    mail = [{"channel": "email", "configs": {"to_addresses": ["a@example.com"]}}]
    ftp = [{"channel": "webhook", "configs": {"url": "ftp://example.com"}}]
    changes: list[dict[str, Any]] = [
        {"channels": mail},
        {"channels": ftp},
        {"event_types": ["batch.completed"]},
        {"event_types": []},
    ]
    for change in changes:
        assert tenant.post("/v1/organizations/webhooks", {**WEBHOOK, **change}).status_code == 422
