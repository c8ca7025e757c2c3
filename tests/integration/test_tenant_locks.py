"""Each lock between two tenants, two namespaces or two keys, by itself: what is remembered, counted and listed."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from config.plans import published_plans
from core.audit.actions import AuditAction
from core.audit.entry import Actor, ActorType, AuditRecord, AuditStatus
from core.audit.head import genuine_tip
from core.audit.pages import LogFilter
from core.audit.trail import AuditSettings
from core.audit.verification import ChainCheck
from core.credits.ledger import Ledger
from core.ids import Prefix, random_id, webhook_id
from core.jobs.job import Job
from core.jobs.waiting import tell_waiting, wait_for_end
from core.limits.limiter import Limiter
from core.limits.policy import Admitted, RateClass, Refused
from core.limits.subject import Subject
from core.storage.keyring import Keyring
from core.storage.paging import PageRequest
from core.storage.redis import job_done_key
from core.storage.scope import NamespaceScope
from core.storage.selection import Selection
from core.tenancy.api_key import KeyGrant
from core.tenancy.permissions import Operation, Permission, ResourceType, Scope
from core.tenancy.tenant import Environment
from core.tenancy.user import Role
from core.webhooks.endpoint import EndpointSettings
from core.webhooks.event import EventType
from core.words import FIRST_FORM, INDEX_FORM
from tests.integration.bodies import BUCKET, collection_body, corpus, retriever_body
from tests.integration.conftest import Tenant
from tests.tenants import new_key


def sibling(tenant: Tenant, name: str = "second", environment: Environment | None = None) -> Tenant:
    """The tenant in another namespace of its own."""
    made = tenant.services.namespaces.create(tenant.scope, name, environment=environment)
    return replace(tenant, scope=made.scope, headers={**tenant.headers, "X-Namespace": made.namespace_id})


def narrower(tenant: Tenant, *scopes: Scope, **grant: Any) -> Tenant:
    """The tenant with a key of less."""
    key = new_key(tenant.services, tenant.scope, Permission.ADMIN, "narrow", scopes=scopes, **grant).text
    return replace(tenant, key=key, headers={**tenant.headers, "Authorization": f"Bearer {key}"})


def names(tenant: Tenant, path: str, field: str) -> list[str]:
    """What a list shows."""
    response = tenant.get(path) if path.startswith("GET ") else tenant.post(path)
    assert response.status_code == 200, response.get_data(as_text=True)
    return sorted(item[field] for item in response.get_json()["results"])


# What a process remembers -----------------------------------------------------------------------------


def test_two_organizations_with_namespaces_and_retrievers_of_one_name_get_their_own(
    new_tenant: Callable[..., Tenant],
) -> None:
    first, second = new_tenant(), new_tenant()
    for tenant in (first, sibling(first), second):
        tenant.created("/v1/retrievers", retriever_body(description=tenant.scope.namespace_id))
    for tenant in (first, second, first, second):
        shown = tenant.get("/v1/retrievers/answers", X_Namespace="default").get_json()
        assert shown["description"] == tenant.scope.namespace_id
    assert (
        first.get("/v1/retrievers/answers", X_Namespace="second").get_json()["description"] != first.scope.namespace_id
    )


def test_what_is_remembered_of_one_organization_is_not_given_to_another(new_tenant: Callable[..., Tenant]) -> None:
    for tenant in (new_tenant(), new_tenant()):
        # epochs are never alike, but the memory does not rest on that
        remembered = tenant.services.tenants.namespace(tenant.scope, "default", "one epoch")
        assert remembered.scope == tenant.scope
        assert tenant.services.tenants.organization(tenant.scope, "one epoch").internal_id == tenant.scope.internal_id


def test_a_change_of_one_organization_is_told_to_itself_only(new_tenant: Callable[..., Tenant]) -> None:
    first, second = new_tenant(), new_tenant()
    tenants = first.services.tenants
    before = [tenants.epoch(tenant.scope) for tenant in (first, second)]
    tenants.changed(first.scope)
    after = [tenants.epoch(tenant.scope) for tenant in (first, second)]
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_one_idempotency_key_of_two_tenants_is_two_requests(new_tenant: Callable[..., Tenant]) -> None:
    first, second = new_tenant(), new_tenant()
    made = [tenant.post("/v1/buckets", BUCKET, Idempotency_Key="k") for tenant in (first, second)]
    assert [response.status_code for response in made] == [200, 200]
    assert made[0].get_json()["bucket_id"] != made[1].get_json()["bucket_id"]
    # of the organization as a whole, where no namespace tells the two apart
    shared = [
        tenant.post("/v1/namespaces", {"namespace_name": "more"}, Idempotency_Key="k", X_Namespace="")
        for tenant in (first, second)
    ]
    assert [response.status_code for response in shared] == [200, 200]
    assert shared[0].get_json()["namespace_id"] != shared[1].get_json()["namespace_id"]
    other = sibling(first).post("/v1/buckets", BUCKET, Idempotency_Key="k")
    assert other.status_code == 200
    assert "Idempotent-Replayed" not in other.headers, "the same key in another namespace is another key"
    assert other.get_json()["bucket_id"] != made[0].get_json()["bucket_id"]


def test_the_signal_of_a_jobs_end_is_its_namespaces_own(tenant: Tenant) -> None:
    redis, job_id = tenant.services.redis, random_id(Prefix.TASK)
    tell_waiting(redis, "ns_1", job_id)
    assert redis.exists(job_done_key("ns_1", job_id))
    tenant.created("/v1/retrievers", retriever_body())
    task = tenant.post("/v1/retrievers/answers/execute", {"inputs": {"query": "?"}}, Prefer="respond-async").get_json()
    tell_waiting(redis, tenant.scope.namespace_id, task["task_id"])
    wait_for_end(redis, tenant.services.jobs, tenant.scope, task["task_id"], 0.05)
    assert not redis.exists(job_done_key(tenant.scope.namespace_id, task["task_id"])), "the waiting one took it"


# What is counted --------------------------------------------------------------------------------------


@pytest.fixture
def limiter(tenant: Tenant) -> Limiter:
    plan = published_plans()["free"].model_copy(update={"burst": 2, "concurrent": 1})
    return Limiter(tenant.services.limits_redis, {"free": plan, "enterprise": plan}, 1)


def subject() -> Subject:
    return Subject(random_id(Prefix.INTERNAL), random_id(Prefix.KEY), "free")


def test_the_requests_of_one_organization_count_for_itself_only(limiter: Limiter) -> None:
    busy = subject()
    # a key id is nobody else's, but the limits do not rest on that
    quiet = replace(busy, internal_id=random_id(Prefix.INTERNAL))
    verdicts = [limiter.admit(busy, RateClass.METADATA) for _ in range(3)]
    assert [type(verdict) for verdict in verdicts] == [Admitted, Admitted, Refused]
    assert isinstance(limiter.admit(quiet, RateClass.METADATA), Admitted)


def test_the_requests_of_all_keys_count_for_their_organization(limiter: Limiter) -> None:
    one = subject()
    for _ in range(2):
        assert isinstance(limiter.admit(one, RateClass.METADATA), Admitted)
    assert isinstance(limiter.admit(replace(one, key_id="key_other"), RateClass.METADATA), Refused)


def test_the_places_of_one_organization_are_its_own(limiter: Limiter) -> None:
    busy, quiet = subject(), subject()
    held = limiter.admit(busy, RateClass.SEARCH, lease_id="a")
    assert isinstance(held, Admitted)
    assert held.lease
    assert isinstance(limiter.admit(busy, RateClass.SEARCH, lease_id="b"), Refused)
    assert isinstance(limiter.admit(quiet, RateClass.SEARCH, lease_id="c"), Admitted)
    limiter.release(held.lease)
    assert isinstance(limiter.admit(busy, RateClass.SEARCH, lease_id="d"), Admitted)


# The audit log ----------------------------------------------------------------------------------------


def record(action: AuditAction, status: AuditStatus) -> AuditRecord:
    return AuditRecord(action, "bucket", "bkt_1", status, Actor("key_1", ActorType.API_KEY, "k", None, None))


def test_each_organization_has_its_own_chain_head_and_settings(new_tenant: Callable[..., Tenant]) -> None:
    first, second = new_tenant(), new_tenant()
    trail = first.services.audit
    entry = record(AuditAction.BUCKET_CREATED, AuditStatus.SUCCESS)
    for tenant, count in ((first, 3), (second, 1)):
        for _ in range(count):
            trail.append(tenant.scope, entry)
    for tenant, count in ((first, 3), (second, 1)):
        head = trail.stored_head(tenant.scope)
        assert head is not None
        assert (head["internal_id"], head["seq"], trail.count(tenant.scope)) == (tenant.scope.internal_id, count, count)
    trail.update_settings(first.scope, AuditSettings(read_auditing_enabled=True))
    assert trail.settings(first.scope).read_auditing_enabled
    assert not trail.settings(second.scope).read_auditing_enabled
    changes = [trail.digest(tenant.scope, {"a": 1}, {"a": 2}) for tenant in (first, second)]
    assert changes[0] != changes[1], "the same value has another digest elsewhere"


def test_an_entry_of_another_organizations_chain_is_not_genuine_in_this_one(new_tenant: Callable[..., Tenant]) -> None:
    first, second = new_tenant(), new_tenant()
    trail, keyring = first.services.audit, Keyring("KEYSTAGE_AUDIT_KEYS", first.services.settings.audit_keys)
    trail.append(first.scope, record(AuditAction.BUCKET_CREATED, AuditStatus.SUCCESS))
    [entry] = trail.stored_entries(first.scope, 0, 1)
    assert list(ChainCheck(keyring, first.scope.internal_id, []).walk([entry])) == []
    [finding] = ChainCheck(keyring, second.scope.internal_id, []).walk([entry])
    assert finding.seq == 1
    head = trail.stored_head(first.scope)
    assert head is not None
    assert genuine_tip(keyring, head) is not None
    assert genuine_tip(keyring, {**head, "internal_id": second.scope.internal_id}) is None


def test_entries_are_narrowed_by_namespace(tenant: Tenant) -> None:
    trail = tenant.services.audit
    entry = record(AuditAction.BUCKET_CREATED, AuditStatus.SUCCESS)
    for namespace_id in ("ns_1", "ns_2", "ns_1"):
        trail.append(tenant.scope, replace(entry, namespace_id=namespace_id))
    assert trail.page(tenant.scope, LogFilter(namespace_id="ns_1"), PageRequest()).total == 2
    shown, _ = trail.export(tenant.scope, LogFilter(namespace_id="ns_2"), 10)
    assert [one.namespace_id for one in shown] == ["ns_2"]


def test_a_flood_of_denials_of_one_organization_hides_none_of_another(
    new_tenant: Callable[..., Tenant], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.audit.recorder._DENIALS_A_MINUTE", 3)
    first, second = new_tenant(), new_tenant()
    denied = record(AuditAction.PERMISSION_DENIED, AuditStatus.DENIED)
    recorder, trail = first.services.recorder, first.services.audit
    for _ in range(10):
        recorder.denied(first.scope, denied)
    assert trail.count(first.scope) < 10
    recorder.denied(second.scope, denied)
    assert trail.count(second.scope) == 1


# Records that every organization has one of ------------------------------------------------------------


def test_a_change_of_one_organization_changes_no_other(new_tenant: Callable[..., Tenant]) -> None:
    first, second = new_tenant(), new_tenant()
    organizations = first.services.organizations
    before = organizations.get(second.scope)
    assert organizations.update(first.scope, {"name": "Renamed"}).name == "Renamed"
    assert organizations.get(second.scope) == before


def test_changes_of_keys_meet_in_their_own_organization(new_tenant: Callable[..., Tenant]) -> None:
    first, second = new_tenant(), new_tenant()
    services = first.services
    user = services.users.create(first.scope, "gone@example.com", "A user", Role.ADMIN)
    before = [_key_changes(tenant) for tenant in (first, second)]
    services.keys.issue(first.scope, user, "k", KeyGrant())
    assert services.keys.revoke(first.scope, user, "k") == 1
    # without this write two revocations at once would not see one another
    assert [_key_changes(tenant) for tenant in (first, second)] == [before[0] + 2, before[1]]


def _key_changes(tenant: Tenant) -> int:
    found = tenant.services.handles.organization(tenant.scope)["organizations"].find_one({})
    assert found is not None
    return int(found["key_changes"])


def test_each_ledger_notes_its_own_head(new_tenant: Callable[..., Tenant], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.credits.ledger._HINT_EVERY", 1)
    first, second = new_tenant(), new_tenant()
    services = first.services
    for tenant, count in ((first, 3), (second, 2)):
        for number in range(count):
            services.ledger.grant(tenant.scope, f"grant:{number}", 1)
    fresh = Ledger(services.handles, services.clock)
    # one entry came with the tenant
    assert [fresh._read_hint(tenant.scope) for tenant in (first, second)] == [4, 3]


# What belongs to nobody else --------------------------------------------------------------------------


def test_the_bytes_of_an_object_lie_under_its_namespace(tenant: Tenant) -> None:
    corpus(tenant)
    keys = list(tenant.services.blobs.list_keys(f"{tenant.scope.namespace_id}/"))
    assert len(keys) == 1


def test_deliveries_are_narrowed_by_the_namespace(tenant: Tenant) -> None:
    settings = EndpointSettings("hook", "http://127.0.0.1:9/", tuple(EventType))
    hook = tenant.services.webhooks.create(tenant.scope, webhook_id(), settings, None).webhook_id
    other = sibling(tenant)
    for one in (tenant, other):
        fields = {"webhook_id": hook, "event_id": "evt_1", "event_type": "resource.executed", "status": "failed"}
        counts = dict.fromkeys(("fence", "attempts", "tries_in_schedule", "replays"), 0)
        moment = tenant.services.clock.now()
        row = {"_id": random_id(Prefix.DELIVERY), **fields, **counts, "created_at": moment}
        tenant.services.handles.namespace(one.scope)["deliveries"].insert_one(row)
    path = f"/v1/organizations/webhooks/{hook}/deliveries"
    shown = [one.get(path).get_json()["results"] for one in (tenant, other)]
    assert [len(results) for results in shown] == [1, 1]
    assert shown[0][0]["delivery_id"] != shown[1][0]["delivery_id"]


def test_tasks_are_narrowed_by_the_namespace(tenant: Tenant) -> None:
    tenant.created("/v1/retrievers", retriever_body())
    question: dict[str, Any] = {"inputs": {"query": "?"}}
    task = tenant.post("/v1/retrievers/answers/execute", question, Prefer="respond-async").get_json()["task_id"]
    other = sibling(tenant)
    assert tenant.get(f"/v1/tasks/{task}").status_code == 200
    assert other.get(f"/v1/tasks/{task}").status_code == 404
    assert (names(tenant, "/v1/tasks/list", "task_id"), names(other, "/v1/tasks/list", "task_id")) == ([task], [])
    assert other.call("DELETE", f"/v1/tasks/{task}").status_code == 200
    assert tenant.get(f"/v1/tasks/{task}").get_json()["status"] == "PENDING"


# Keys that may do less --------------------------------------------------------------------------------


def test_a_scope_covers_a_resource_by_id_and_by_name_and_no_other(tenant: Tenant) -> None:
    papers = tenant.created("/v1/buckets", BUCKET)["bucket_id"]
    pictures = tenant.created("/v1/buckets", {**BUCKET, "bucket_name": "pictures"})["bucket_id"]
    for named in ("papers", papers, "pap*"):
        key = narrower(tenant, Scope(ResourceType.BUCKET, named))
        for path in ("papers", papers, "papers/objects"):
            assert key.get(f"/v1/buckets/{path}").status_code == 200
        for path in ("pictures", pictures, "nothing", "pictures/objects"):
            assert key.get(f"/v1/buckets/{path}").status_code == 403
        assert names(key, "/v1/buckets/list", "bucket_name") == ["papers"]
        assert key.get("/v1/collections").status_code == 403
        assert key.post("/v1/buckets", {**BUCKET, "bucket_name": "papers2"}).status_code == 403
    writing = narrower(tenant, Scope(ResourceType.BUCKET, "*", frozenset({Operation.WRITE_DATA})))
    assert writing.post("/v1/buckets", {**BUCKET, "bucket_name": "papers3"}).status_code == 200
    assert writing.get("/v1/buckets").status_code == 403
    assert writing.get("/v1/buckets/papers").status_code == 403


def test_a_scope_on_a_namespace_covers_what_is_in_it(tenant: Tenant) -> None:
    tenant.created("/v1/buckets", BUCKET)
    other = sibling(tenant)
    other.created("/v1/buckets", BUCKET)
    for named in ("default", tenant.scope.namespace_id):
        key = narrower(tenant, Scope(ResourceType.NAMESPACE, named))
        assert key.get("/v1/buckets/papers").status_code == 200
        assert key.get("/v1/buckets/papers", X_Namespace="second").status_code == 403
        assert names(key, "/v1/buckets/list", "bucket_name") == ["papers"]
        for path in ("default", tenant.scope.namespace_id):
            assert key.get(f"/v1/namespaces/{path}").status_code == 200
        bare = {"Authorization": key.headers["Authorization"]}
        assert tenant.client.get("/v1/namespaces/second", headers=bare).status_code == 403
        assert tenant.client.get(f"/v1/namespaces/{other.scope.namespace_id}", headers=bare).status_code == 403
        [shown] = tenant.client.get("/v1/namespaces", headers=bare).get_json()["results"]
        assert shown["namespace_name"] == "default"


def test_every_list_shows_to_a_scoped_key_what_its_scopes_cover(tenant: Tenant) -> None:
    bucket = tenant.created("/v1/buckets", BUCKET)["bucket_id"]
    for name in ("mine", "other"):
        tenant.created("/v1/collections", {**collection_body(bucket), "collection_name": name})
        tenant.created("/v1/retrievers", {**retriever_body(), "retriever_name": name})
        settings = EndpointSettings(name, "https://example.com/hook", tuple(EventType))
        tenant.services.webhooks.create(tenant.scope, webhook_id(), settings, None)
    for type, path, field in (
        (ResourceType.COLLECTION, "/v1/collections/list", "collection_name"),
        (ResourceType.RETRIEVER, "/v1/retrievers/list", "retriever_name"),
    ):
        key = narrower(tenant, Scope(type, "mine"))
        assert names(key, path, field) == ["mine"]
        noun = path.removesuffix("/list")
        assert key.get(f"{noun}/mine").status_code == 200
        assert key.get(f"{noun}/other").status_code == 403
    [hook, _] = tenant.services.webhooks.list_endpoints(tenant.scope)
    key = narrower(tenant, Scope(ResourceType.WEBHOOK, hook.webhook_id))
    assert names(key, "/v1/organizations/webhooks/list", "webhook_id") == [hook.webhook_id]
    assert key.get(f"/v1/organizations/webhooks/{hook.webhook_id}").status_code == 200
    assert key.get("/v1/organizations/webhooks/wh_0123456789abcdef").status_code == 403


def test_a_scope_on_a_beginning_covers_all_that_begin_so_in_every_list(tenant: Tenant) -> None:
    corpus(tenant)
    for name in ("mine_a", "mine_b", "other"):
        tenant.created("/v1/organizations/secrets", {"secret_name": name, "secret_value": "a value of some length"})
        settings = EndpointSettings(name, "https://example.com/hook", tuple(EventType))
        tenant.services.webhooks.create(tenant.scope, webhook_id(), settings, None)
    secrets = narrower(tenant, Scope(ResourceType.SECRET, "mine_*"), Scope(ResourceType.SECRET, "other"))
    assert secrets.get("/v1/organizations/secrets").get_json()["secrets"] == ["mine_a", "mine_b", "other"]
    retriever = tenant.created("/v1/retrievers", retriever_body())["retriever_id"]
    for _ in range(3):
        body = {"inputs": {"query": "cranes"}}
        assert tenant.post(f"/v1/retrievers/{retriever}/execute", body, Prefer="respond-async").status_code == 202
    for type, beginning, path in (
        (ResourceType.WEBHOOK, "wh_*", "/v1/organizations/webhooks/list"),
        (ResourceType.TASK, "task_*", "/v1/tasks/list?limit=1&include_total=true"),
        (ResourceType.COLLECTION, "chu*", "/v1/collections/list?include_total=true"),
    ):
        all_of_it = tenant.post(path, {}).get_json()
        covered = narrower(tenant, Scope(type, beginning)).post(path, {}).get_json()
        assert covered["results"] == all_of_it["results"] != []
        assert covered.get("total") == all_of_it.get("total")
        assert narrower(tenant, Scope(type, "none*")).post(path, {}).get_json()["results"] == []


def test_lists_of_users_and_keys_show_what_is_selected(tenant: Tenant) -> None:
    users = tenant.get("/v1/organizations/users").get_json()["results"]
    email = users[0]["email"]
    key = narrower(tenant, Scope(ResourceType.USER, email))
    assert [user["email"] for user in key.get("/v1/organizations/users").get_json()["results"]] == [email]
    services = tenant.services
    user = services.users.get(tenant.scope, email)
    services.keys.issue(tenant.scope, user, "second", KeyGrant())
    shown = services.keys.list(tenant.scope, user, only=Selection.of(["second"]))
    assert [one.name for one in shown] == ["second"]


def test_a_body_may_refer_only_to_what_the_key_may_read(tenant: Tenant) -> None:
    ids = corpus(tenant)
    maker = (Scope(ResourceType.COLLECTION, "mine*"), Scope(ResourceType.RETRIEVER, "*"))
    collection = {**collection_body("papers"), "collection_name": "mine-1"}
    retriever = retriever_body(collection_identifiers=["chunks"])
    for path, body, named in (
        ("/v1/collections", collection, (ResourceType.BUCKET, "papers", ids["bucket_id"])),
        ("/v1/retrievers", retriever, (ResourceType.COLLECTION, "chunks", ids["collection_id"])),
    ):
        type, name, id = named
        makers = (*maker, Scope(ResourceType.COLLECTION, "*")) if type is ResourceType.BUCKET else maker
        absent = json.loads(json.dumps(body).replace(f'"{name}"', '"nothing"'))
        refused = {narrower(tenant, *makers).post(path, one, X_Request_ID="same").status_code for one in (body, absent)}
        assert refused == {403}, "whether it exists is not told"
        for number, covering in enumerate((Scope(type, name), Scope(type, id))):
            key = narrower(tenant, *makers, covering)
            unique = {"collection_name": f"mine-{number}", "retriever_name": f"r{number}"}
            assert key.post(path, {**body, **unique}).status_code == 200
    writing = Scope(ResourceType.BUCKET, "papers", frozenset({Operation.WRITE_DATA}))
    body = {**collection, "collection_name": "mine-9"}
    assert (
        narrower(tenant, Scope(ResourceType.COLLECTION, "*"), writing).post("/v1/collections", body).status_code == 403
    )
    by_id = narrower(tenant, Scope(ResourceType.NAMESPACE, tenant.scope.namespace_id))
    assert by_id.post("/v1/collections", body).status_code == 200


def test_a_key_of_an_environment_reaches_no_other(tenant: Tenant) -> None:
    live = sibling(tenant, "live", Environment.PROD)
    key = narrower(tenant, environment=Environment.PROD)
    assert key.get("/v1/buckets", X_Namespace="live").status_code == 200
    assert key.get("/v1/buckets", X_Namespace="default").status_code == 403
    bare = {"Authorization": key.headers["Authorization"]}
    client = tenant.client
    assert client.post("/v1/tasks/list", headers=bare).status_code == 400
    assert client.get("/v1/tasks/task_1", headers=bare).status_code == 400
    [shown] = client.get("/v1/namespaces", headers=bare).get_json()["results"]
    assert shown["namespace_id"] == live.scope.namespace_id
    assert client.get("/v1/namespaces/default", headers=bare).status_code == 403
    assert client.get("/v1/namespaces/live", headers=bare).status_code == 200
    for environment, status in (("dev", 403), (None, 403), ("prod", 200)):
        body = {"namespace_name": f"new-{environment}".lower(), "environment": environment}
        assert client.post("/v1/namespaces", json=body, headers=bare).status_code == status
    for change, status in (({"environment": "dev"}, 403), ({"environment": None}, 403), ({"description": "x"}, 200)):
        assert client.patch("/v1/namespaces/live", json=change, headers=bare).status_code == status


def test_a_bucket_named_alike_in_another_namespace_is_not_covered(new_tenant: Callable[..., Tenant]) -> None:
    tenant = new_tenant()
    other = sibling(tenant)
    papers = other.created("/v1/buckets", BUCKET)["bucket_id"]
    key = narrower(tenant, Scope(ResourceType.BUCKET, "papers"))
    # a scope on a name covers that name; an id is looked up in the namespace at hand alone
    assert key.get(f"/v1/buckets/{papers}").status_code == 403
    assert key.get(f"/v1/buckets/{papers}", X_Namespace="second").status_code == 200
    assert isinstance(other.scope, NamespaceScope)


def test_the_rebuilding_of_one_index_says_nothing_of_another(tenant: Tenant) -> None:
    services, other = tenant.services, sibling(tenant)
    namespaces = services.handles.organization(tenant.scope)["namespaces"]
    namespaces.update_many({}, {"$unset": {"index_form": ""}})
    ids = [job.scope.namespace_id for job in (_rebuild(one) for one in (tenant, other))]
    for one in (tenant, other):
        found = services.namespaces.find(one.scope.namespace_id)
        assert found is not None
        assert found.scope == one.scope
    assert ids == [tenant.scope.namespace_id, other.scope.namespace_id]
    services.index_rebuilds.end(other.scope)
    forms = [services.namespaces.get(one.scope, one.scope.namespace_id).index_form for one in (tenant, other)]
    assert forms == [FIRST_FORM, INDEX_FORM]
    assert services.index_rebuilds.under_way(other.scope) is None
    under_way = services.index_rebuilds.under_way(tenant.scope)
    assert under_way is not None
    assert _rebuild(tenant).job_id == under_way.job_id


def _rebuild(tenant: Tenant) -> Job:
    return tenant.services.index_rebuilds.begin(tenant.scope, "req_1")
