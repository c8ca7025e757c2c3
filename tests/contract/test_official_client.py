"""The official client of the published API, as it is on PyPI, against a real API process: it raises when it is wrong.

It is imported where it is used, because that takes seconds.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.jobs.wire import TASK_TYPES
from core.retrievers.stages import parse_stages
from core.tenancy.permissions import Permission
from tests.api_process import Account, Site, site
from tests.contract.old_client import SCHEMA, STAGE
from tests.tenants import new_key

REDACTED = {"internal_id": "redacted", "key_hash": "redacted", "user_id": "redacted"}


@pytest.fixture(scope="module")
def house(mongo_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(mongo_url, redis_url, Path(tmp_path_factory.mktemp("client"))) as one:
        yield one


@pytest.fixture(scope="module")
def account(house: Site) -> Account:
    return house.account()


@dataclass
class Sdk:
    """The generated client, with one key."""

    package: Any
    client: Any

    def api(self, name: str) -> Any:
        """One of its groups of calls."""
        return getattr(self.package, name)(self.client)

    def model(self, name: str, /, **fields: Any) -> Any:
        """One of its request bodies, checked by it."""
        return getattr(self.package, name).from_dict(fields)


@pytest.fixture(scope="module")
def package() -> Any:
    import mixpeek

    return mixpeek


def _sdk(package: Any, house: Site, key: str, namespace: str) -> Sdk:
    configuration = package.Configuration(
        host=house.url, access_token=key, api_key={"NamespaceHeader": namespace}, retries=False
    )
    return Sdk(package, package.ApiClient(configuration))


@pytest.fixture(scope="module")
def sdk(package: Any, house: Site, account: Account) -> Sdk:
    return _sdk(package, house, account.key, account.namespace_id)


def test_who_is_calling_and_the_organization(sdk: Sdk, account: Account) -> None:
    me = sdk.api("AccountApi").whoami_me()
    assert (me.organization_id, me.account_type, me.key.key_type) == (account.organization_id, "enterprise", "standard")
    organizations = sdk.api("OrganizationsApi")
    changes = sdk.model("OrganizationUpdateRequest", organization_name="Renamed", metadata={"a": 1})
    changed = organizations.update_organization(changes)
    assert (changed.organization_name, changed.metadata) == ("Renamed", {"a": 1})
    assert organizations.get_organization().credit_count == 1_000


def test_users(sdk: Sdk) -> None:
    users = sdk.api("OrganizationUsersApi")
    made = users.create_user_organizations(
        sdk.model("UserCreateRequest", email="ada@example.com", user_name="Ada", role="member")
    )
    assert (made["email"], made["status"]) == ("ada@example.com", "active")
    changed = users.update_user_organizations_email(
        "ada@example.com", sdk.model("UserUpdateRequest", user_name="Countess")
    )
    assert changed["user_name"] == "Countess"
    assert users.get_user_organizations_email("ada@example.com")["user_name"] == "Countess"
    assert "ada@example.com" in str(users.list_users_organizations())
    assert users.delete_user_organizations_email("ada@example.com").success is True
    with pytest.raises(sdk.package.exceptions.NotFoundException):
        users.get_user_organizations_email("ada@example.com")


def test_api_keys_and_what_only_this_client_is_told(sdk: Sdk, house: Site, account: Account) -> None:
    users, keys, email = sdk.api("OrganizationUsersApi"), sdk.api("OrganizationAPIKeysApi"), "ci@example.com"
    users.create_user_organizations(sdk.model("UserCreateRequest", email=email, user_name="CI", role="member"))
    wanted = sdk.model("APIKeyCreateRequest", name="ci", permissions=["read", "write"])
    made = keys.create_key_organizations_users_email(email, wanted)
    assert made.key.startswith("ks_live_")
    assert {name: getattr(made, name) for name in REDACTED} == REDACTED
    changes = sdk.model("APIKeyUpdateRequest", description="builds", permissions=["read"])
    changed = keys.update_key_organizations_users_email_name(email, "ci", changes)
    assert (changed.description, [str(each.value) for each in changed.permissions]) == ("builds", ["read"])
    rotated = keys.rotate_key_organizations_users_email_name(email, "ci")
    assert rotated.key != made.key
    assert {name: getattr(rotated, name) for name in REDACTED} == REDACTED
    assert made.key not in str(keys.list_keys_organizations_users_email(email))
    assert keys.delete_key_organizations_users_email_name(email, "ci").success is True
    # everybody else is not told that there are such fields
    path = f"{house.url}/v1/organizations/users/{email}/api-keys"
    plain = httpx.post(path, json={"name": "plain"}, headers=account.headers).json()
    assert not plain.keys() & REDACTED.keys()
    assert not httpx.patch(f"{path}/plain", json={}, headers=account.headers).json().keys() & REDACTED.keys()


def test_namespaces(sdk: Sdk) -> None:
    namespaces = sdk.api("NamespacesApi")
    made = namespaces.create_namespace(sdk.model("CreateNamespaceRequest", namespace_name="second"))
    assert namespaces.get_namespace("second").namespace_id == made.namespace_id
    patched = namespaces.patch_namespace("second", sdk.model("PatchNamespaceRequest", description="x"))
    assert patched.description == "x"
    for found in (namespaces.list_namespaces(), namespaces.list_namespaces_get()):
        assert {one.namespace_name for one in found.results} == {"default", "second"}


def test_buckets_objects_collections_and_retrievers(sdk: Sdk) -> None:
    buckets, objects = sdk.api("BucketsApi"), sdk.api("BucketObjectsApi")
    bucket = buckets.create_bucket(sdk.model("BucketCreateRequest", bucket_name="notes", bucket_schema=SCHEMA))
    assert buckets.get_bucket("notes").bucket_id == bucket.bucket_id
    assert [one.bucket_name for one in buckets.list_buckets().results] == ["notes"]
    blob = {"property": "text", "type": "text", "data": "Ships carry cranes."}
    made = objects.create_object_buckets(bucket.bucket_id, sdk.model("CreateObjectRequest", blobs=[blob]))
    assert objects.get_object_buckets(bucket.bucket_id, made.object_id).object_id == made.object_id
    assert len(objects.list_objects_buckets(bucket.bucket_id).results) == 1
    assert objects.delete_object_buckets(bucket.bucket_id, made.object_id) is None
    collections = sdk.api("CollectionsApi")
    extractor = {"feature_extractor_name": "text_extractor", "version": "v1"}
    source = {"type": "bucket", "bucket_ids": [bucket.bucket_id]}
    wanted = sdk.model("CreateCollectionRequest", collection_name="chunks", source=source, feature_extractor=extractor)
    collection = collections.create_collection(wanted)
    assert collections.get_collection("chunks").collection_id == collection.collection_id
    assert [one.collection_name for one in collections.list_collections().results] == ["chunks"]
    retrievers = sdk.api("RetrieversApi")
    wanted = sdk.model(
        "CreateRetrieverRequest",
        retriever_name="answers",
        collection_identifiers=["chunks"],
        stages=[STAGE],
        input_schema={"query": {"type": "string"}},
    )
    retriever = retrievers.create_retriever(wanted)
    assert retrievers.get_retriever("answers").retriever_id == retriever.retriever_id
    assert [one.retriever_name for one in retrievers.list_retrievers().results] == ["answers"]


def test_webhooks_and_tasks(sdk: Sdk) -> None:
    webhooks = sdk.api("WebhooksApi")
    channel = {"channel": "webhook", "configs": {"url": "https://example.com/hook"}}
    body = {"webhook_name": "done", "event_types": ["resource.executed"], "channels": [channel]}
    made = webhooks.create_webhook_organizations(sdk.model("WebhookInput", **body))
    assert webhooks.get_webhook_organizations(made.webhook_id).webhook_name == "done"
    changed = sdk.model("WebhookInput", **{**body, "webhook_name": "told"})
    assert webhooks.update_webhook_organizations(made.webhook_id, changed).webhook_name == "told"
    assert [one.webhook_name for one in webhooks.list_webhooks_organizations().results] == ["told"]
    assert webhooks.delete_webhook_organizations(made.webhook_id) is None
    tasks = sdk.api("TasksApi")
    assert tasks.list_tasks().results == []
    assert tasks.kill_task("task_none").success is True


def test_the_audit_log(sdk: Sdk) -> None:
    audit = sdk.api("OrganizationAuditApi")
    audit.update_audit_settings_organizations(sdk.model("AuditSettingsUpdateRequest", read_auditing_enabled=True))
    assert audit.get_audit_settings_organizations().read_auditing_enabled is True
    page = audit.list_audit_logs_organizations(limit=5)
    newest = page.results[0]
    assert audit.get_audit_log_organizations(newest.audit_id).audit_id == newest.audit_id
    assert newest.audit_id in audit.export_audit_logs_organizations(max_events=5)


def test_usage_and_billing(sdk: Sdk, house: Site) -> None:
    account = house.account()
    own = _sdk(sdk.package, house, account.key, account.namespace_id)
    hold = house.services.ledger.hold(account.scope, "task_billed", 5_000)
    usage = {"operation": "ingestion", "namespace_id": account.namespace_id, "batch_id": "btch_1"}
    house.services.ledger.capture(account.scope, hold, 2_100, usage)
    billing = own.api("OrganizationBillingApi")
    assert billing.get_current_usage_organizations_billing().current_month_usage == 2
    breakdown = billing.get_usage_breakdown_organizations_billing()
    assert (breakdown.by_operation, breakdown.by_namespace) == ({"ingestion": 2}, {account.namespace_id: 2})
    assert (breakdown.total_credits, breakdown.pending_credits, breakdown.by_retriever) == (2, 0.1, {})
    page = billing.list_transactions_organizations_billing(limit=1, billing_month=breakdown.billing_month)
    (charge,) = page.transactions
    assert (charge.credits_consumed, charge.resource_id, charge.cost_usd) == (2, "btch_1", 0.0021)
    summary = own.api("AnalyticsUsageApi").get_usage_summary_analytics()
    assert (summary["total_credits"], summary["namespace_id"]) == (2, account.namespace_id)
    assert own.api("OrganizationUsageApi").get_org_usage_organizations()["credits"]["used"] == 2
    assert own.api("PricingApi").get_pricing_config_billing().credit_rate_usd == 0.001


def test_health(sdk: Sdk) -> None:
    health = sdk.api("HealthApi")
    assert sdk.model("HealthCheckResponse", **health.healthcheck_health()).data.metadata is True
    assert health.healthcheck_deep_health().data.metadata is True
    assert health.liveness_health()["status"] == "OK"


def test_errors_are_the_clients_own_types(sdk: Sdk, house: Site, account: Account) -> None:
    exceptions = sdk.package.exceptions
    reader = new_key(house.services, account.scope, Permission.READ).text
    free = house.account("free")
    stranger = _sdk(sdk.package, house, "sk_nobody", account.namespace_id).api("AccountApi")
    weak = _sdk(sdk.package, house, reader, account.namespace_id).api("OrganizationsApi")
    hurried = _sdk(sdk.package, house, free.key, free.namespace_id).api("AccountApi")
    bad = {"retriever_name": "x", "stages": [{**STAGE, "config": {"stage_id": "nothing", "parameters": {}}}]}

    def hurry() -> None:
        for _ in range(100):
            hurried.whoami_me()

    for status, kind, name, call in (
        (401, exceptions.UnauthorizedException, "UnauthorizedError", stranger.whoami_me),
        (403, exceptions.ForbiddenException, "ForbiddenError", lambda: weak.update_organization({})),
        (404, exceptions.NotFoundException, "NotFoundError", lambda: sdk.api("BucketsApi").get_bucket("none")),
        (422, exceptions.UnprocessableEntityException, "ValidationError",
         lambda: sdk.api("RetrieversApi").create_retriever(sdk.model("CreateRetrieverRequest", **bad))),
        (429, exceptions.ApiException, "TooManyRequestsError", hurry),
    ):  # fmt: skip
        with pytest.raises(kind) as caught:
            call()
        assert (caught.value.status, caught.value.data.error.type) == (status, name)


def test_the_high_level_client(package: Any, house: Site) -> None:
    account = house.account()
    client = package.Mixpeek(account.key, namespace="default", base_url=f"{house.url}/v1")
    assert [one["namespace_name"] for one in client.namespaces.list()["results"]] == ["default"]
    bucket = client.buckets.create(bucket_name="notes", bucket_schema=SCHEMA)
    assert client.buckets.get(bucket["bucket_id"])["bucket_name"] == "notes"
    assert client.collections.list()["results"] == []
    assert client.retrievers.list()["results"] == []


@pytest.mark.parametrize(
    ("stage_id", "required"),
    [
        ("summarize", {}),
        ("llm_enrich", {"prompt": "x"}),
        ("llm_filter", {"criteria": "x"}),
        ("api_call", {"url": "https://api.example.com/", "allowed_domains": ["api.example.com"]}),
        ("json_transform", {"template": "{}"}),
        ("rag_prepare", {}),
        ("attribute_filter", {}),
        ("sort_relevance", {}),
        ("sort_attribute", {}),
    ],
)
def test_the_defaults_that_it_writes_into_a_stage_are_taken(
    package: Any, stage_id: str, required: dict[str, Any]
) -> None:
    model = getattr(package, f"StageParams{stage_id.title().replace('_', '')}")
    parameters = json.loads(model(**required).to_json())
    [stage] = parse_stages([{"stage_id": stage_id, "parameters": parameters}])
    assert "null" not in stage.parameters.values()


def test_every_type_of_a_task_is_one_that_it_knows(package: Any) -> None:
    assert set(TASK_TYPES.values()) <= {known.value for known in package.TaskType}
