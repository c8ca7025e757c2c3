"""What a scoped key, and one bound to an environment, is shown and may refer to: lists, bodies, namespaces."""

from collections.abc import Callable
from typing import Any

import pytest

from core.clock import now
from core.ids import Prefix, random_id
from core.tenancy.permissions import Operation, Permission, ResourceType, Scope
from core.tenancy.tenant import Environment
from core.webhooks.event import Event, EventType, Subject
from core.webhooks.relay import relay_events
from tests.integration.bodies import BUCKET, WEBHOOK, collection_body, corpus, retriever_body
from tests.integration.conftest import Tenant
from tests.tenants import new_key

READ = frozenset({Operation.READ_DATA})


def _with(tenant: Tenant, *scopes: Scope, permission: Permission = Permission.ADMIN, **grant: Any) -> Tenant:
    """The same organization, called with a key of these scopes."""
    text = new_key(tenant.services, tenant.scope, permission, scopes=scopes, **grant).text
    headers = {**tenant.headers, "Authorization": f"Bearer {text}"}
    return Tenant(tenant.client, tenant.services, tenant.scope, tenant.organization_id, text, headers)


def test_a_list_of_tasks_shows_the_tasks_of_the_scope(tenant: Tenant) -> None:
    tenant.created("/v1/retrievers", retriever_body())
    ids = [
        tenant.post("/v1/retrievers/answers/execute", {"inputs": {"query": "?"}}, Prefer="respond-async").get_json()[
            "task_id"
        ]
        for _ in range(3)
    ]
    scoped = _with(tenant, Scope(ResourceType.TASK, ids[1]), permission=Permission.READ)
    assert [task["task_id"] for task in scoped.post("/v1/tasks/list").get_json()["results"]] == [ids[1]]
    assert [scoped.get(f"/v1/tasks/{task}").status_code for task in ids] == [403, 200, 403]
    beginning = _with(tenant, Scope(ResourceType.TASK, f"{ids[2][:12]}*"), permission=Permission.READ)
    assert [task["task_id"] for task in beginning.post("/v1/tasks/list").get_json()["results"]] == [ids[2]]


def test_a_list_of_documents_shows_the_documents_of_the_scope(tenant: Tenant) -> None:
    collection = corpus(tenant)["collection_id"]
    documents = tenant.services.handles.namespace(tenant.scope)["documents"]
    ids = [random_id(Prefix.DOCUMENT) for _ in range(3)]
    for name in ids:
        documents.insert_one(
            {
                "_id": name, "collection_id": collection, "source_object_id": "o", "chunk_index": 0, "payload": {},
                "created_at": now(),
            }
        )  # fmt: skip
    path = f"/v1/collections/{collection}/documents"
    scoped = _with(tenant, Scope(ResourceType.DOCUMENT, ids[0]), permission=Permission.READ)
    assert [one["document_id"] for one in scoped.post(f"{path}/list").get_json()["results"]] == [ids[0]]
    assert [scoped.get(f"{path}/{name}").status_code for name in ids] == [200, 403, 403]
    # a scope on the collection covers its documents, whichever of its names it uses
    for name in (collection, "chunks"):
        whole = _with(tenant, Scope(ResourceType.COLLECTION, name), permission=Permission.READ)
        assert len(whole.post(f"{path}/list").get_json()["results"]) == 3


def test_a_body_refers_only_to_what_the_key_may_read(tenant: Tenant) -> None:
    corpus(tenant)
    other = tenant.created("/v1/buckets", {**BUCKET, "bucket_name": "other"})["bucket_id"]
    collections = Scope(ResourceType.COLLECTION, "*")
    blind = _with(tenant, collections)
    seeing = _with(tenant, collections, Scope(ResourceType.BUCKET, "papers", READ))
    for caller, bucket, status in (
        (blind, "papers", 403),
        (blind, "absent", 403),
        (seeing, "papers", 200),
        (seeing, other, 403),
        (seeing, "absent", 403),
        (tenant, "absent", 422),
    ):
        body = {**collection_body(bucket), "collection_name": f"from {bucket}"}
        assert caller.post("/v1/collections", body).status_code == status, bucket
    retrievers = Scope(ResourceType.RETRIEVER, "*")
    reader = _with(tenant, retrievers, Scope(ResourceType.COLLECTION, "chunks", READ))
    for number, (names, status) in enumerate(
        [(["chunks"], 200), (["from papers"], 403), (["chunks", "from papers"], 403), (["absent"], 403), ([], 403)]
    ):
        body = retriever_body(retriever_name=f"r{number}", collection_identifiers=names)
        assert reader.post("/v1/retrievers", body).status_code == status, names


def test_a_scope_on_a_namespace_reaches_what_is_in_it_and_nothing_of_the_organization(tenant: Tenant) -> None:
    tenant.created("/v1/namespaces", {"namespace_name": "second"})
    inside = _with(tenant, Scope(ResourceType.NAMESPACE, tenant.scope.namespace_id))
    assert inside.post("/v1/buckets", BUCKET).status_code == 200
    assert inside.post("/v1/tasks/list").status_code == 200
    assert inside.get("/v1/buckets", X_Namespace="second").status_code == 403
    shown = inside.get("/v1/namespaces").get_json()["results"]
    assert [one["namespace_name"] for one in shown] == ["default"]
    for method, path, body in (
        ("PATCH", "/v1/organizations", {}),
        ("POST", "/v1/namespaces", {"namespace_name": "third"}),
        ("POST", "/v1/organizations/webhooks", WEBHOOK),
        ("POST", "/v1/organizations/users", {"email": "x@example.com", "user_name": "X", "role": "admin"}),
        ("GET", "/v1/organizations/users", None),
        ("GET", "/v1/organizations/audit/logs", None),
    ):
        assert inside.call(method, path, body).status_code == 403, path
    assert inside.call("PATCH", "/v1/namespaces/second", {}, X_Namespace="").status_code == 403


def test_a_scope_on_the_organization_covers_it_by_its_id(tenant: Tenant) -> None:
    for named, status in ((tenant.organization_id, 200), (random_id(Prefix.ORGANIZATION), 403)):
        scoped = _with(tenant, Scope(ResourceType.ORGANIZATION, named), permission=Permission.READ)
        assert scoped.get("/v1/organizations").status_code == status


def test_a_scope_on_a_namespace_covers_what_is_asked_of_the_one_that_is_sent(tenant: Tenant) -> None:
    other = tenant.created("/v1/namespaces", {"namespace_name": "other"})["namespace_id"]
    for named in (tenant.scope.namespace_id, "default"):
        scoped = _with(tenant, Scope(ResourceType.NAMESPACE, named), permission=Permission.READ)
        summaries = [
            scoped.get("/v1/analytics/usage/summary", X_Namespace=sent).status_code
            for sent in (tenant.scope.namespace_id, "default", other, "other")
        ]
        assert summaries == [200, 200, 403, 403], named


def test_a_scope_of_another_type_does_not_keep_a_name_from_being_looked_up(tenant: Tenant) -> None:
    bucket = tenant.created("/v1/buckets", BUCKET)["bucket_id"]
    scopes = (Scope(ResourceType.COLLECTION, "*"), Scope(ResourceType.BUCKET, bucket))
    scoped = _with(tenant, *scopes, permission=Permission.READ)
    assert scoped.get("/v1/buckets/papers").status_code == 200


def test_a_body_names_no_collection_out_of_scope_whether_it_is_there_or_not(tenant: Tenant) -> None:
    corpus(tenant)
    scoped = _with(tenant, Scope(ResourceType.RETRIEVER, "*"))
    seeing = _with(tenant, Scope(ResourceType.RETRIEVER, "*"), Scope(ResourceType.COLLECTION, "chunks"))
    for caller, named in ((scoped, ["chunks"]), (scoped, ["absent"]), (seeing, ["chunks", "absent"])):
        answer = caller.post("/v1/retrievers", {**retriever_body(), "collection_identifiers": named})
        assert answer.status_code == 403, named


def test_a_default_credential_is_a_secret_that_the_key_may_read(tenant: Tenant) -> None:
    organization = Scope(ResourceType.ORGANIZATION, "*")
    blind = _with(tenant, organization)
    seeing = _with(tenant, organization, Scope(ResourceType.SECRET, "mine", READ))
    for caller, name, status in ((blind, "mine", 403), (seeing, "other", 403), (seeing, "mine", 200)):
        body = {"default_llm_credentials": {"openai": name}}
        assert caller.call("PATCH", "/v1/organizations", body).status_code == status, name
    assert blind.call("PATCH", "/v1/organizations", {"default_llm_credentials": None}).status_code == 200


@pytest.fixture
def bound(new_tenant: Callable[..., Tenant]) -> tuple[Tenant, Tenant]:
    """A tenant with a namespace `dev` and one `prod`, and the same called with a key that is bound to dev."""
    tenant = new_tenant()
    for name in ("dev", "prod"):
        tenant.created("/v1/namespaces", {"namespace_name": name, "environment": name})
    return tenant, _with(tenant, environment=Environment.DEV)


def test_a_bound_key_does_not_learn_what_uses_a_secret_elsewhere(bound: tuple[Tenant, Tenant]) -> None:
    tenant, dev = bound
    tenant.created("/v1/organizations/secrets", {"secret_name": "k", "secret_value": "a value of eight"})
    stage = {"stage_id": "llm_enrich", "parameters": {"prompt": "x", "api_key": "{{secrets.k}}"}}
    made = {
        name: tenant.created("/v1/retrievers", {"retriever_name": "r", "stages": [stage]}, X_Namespace=name)
        for name in ("dev", "prod")
    }
    ids = {name: retriever["retriever_id"] for name, retriever in made.items()}
    everywhere, there = (
        each.get("/v1/organizations/secrets/k", X_Namespace="").get_json()["used_by"]["retrievers"]
        for each in (tenant, dev)
    )
    assert {one for found in everywhere.values() for one in found} == set(ids.values())
    assert list(there.values()) == [[ids["dev"]]]


def test_a_bound_key_does_not_learn_which_other_namespaces_there_are(bound: tuple[Tenant, Tenant]) -> None:
    _, dev = bound
    assert dev.get("/v1/buckets", X_Namespace="dev").status_code == 200
    answers = [dev.get("/v1/buckets", X_Namespace=name, X_Request_ID="r") for name in ("prod", "default", "absent")]
    plain = {"Authorization": dev.headers["Authorization"], "X-Request-ID": "r"}
    paths = [dev.client.get(f"/v1/namespaces/{name}", headers=plain) for name in ("prod", "default", "absent")]
    for three in (answers, paths):
        assert {answer.status_code for answer in three} == {403}
        assert len({answer.data for answer in three}) == 1
    assert [one["namespace_name"] for one in dev.get("/v1/namespaces", X_Namespace="dev").get_json()["results"]] == [
        "dev"
    ]


def test_deliveries_are_of_a_namespace(bound: tuple[Tenant, Tenant]) -> None:
    tenant, dev = bound
    services, hook = tenant.services, tenant.created("/v1/organizations/webhooks", WEBHOOK)["webhook_id"]
    path, ids = f"/v1/organizations/webhooks/{hook}/deliveries", {}
    for name in ("dev", "prod"):
        namespace = services.namespaces.get(tenant.scope, name)
        subject, event_id = Subject("retriever", "ret_1"), random_id(Prefix.EVENT)
        event = Event(event_id, EventType.RESOURCE_EXECUTED, now(), namespace.namespace_id, subject, {})
        relay_events(services.handles, namespace.scope, [event], services.redis, services.clock)
        ids[name] = tenant.get(path, X_Namespace=name).get_json()["results"][0]["delivery_id"]
    whole = {"Authorization": tenant.headers["Authorization"]}
    assert len(tenant.client.get(path, headers=whole).get_json()["results"]) == 2
    assert [tenant.get(f"{path}/{ids[name]}", X_Namespace="dev").status_code for name in ids] == [200, 404]
    assert tenant.post(f"{path}/{ids['prod']}/replay", X_Namespace="dev").status_code == 404
    # whoever is bound has to say which one
    for address in (path, f"{path}/{ids['prod']}"):
        answer = dev.client.get(address, headers={"Authorization": dev.headers["Authorization"]})
        assert answer.status_code == 400
    assert [dev.get(f"{path}/{ids[name]}", X_Namespace="dev").status_code for name in ids] == [200, 404]


def test_a_key_of_one_environment_revokes_none_of_another(bound: tuple[Tenant, Tenant]) -> None:
    tenant, key = bound
    user = tenant.services.users.list(tenant.scope)[0]
    keys = f"/v1/organizations/users/{user.email}/api-keys"
    for name, grant in (("dev", {"environment": "dev"}), ("prod", {"environment": "prod"}), ("all", {})):
        tenant.created(keys, {"name": name, **grant})
    statuses = {
        name: key.call("DELETE", f"{keys}/{name}", X_Namespace="").status_code for name in ("dev", "prod", "all")
    }
    assert statuses == {"dev": 200, "prod": 403, "all": 403}


def test_a_key_of_one_environment_changes_nothing_that_all_of_them_share(bound: tuple[Tenant, Tenant]) -> None:
    tenant, key = bound
    everywhere = {name: value for name, value in key.headers.items() if name != "X-Namespace"}
    key = Tenant(key.client, key.services, key.scope, key.organization_id, key.key, everywhere)
    user = {"email": "new@example.com", "user_name": "New"}
    for method, path, body in [
        ("POST", "/v1/organizations/webhooks", WEBHOOK),
        ("POST", "/v1/organizations/users", user),
        ("PATCH", "/v1/organizations", {"organization_name": "Mine"}),
        ("GET", "/v1/organizations/audit/logs", None),
    ]:
        assert key.call(method, path, body).status_code == 403, path
    assert tenant.get("/v1/organizations").get_json()["organization_name"] != "Mine"
    assert key.get("/v1/organizations").status_code == 200
