"""The API over real servers: who may call, what comes back, and that nobody meets another tenant's anything."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from api.app import build_app
from api.registry import ROUTES, require_registered
from config.plans import published_plans
from core.bootstrap import Services, build_services
from core.storage import mongo
from core.tenancy.api_key import KeyGrant
from core.tenancy.keys import mint_key
from core.tenancy.permissions import Permission
from core.tenancy.user import Role
from tests.integration.bodies import BUCKET, SEARCH_STAGE, WEBHOOK, corpus, retriever_body
from tests.integration.conftest import Tenant
from tests.mongo_commands import MongoCommands
from tests.tenants import new_key

# Who may call -----------------------------------------------------------------------------------------


def test_an_app_is_not_built_whose_plans_limit_a_route_that_is_not_there(services: Services) -> None:
    plan = published_plans()["free"].model_copy(update={"routes": {"buckets.lsit": 1}})
    wrong = services.settings.model_copy(update={"plans": {"free": plan}})
    with pytest.raises(ValueError, match=r"buckets\.lsit"):
        build_app(replace(services, settings=wrong))


def test_a_query_may_not_hold_what_no_store_may_see(tenant: Tenant) -> None:
    refused = tenant.get("/v1/organizations/audit/logs?resource_type=a%00b")
    assert refused.status_code == 422
    assert "resource_type: must not contain" in refused.get_json()["error"]["message"]


def test_a_request_without_a_valid_key_is_told_what_is_wrong_with_what_it_sent(tenant: Tenant) -> None:
    mistyped = tenant.key[:-1] + ("x" if tenant.key[-1] != "x" else "y")
    for headers, said in (
        ({}, "A valid API key is required"),
        ({"Authorization": ""}, "A valid API key is required"),
        ({"X-API-Key": tenant.key}, "The header `X-API-Key` is not read"),
        ({"Authorization": tenant.key}, "`Bearer` is missing"),
        ({"Authorization": "Basic abc"}, "must be `Bearer`"),
        ({"Authorization": "Bearer"}, "No API key stands behind"),
        ({"Authorization": f"Bearer {mistyped}"}, "is damaged"),
        ({"Authorization": f"Bearer {tenant.key[:-9]}"}, "is damaged"),
        ({"Authorization": f'Bearer "{tenant.key}"'}, "Quotes"),
        ({"Authorization": "Bearer ks_live_\x01"}, "is damaged"),
        ({"Authorization": "Bearer sk-proj-0123456789"}, "another service"),
    ):
        response = tenant.client.get("/v1/buckets", headers=headers)
        assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")
        error = response.get_json()["error"]
        assert (error["type"], error["code"], error["details"]) == ("UnauthorizedError", "unauthorized", {})
        assert said in error["message"]
        assert tenant.key[:-9] not in response.get_data(as_text=True)


def test_what_is_said_of_a_key_does_not_tell_whether_it_exists(tenant: Tenant, services: Services) -> None:
    def said(text: str) -> bytes:
        headers = {"Authorization": f"Bearer {text}", "X-Request-ID": "same"}
        return tenant.client.get("/v1/buckets", headers=headers).get_data()

    user = services.users.create(tenant.scope, "gone@example.com", "Gone", Role.ADMIN)
    revoked = services.keys.issue(tenant.scope, user, "gone", KeyGrant())
    services.keys.revoke(tenant.scope, user, "gone")
    unknown = mint_key().text
    assert said(revoked.text) == said(unknown)
    assert b"unknown, revoked, expired" in said(unknown)
    assert said(tenant.key[:-1]) == said(unknown[:-1]) != said(unknown)


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
        ("DELETE", "/v1/tasks/{}", task["task_id"]),
        ("DELETE", "/v1/organizations/webhooks/{}", webhook["webhook_id"]),
    ]
    for method, path, foreign in pairs:
        absent = foreign[:-4] + "0000"
        body = WEBHOOK if method == "PUT" else {}
        one, other = (stranger.call(method, path.format(name), body, X_Request_ID="same") for name in (foreign, absent))
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


# Organization and health ------------------------------------------------------------------------------


def test_the_organization_and_its_credits_are_whole_numbers(new_tenant: Callable[..., Tenant]) -> None:
    tenant = new_tenant(plan="free")
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


def test_a_full_disk_is_named_by_health(app: Flask, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []

    def disk_usage(place: Path) -> SimpleNamespace:
        looked.append(place)
        return SimpleNamespace(free=1000)

    monkeypatch.setattr("shutil.disk_usage", disk_usage)
    client = app.test_client()
    health = client.get("/v1/health").get_json()
    assert health["status"] == "DEGRADED"
    assert health["errors"]["disk"] == "is full: nothing can be stored"
    assert looked == [services.settings.data / "blobs"]
    # it shows where nothing lies
    assert str(services.settings.data) not in str(health)
    assert client.get("/v1/health/readiness").status_code == 200


# Round trips ------------------------------------------------------------------------------------------


@pytest.fixture
def counted_tenant(services: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Tenant, MongoCommands]]:
    """A tenant of an API process of its own, whose MongoDB commands are noted."""
    commands = MongoCommands()
    monkeypatch.setitem(mongo._OPTIONS, "event_listeners", [commands])
    counted = build_services(services.settings)
    organization = counted.organizations.create("Counted", "owner@example.com", "enterprise")
    counted.ledger.grant(organization.scope, "grant:start", 1_000_000)
    namespace = counted.namespaces.create(organization.scope, "default")
    key = new_key(counted, organization.scope, Permission.ADMIN, "test").text
    headers = {"Authorization": f"Bearer {key}", "X-Namespace": "default"}
    client = build_app(counted).test_client()
    yield Tenant(client, counted, namespace.scope, organization.organization_id, key, headers), commands
    counted.close()


@pytest.mark.parametrize(("headers", "budget"), [({}, 4), ({"Idempotency_Key": "warm"}, 6)])
def test_warm_intake_of_a_retriever_job_stays_within_its_round_trips(
    counted_tenant: tuple[Tenant, MongoCommands],
    headers: dict[str, str],
    budget: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tenant, commands = counted_tenant
    tenant.created("/v1/retrievers", retriever_body())
    path, body = "/v1/retrievers/answers/execute", {"inputs": {"query": "?"}}
    assert tenant.post(path, body, Prefer="respond-async").status_code == 202
    commands.sent.clear()
    assert tenant.post(path, body, Prefer="respond-async", **headers).status_code == 202
    with capsys.disabled():
        print(f"\nwarm intake, {'with' if headers else 'without'} a key: {len(commands.sent)} {commands.sent}")
    assert len(commands.sent) <= budget


# What a request says and nobody reads -----------------------------------------------------------------


def problems(response: TestResponse) -> list[list[str | int]]:
    """The places that a 422 names."""
    assert response.status_code == 422, response.get_data(as_text=True)
    return [problem["location"] for problem in response.get_json()["error"]["details"]["validation_errors"]]


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("/v1/buckets/list", {"filters": {"field": "a"}}, "filters"),
        ("/v1/buckets/list", {"bucket_name": "papers"}, "bucket_name"),
        ("/v1/buckets/list", {"search": "x"}, "search"),
        ("/v1/collections/list", {"filters": {"AND": []}}, "filters"),
        ("/v1/retrievers/list", {"serach": "x"}, "serach"),
        ("/v1/namespaces/list", {"filter": "x"}, "filter"),
        ("/v1/organizations/webhooks/list", {"event_typ": "resource.executed"}, "event_typ"),
        ("/v1/tasks/list", {"stauts": "FAILED"}, "stauts"),
        ("/v1/tasks/list", {"filters": {"field": "status"}}, "filters"),
    ],
)
def test_a_list_is_not_answered_as_if_its_filter_was_not_sent(
    tenant: Tenant, path: str, body: dict[str, object], place: str
) -> None:
    assert problems(tenant.post(path, body)) == [[place]]
    sorted_too = {"sort": {"field": "a"}, "case_sensitive": False, "filters": None, "search": ""}
    answer = tenant.post(path, sorted_too)
    assert answer.status_code == 200
    said = {f"Unknown key {name!r} was ignored." for name in ("sort", "case_sensitive", "search")}
    assert set(answer.get_json()["warnings"]) == said


def test_a_list_of_documents_or_objects_has_no_filters_either(tenant: Tenant) -> None:
    ids = corpus(tenant)
    for path in (f"/v1/buckets/{ids['bucket_id']}/objects", f"/v1/collections/{ids['collection_id']}/documents"):
        assert problems(tenant.post(f"{path}/list", {"filters": {"AND": [{"field": "a"}]}})) == [["filters"]]
        assert tenant.post(f"{path}/list", {"limit": 5, "return_vectors": False}).status_code == 200


def test_keys_without_effect_are_named_at_every_depth_of_every_body(tenant: Tenant) -> None:
    ids = corpus(tenant)
    channel = {"channel": "webhook", "configs": {"url": "https://example.com/hook", "time_out": 5}}
    extractor = {"feature_extractor_name": "text_extractor", "parameters": {"splitby": "words"}}
    source = {"type": "bucket", "bucket_ids": [ids["bucket_id"]], "bucketid": "x"}
    search = {**SEARCH_STAGE["parameters"]["searches"][0], "topk": 3}  # type: ignore[index]
    stage = {"stage_id": "feature_search", "parameters": {"searches": [search]}}
    for path, body, said in [
        ("/v1/buckets", {"bucket_name": "b", "schema": {"propertis": {}}}, "schema.propertis"),
        ("/v1/buckets", {"bucket_name": "c", "schema": {"properties": {"a": {"type": "text", "requierd": True}}}},
         "schema.properties.a.requierd"),
        ("/v1/collections", {"collection_name": "two", "source": source, "feature_extractor": extractor},
         "source.bucketid"),
        ("/v1/collections", {"collection_name": "three", "source": {"bucket_id": ids["bucket_id"]},
                             "feature_extractor": extractor}, "feature_extractor.parameters.splitby"),
        ("/v1/retrievers", retriever_body(stages=[stage]), "stages.0.parameters.searches.0.topk"),
        ("/v1/organizations/webhooks", {**WEBHOOK, "channels": [channel]}, "channels.0.configs.time_out"),
        (f"/v1/buckets/{ids['bucket_id']}/objects", {"blobs": [{"property": "content", "type": "text", "data": "x",
                                                                "contenttype": "text/plain"}]}, "blobs.0.contenttype"),
        (f"/v1/buckets/{ids['bucket_id']}/objects/batch", {"objects": [{}, {"metadata": {"score": 1}}]},
         "objects.1.metadata.score"),
    ]:  # fmt: skip
        shown = tenant.created(path, body)
        assert [said in warning for warning in shown["warnings"]].count(True) == 1, shown["warnings"]


def test_what_is_sent_to_a_route_that_takes_nothing_is_named(tenant: Tenant) -> None:
    ids = corpus(tenant)
    batches = f"/v1/buckets/{ids['bucket_id']}/batches"
    batch = tenant.created(batches, {"object_ids": [ids["object_id"]], "collection_ids": [ids["collection_id"]]})
    shown = tenant.created(f"{batches}/{batch['batch_id']}/submit?force=true", {"priority": 1})
    assert shown["warnings"] == ["Unknown key 'priority' was ignored.", "Unknown query parameter 'force' was ignored."]


def test_an_objects_own_warnings_are_data(tenant: Tenant) -> None:
    objects = f"/v1/buckets/{corpus(tenant)['bucket_id']}/objects"
    made = tenant.created(objects, {"warnings": "mine", "text": "x"})
    assert made["warnings"] == ["'text': it stays with the object: its documents have a text of their own."]
    assert tenant.get(f"{objects}/{made['object_id']}").get_json()["warnings"] == "mine"


def test_names_that_cannot_be_found_again_are_refused_with_their_place(tenant: Tenant) -> None:
    objects = f"/v1/buckets/{corpus(tenant)['bucket_id']}/objects"
    for name in ("", "_id", "document_id", "internal_id"):
        assert problems(tenant.post(objects, {"metadata": {name: "x"}})) == [["metadata", name]]
    assert problems(tenant.post(objects, {"key_prefix": "../../other/"})) == [["key_prefix"]]
    several = tenant.post(f"{objects}/batch", {"objects": [{"metadata": {"_id": 1}}, {"key_prefix": "a/.."}, {}]})
    assert several.status_code == 200
    shown = several.get_json()
    assert [failed["error"].split(":")[0] for failed in shown["failed"]] == ["metadata._id", "key_prefix"]
    assert shown["succeeded_count"] == 1


def test_a_parameter_of_a_query_that_nobody_reads_is_named(tenant: Tenant) -> None:
    shown = tenant.get("/v1/buckets?limt=5").get_json()
    assert shown["warnings"] == ["Unknown query parameter 'limt' was ignored; did you mean 'limit'?"]
    namespace = tenant.get("/v1/namespaces").get_json()["results"][0]["namespace_id"]
    assert "warnings" not in tenant.get(f"/v1/buckets?limit=5&namespace_id={namespace}").get_json()


def test_no_number_is_read_from_a_text_anywhere(tenant: Tenant) -> None:
    stage = {"stage_id": "limit", "parameters": {"limit": "10", "offset": "10"}}
    assert problems(tenant.post("/v1/retrievers", retriever_body(stages=[stage]))) == [
        ["stages", 0, "parameters", "limit"],
        ["stages", 0, "parameters", "offset"],
    ]
    made = tenant.created("/v1/retrievers", retriever_body())
    execute = f"/v1/retrievers/{made['retriever_id']}/execute"
    inputs = {"query": "x"}
    assert problems(tenant.post(execute, {"inputs": inputs, "limit": "10"})) == [["limit"]]
    paging = {"inputs": inputs, "pagination": {"limit": "10"}}
    assert problems(tenant.post(execute, paging)) == [["pagination", "limit"]]
    timeout = {"channel": "webhook", "configs": {"url": "https://example.com/hook", "timeout": "5"}}
    assert problems(tenant.post("/v1/organizations/webhooks", {**WEBHOOK, "channels": [timeout]})) == [
        ["channels", 0, "configs", "timeout"]
    ]
