"""The API over real servers: who may call, what is published, and that nobody meets another tenant's anything."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from pymongo import monitoring

from api.registry import ROUTES, require_registered
from core.bootstrap import Services
from core.jobs.job import Decision, JobError, JobState
from core.jobs.waiting import tell_waiting
from core.retrievers.executions import job_id_of
from core.tenancy.tenant import Permission
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
SEED_STAGE = {
    "stage_type": "apply",
    "stage_id": "llm_enrich",
    "parameters": {
        "provider": "openai",
        "model": "gpt-4o-mini",
        "prompt": "Summarize this document.",
        "output_field": "summary",
        "api_key": "{{secrets.openai_api_key}}",
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
    return {
        "collection_name": "chunks",
        "source": {"type": "bucket", "bucket_ids": [bucket_id]},
        "feature_extractor": {"feature_extractor_name": "text_extractor", "version": "v1"},
    }


def retriever_body(**more: Any) -> dict[str, Any]:
    return {
        "retriever_name": "answers",
        "stages": [SEARCH_STAGE],
        "input_schema": {"query": {"type": "string", "required": True}},
        **more,
    }


# Who may call -----------------------------------------------------------------------------------------


def test_a_request_without_a_valid_key_is_refused_the_same_way_whatever_is_wrong(tenant: Tenant) -> None:
    wrong = [None, "", "Basic abc", "Bearer", "Bearer nonsense", f"Bearer {tenant.key[:-1]}x", "Bearer ks_live_\x01"]
    bodies = set()
    for header in wrong:
        headers = {} if header is None else {"Authorization": header}
        response = tenant.client.get("/v1/buckets", headers={**headers, "X-Request-ID": "same"})
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        bodies.add(response.data)
    assert len(bodies) == 1
    assert json.loads(bodies.pop())["error"]["type"] == "UnauthorizedError"


def test_a_namespaced_route_needs_the_header_and_takes_an_id_or_a_name(tenant: Tenant) -> None:
    without = tenant.client.get("/v1/buckets", headers={"Authorization": tenant.headers["Authorization"]})
    assert (without.status_code, without.get_json()["error"]["type"]) == (400, "BadRequestError")
    assert tenant.get("/v1/buckets", X_Namespace="default").status_code == 200
    assert tenant.get("/v1/buckets", X_Namespace="ns_nobody").status_code == 404


def test_an_organization_route_ignores_a_missing_namespace_and_checks_one_that_is_sent(tenant: Tenant) -> None:
    headers = {"Authorization": tenant.headers["Authorization"]}
    assert tenant.client.post("/v1/tasks/list", headers=headers).status_code == 200
    assert tenant.post("/v1/tasks/list", X_Namespace="ns_nobody").status_code == 404


def test_a_key_may_do_what_its_permission_allows_and_no_more(new_tenant: Callable[..., Tenant]) -> None:
    reader = new_tenant(Permission.READ)
    refused = reader.post("/v1/buckets", BUCKET)
    assert (refused.status_code, refused.get_json()["error"]["type"]) == (403, "ForbiddenError")
    assert reader.get("/v1/buckets").status_code == 200
    assert new_tenant(Permission.DELETE).post("/v1/namespaces", {"namespace_name": "more"}).status_code == 403


def test_every_route_that_needs_a_key_refuses_a_request_without_one(app: Flask) -> None:
    for route in ROUTES:
        if route.permission is not None:
            path = route.rule.replace("<", "").replace(">", "")
            assert app.test_client().open(path, method=route.method).status_code == 401, route.name


def test_an_app_with_a_rule_that_no_route_declares_is_refused(services: Services) -> None:
    from api.app import build_app

    app = build_app(services)
    app.add_url_rule("/v1/backdoor", view_func=lambda: "open", endpoint="backdoor")
    with pytest.raises(ValueError, match="/v1/backdoor"):
        require_registered(app)


# What comes back --------------------------------------------------------------------------------------


def test_a_sane_request_id_is_taken_over_and_any_other_replaced(tenant: Tenant) -> None:
    assert tenant.get("/v1/buckets", X_Request_ID="abc-1").headers["X-Request-ID"] == "abc-1"
    assert tenant.get("/v1/buckets", X_Request_ID="a b").headers["X-Request-ID"].startswith("req_")
    refused = tenant.get("/v1/buckets/none", X_Request_ID="abc-2")
    assert refused.get_json()["request_id"] == "abc-2"


def test_what_the_framework_refuses_has_the_same_envelope(tenant: Tenant) -> None:
    for method, path, status, name in [
        ("GET", "/v1/nothing", 404, "NotFoundError"),
        ("PATCH", "/v1/buckets", 405, "MethodNotAllowedError"),
        ("GET", "/v1//buckets", 404, "NotFoundError"),
        ("GET", "/v1/buckets/", 404, "NotFoundError"),
    ]:
        response = tenant.call(method, path)
        assert (response.status_code, response.get_json()["error"]["type"]) == (status, name)
        assert response.get_json()["success"] is False
        assert response.headers["X-Request-ID"] == response.get_json()["request_id"]


def test_a_body_over_the_cap_is_413(tenant: Tenant) -> None:
    response = tenant.post("/v1/buckets", {"bucket_name": "x" * (1024 * 1024), "bucket_schema": {}})
    assert (response.status_code, response.get_json()["error"]["type"]) == (413, "PayloadTooLargeError")


def test_bad_fields_are_each_named(tenant: Tenant) -> None:
    response = tenant.post("/v1/buckets", {"bucket_name": 7, "schema": {"properties": {"a": {"type": "binary"}}}})
    assert response.status_code == 422
    problems = response.get_json()["error"]["details"]["validation_errors"]
    assert [problem["location"] for problem in problems] == [
        ["bucket_name"],
        ["schema", "properties", "a", "type"],
    ]
    assert all(set(problem) == {"type", "location", "message"} for problem in problems)


def test_unknown_keys_are_ignored_and_named(tenant: Tenant) -> None:
    shown = tenant.created("/v1/buckets", {**BUCKET, "colour": "red", "unique_key": None})
    assert shown["warnings"] == ["Unknown key 'colour' was ignored."]


def test_an_empty_body_with_a_json_content_type_counts_as_an_empty_object(tenant: Tenant) -> None:
    # the published client sends it on every list call
    response = tenant.client.post(
        "/v1/buckets/list", headers={**tenant.headers, "Content-Type": "application/json", "Content-Length": "0"}
    )
    assert response.status_code == 200
    assert response.get_json()["pagination"]["total"] == 0


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"text"',
        b"nul",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": 1, "a": 2}',
        b'{"a": 9223372036854775808}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"bucket_name": "\\ud800", "bucket_schema": {}}',
        b'{"bucket_name": "a\\u0000b", "bucket_schema": {}}',
        b'{"\xff": 1}',
        b"\xef\xbb\xbf{}",
        b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}",
        b'{"a": ' + b"[" * 100_000,
        b'{"a": ' + b'{"a":' * 100_000,
        b'{"metadata": {"$where": "1"}, "bucket_name": "x", "bucket_schema": {}}',
        b'{"metadata": {"a.b": 1}, "bucket_name": "x", "bucket_schema": {}}',
        b'{"bucket_name": {"$ne": null}, "bucket_schema": {}}',
        b'{"bucket_name": "bkt_x", "bucket_schema": {}}',
    ],
)
def test_hostile_json_is_refused_and_never_a_500(tenant: Tenant, body: bytes) -> None:
    for path in ("/v1/buckets", "/v1/collections", "/v1/retrievers", "/v1/organizations/webhooks"):
        response = tenant.client.post(path, data=body, headers={**tenant.headers, "Content-Type": "application/json"})
        assert response.status_code in {400, 422}, (path, response.data)


def test_a_body_that_is_not_json_is_415(tenant: Tenant) -> None:
    for headers in ({"Content-Type": "text/plain"}, {"Content-Type": "application/json; charset=latin-1"}):
        assert tenant.client.post("/v1/buckets", data=b"{}", headers={**tenant.headers, **headers}).status_code == 415


def test_an_unknown_failure_says_nothing_but_the_request_id(tenant: Tenant, services: Services) -> None:
    # a record that somebody damaged by hand
    tenant.created("/v1/buckets", BUCKET)
    services.handles.namespace(tenant.scope)["buckets"].update_many({}, {"$unset": {"metadata": ""}})
    response = tenant.get("/v1/buckets/papers")
    assert response.status_code == 500
    assert response.get_json()["error"] == {
        "message": "Something went wrong on our side.",
        "type": "InternalServerError",
        "code": "internal_error",
        "details": {},
    }


# Nobody meets another tenant's anything ---------------------------------------------------------------


def test_foreign_and_absent_are_the_same_404_to_the_byte(new_tenant: Callable[..., Tenant]) -> None:
    owner, stranger = new_tenant(), new_tenant()
    ids = corpus(owner)
    batch = owner.created(f"/v1/buckets/{ids['bucket_id']}/batches", {"object_ids": [ids["object_id"]]})
    task = owner.created(f"/v1/buckets/{ids['bucket_id']}/batches/{batch['batch_id']}/submit", {})
    retriever = owner.created("/v1/retrievers", retriever_body())
    execution = owner.post(
        f"/v1/retrievers/{retriever['retriever_id']}/execute", {"inputs": {"query": "?"}}, Prefer="respond-async"
    ).get_json()["additional_data"]["execution_id"]
    webhook = owner.created("/v1/organizations/webhooks", WEBHOOK)
    own_bucket = stranger.created("/v1/buckets", BUCKET)["bucket_id"]
    pairs = [
        ("GET", "/v1/buckets/{}", ids["bucket_id"]),
        ("POST", "/v1/buckets/{}/objects", ids["bucket_id"]),
        ("GET", f"/v1/buckets/{own_bucket}/objects/{{}}", ids["object_id"]),
        ("DELETE", f"/v1/buckets/{own_bucket}/objects/{{}}", ids["object_id"]),
        ("POST", f"/v1/buckets/{own_bucket}/batches/{{}}/submit", batch["batch_id"]),
        ("GET", "/v1/collections/{}", ids["collection_id"]),
        ("POST", "/v1/collections/{}/documents/list", ids["collection_id"]),
        ("GET", "/v1/tasks/{}", task["task_id"]),
        ("GET", "/v1/retrievers/{}", retriever["retriever_id"]),
        ("POST", "/v1/retrievers/{}/execute", retriever["retriever_id"]),
        ("GET", "/v1/organizations/webhooks/{}", webhook["webhook_id"]),
        ("PUT", "/v1/organizations/webhooks/{}", webhook["webhook_id"]),
        ("GET", "/v1/organizations/webhooks/{}/deliveries", webhook["webhook_id"]),
        ("GET", "/v1/namespaces/{}", owner.scope.namespace_id),
        ("DELETE", "/v1/tasks/{}", task["task_id"]),
        ("DELETE", "/v1/organizations/webhooks/{}", webhook["webhook_id"]),
    ]
    for method, path, foreign in pairs:
        absent = foreign[:-4] + "0000"
        body = WEBHOOK if method == "PUT" else {}
        one, other = (
            stranger.call(method, path.format(name), body, X_Request_ID="same") for name in (foreign, absent)
        )
        assert (one.status_code, one.data) == (other.status_code, other.data), (method, path)
        assert one.status_code == 404 or method == "DELETE"
    own_retriever = stranger.created("/v1/retrievers", retriever_body())["retriever_id"]
    for name in (execution, "exec_0"):
        assert stranger.get(f"/v1/retrievers/{own_retriever}/executions/{name}").status_code == 404
    # and nothing was touched
    assert owner.get(f"/v1/tasks/{task['task_id']}").get_json()["status"] == "PENDING"
    assert owner.get(f"/v1/organizations/webhooks/{webhook['webhook_id']}").status_code == 200


def test_two_namespaces_of_one_organization_see_nothing_of_each_other(tenant: Tenant) -> None:
    tenant.created("/v1/namespaces", {"namespace_name": "second"})
    ids = corpus(tenant)
    assert tenant.get(f"/v1/buckets/{ids['bucket_id']}", X_Namespace="second").status_code == 404
    assert tenant.get("/v1/buckets", X_Namespace="second").get_json()["results"] == []


def test_no_answer_has_an_internal_id(tenant: Tenant) -> None:
    ids = corpus(tenant)
    batch = tenant.created(f"/v1/buckets/{ids['bucket_id']}/batches", {"object_ids": [ids["object_id"]]})
    tenant.post(f"/v1/buckets/{ids['bucket_id']}/batches/{batch['batch_id']}/submit")
    tenant.created("/v1/retrievers", retriever_body())
    tenant.created("/v1/organizations/webhooks", WEBHOOK)
    for route in ROUTES:
        if (route.method == "GET" and "<" not in route.rule) or route.rule.endswith("/list"):
            path = route.rule.replace("<bucket_id>", ids["bucket_id"])
            path = path.replace("<collection_id>", ids["collection_id"])
            response = tenant.call(route.method, path, {} if route.method == "POST" else None)
            assert response.status_code == 200, (path, response.data)
            assert b"internal_id" not in response.data
            assert tenant.scope.internal_id.encode() not in response.data


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
    assert not list((tenant.services.settings.data / "blobs").rglob(f"*{ids['object_id']}*/0"))


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
    while True:
        page = tenant.post(f"{path}?limit=10&cursor={cursor}").get_json()
        seen += [item["object_id"] for item in page["results"]]
        cursor = page["pagination"]["next_cursor"]
        if not cursor:
            break
    assert page["pagination"]["total"] == 25
    assert sorted(seen) == sorted(item["object_id"] for item in made)
    first = tenant.post(f"{path}?limit=10").get_json()["pagination"]
    assert (first["total"], first["next_page"], first["previous_page"]) == (None, "2", None)
    assert tenant.post(f"{path}?limit=10&include_total=true").get_json()["pagination"]["total"] == 25
    third = tenant.post(f"{path}?page_size=10&page=3").get_json()
    assert [item["object_id"] for item in third["results"]] == seen[20:]
    for bad in ("limit=0", "limit=x", "cursor=zzz", "cursor=1-2", "offset=-1"):
        assert tenant.post(f"{path}?{bad}").status_code == 422


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


def test_a_batch_names_what_is_missing(tenant: Tenant) -> None:
    ids = corpus(tenant)
    path = f"/v1/buckets/{ids['bucket_id']}/batches"
    for body in (
        {"object_ids": ["obj_none"]},
        {"object_ids": []},
        {"object_ids": [ids["object_id"]], "collection_ids": ["col_none"]},
    ):
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
    shown = tenant.created("/v1/retrievers", {"retriever_name": "seed", "stages": [SEED_STAGE]})
    read = tenant.get(f"/v1/retrievers/{shown['retriever_id']}").get_json()
    stage = read["stages"][0]
    assert stage["config"] == {"stage_id": "llm_enrich", "parameters": SEED_STAGE["parameters"]}
    assert stage["parameters"] == SEED_STAGE["parameters"]
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
    lease = tenant.services.queue.claim(job_id, f"test:{job_id}")
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


def test_creating_a_webhook_answers_201_on_the_trailing_slash_and_to_the_old_client(tenant: Tenant) -> None:
    assert tenant.post("/v1/organizations/webhooks/", WEBHOOK).status_code == 201
    old = tenant.post("/v1/organizations/webhooks", WEBHOOK, User_Agent="OpenAPI-Generator/1.3.1/python")
    assert old.status_code == 201


def test_a_webhook_that_could_not_work_is_refused(tenant: Tenant) -> None:
    mail = [{"channel": "email", "configs": {"to_addresses": ["a@example.com"]}}]
    ftp = [{"channel": "webhook", "configs": {"url": "ftp://example.com"}}]
    for change in ({"channels": mail}, {"channels": ftp}, {"event_types": ["batch.completed"]}, {"event_types": []}):
        assert tenant.post("/v1/organizations/webhooks", {**WEBHOOK, **change}).status_code == 422


# Organization and health ------------------------------------------------------------------------------


def test_the_organization_and_its_credits_are_whole_numbers(tenant: Tenant) -> None:
    organization = tenant.get("/v1/organizations").get_json()
    assert (organization["organization_id"], organization["account_type"]) == (tenant.organization_id, "free")
    balance = tenant.get("/v1/organizations/billing/balance").get_json()
    assert (balance["credit_balance"], balance["organization_id"]) == (1000, tenant.organization_id)


def test_health_needs_no_key_and_tells_what_answers(app: Flask, services: Services) -> None:
    client = app.test_client()
    health = client.get("/v1/health").get_json()
    assert health["data"] == {
        "cache": True,
        "metadata": True,
        "vector_store": False,
        "object_storage": True,
        "task_queue": True,
        "inference": False,
    }
    assert (health["status"], set(health["errors"])) == ("DEGRADED", {"vector_store", "inference"})
    assert client.get("/v1/health/liveness").status_code == 200
    assert client.get("/v1/health/readiness").status_code == 200


# Round trips ------------------------------------------------------------------------------------------


class _Commands(monitoring.CommandListener):
    """Notes the commands of every client made after it was registered."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Counted when started."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Counted when started."""


@pytest.fixture
def counted_tenant(services: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Tenant, _Commands]]:
    """A tenant of an API process of its own, whose MongoDB commands are noted."""
    from api.app import build_app
    from core.bootstrap import build_services
    from core.storage import mongo

    commands = _Commands()
    monkeypatch.setitem(mongo._OPTIONS, "event_listeners", [commands])
    counted = build_services(services.settings)
    organization = counted.tenancy.create_organization("Counted", "owner@example.com", "free")
    counted.ledger.grant(organization.scope, "grant:start", 1_000_000)
    namespace = counted.tenancy.create_namespace(organization.scope, "default")
    key = counted.tenancy.create_key(organization.scope, "test", Permission.ADMIN).text
    headers = {"Authorization": f"Bearer {key}", "X-Namespace": "default"}
    client = build_app(counted).test_client()
    yield Tenant(client, counted, namespace.scope, organization.organization_id, key, headers), commands
    counted.close()


@pytest.mark.parametrize(("headers", "budget"), [({}, 4), ({"Idempotency_Key": "warm"}, 6)])
def test_warm_intake_of_a_retriever_job_stays_within_its_round_trips(
    counted_tenant: tuple[Tenant, _Commands],
    headers: dict[str, str],
    budget: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tenant, commands = counted_tenant
    tenant.created("/v1/retrievers", retriever_body())
    path, body = "/v1/retrievers/answers/execute", {"inputs": {"query": "?"}}
    assert tenant.post(path, body, Prefer="respond-async").status_code == 202
    commands.names.clear()
    assert tenant.post(path, body, Prefer="respond-async", **headers).status_code == 202
    with capsys.disabled():
        print(f"\nwarm intake, {'with' if headers else 'without'} a key: {len(commands.names)} {commands.names}")
    assert len(commands.names) <= budget
