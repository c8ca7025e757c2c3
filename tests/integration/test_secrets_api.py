"""The vault over HTTP: the security page's line as it is printed, values in no answer, limits, who uses what."""

import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest

from core.errors import ConflictError
from core.tenancy.permissions import Operation, Permission, ResourceType, Scope
from core.vault.resolver import UsedBy
from core.vault.secret import SecretLimits
from tests.integration.conftest import Tenant
from tests.security_page import CREATE_SECRET, LLM_STAGE
from tests.tenants import new_key

SECRETS = "/v1/organizations/secrets"
VALUE = "sk-proj-of-the-customer"


def create(tenant: Tenant, name: str = "openai_api_key", **more: Any) -> dict[str, Any]:
    return tenant.created(SECRETS, {"secret_name": name, "secret_value": VALUE, **more})


def resolve(tenant: Tenant, name: str = "openai_api_key") -> str:
    return tenant.services.resolver.resolve(tenant.scope, [name], UsedBy("key_1", "task_1")).by_name[name].value


def retriever(tenant: Tenant, stage: dict[str, Any], name: str = "answers") -> Any:
    return tenant.post("/v1/retrievers", {"retriever_name": name, "stages": [stage]})


def test_the_security_pages_line_works_as_it_is_printed(tenant: Tenant) -> None:
    words = shlex.split(CREATE_SECRET.replace("\\\n", " "))
    url = next(word for word in words if word.startswith("https://"))
    headers = dict(words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H")
    body = words[words.index("-d") + 1]
    headers["Authorization"] = headers["Authorization"].replace("YOUR_API_KEY", tenant.key)
    path = url.removeprefix("https://api.mixpeek.com")
    answer = tenant.client.open(path, method=words[words.index("-X") + 1], data=body, headers=headers)
    assert (answer.status_code, answer.get_json()) == (200, {"secret_name": "openai_api_key", "created": True})
    assert resolve(tenant) == json.loads(body)["secret_value"]
    listed = tenant.get(SECRETS).get_json()
    # and beside it, as in every list, the pagination
    assert {name: listed[name] for name in ("secrets", "count")} == {"secrets": ["openai_api_key"], "count": 1}


def test_update_rollback_and_delete_as_published_and_a_value_is_in_no_answer(tenant: Tenant) -> None:
    answers = [create(tenant)]
    path = f"{SECRETS}/openai_api_key"
    answers.append(tenant.call("PUT", path, {"secret_value": "the second value"}).get_json())
    assert answers[-1] == {"secret_name": "openai_api_key", "updated": True, "version": 2}
    assert resolve(tenant) == "the second value"
    answers.append(tenant.post(f"{path}/rollback", {"version": 1}).get_json())
    assert resolve(tenant) == VALUE
    answers.append(tenant.get(path).get_json())
    assert [each["version"] for each in answers[-1]["versions"]] == [3, 2, 1]
    answers.append(tenant.get(f"{path}/access").get_json())
    answers.append(tenant.call("DELETE", path).get_json())
    assert answers[-1] == {"secret_name": "openai_api_key", "deleted": True}
    assert tenant.get(path).status_code == tenant.call("DELETE", path).status_code == 404
    assert VALUE not in json.dumps(answers)
    assert "the second value" not in json.dumps(answers)


def test_a_rollback_to_a_version_that_was_copied_from_another_secret_is_refused_and_audited(tenant: Tenant) -> None:
    create(tenant)
    path, versions = f"{SECRETS}/openai_api_key", tenant.services.database["secret_versions"]
    tenant.post(SECRETS, {"secret_name": "another", "secret_value": "another value"})
    own = {"internal_id": tenant.scope.internal_id}
    foreign = versions.find_one({**own, "name": "another"})
    tenant.call("PUT", path, {"secret_value": "the second value"})
    assert foreign
    versions.update_one({**own, "name": "openai_api_key", "version": 1}, {"$set": {"token": foreign["token"]}})
    refused = tenant.post(f"{path}/rollback", {"version": 1})
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (409, "secret_unreadable")
    assert resolve(tenant) == "the second value"
    audited = tenant.services.database["audit"].find({"resource_id": "openai_api_key", "action": "secret_updated"})
    newest = max(audited, key=lambda entry: int(entry["seq"]))
    assert (newest["status"], newest["reason"]) == ("failure", "secret_unreadable")


def test_a_repeated_create_answers_again_and_stores_no_value_for_it(tenant: Tenant) -> None:
    body = {"secret_name": "k", "secret_value": VALUE}
    first, again = (tenant.post(SECRETS, body, Idempotency_Key="once") for _ in range(2))
    assert first.get_json() == again.get_json() == {"secret_name": "k", "created": True}
    assert again.headers["Idempotent-Replayed"] == "true"
    other = tenant.post(SECRETS, {**body, "secret_value": "another value"}, Idempotency_Key="once")
    assert other.status_code == 422
    assert tenant.post(SECRETS, body).status_code == 409
    assert VALUE not in repr(list(tenant.services.database["idempotency"].find()))
    assert VALUE not in repr(list(tenant.services.database["audit"].find()))


@pytest.mark.parametrize(
    ("change", "location"),
    [
        ({"secret_name": "Not-A-Name"}, "secret_name"),
        ({"secret_value": "short"}, "secret_value"),
        ({"secret_value": 12345678}, "secret_value"),
        ({"secret_value": "x" * 65_537}, "secret_value"),
        ({"allowed_hosts": ["https://api.openai.com"]}, "allowed_hosts"),
        ({"allowed_namespaces": ["ns_of_somebody"]}, "allowed_namespaces"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": 0}, "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-01:00"}, "expires_at"),
    ],
)
def test_what_may_not_be_stored_is_named_and_its_value_is_not_repeated(
    tenant: Tenant, change: dict[str, Any], location: str
) -> None:
    answer = tenant.post(SECRETS, {"secret_name": "k", "secret_value": VALUE, **change})
    assert answer.status_code == 422
    problems = answer.get_json()["error"]["details"]["validation_errors"]
    assert problems[0]["location"][0] == location
    assert VALUE not in answer.get_data(as_text=True)
    assert tenant.get(SECRETS).get_json()["count"] == 0


def test_limits_are_set_changed_and_taken_away(tenant: Tenant) -> None:
    create(tenant, allowed_namespaces=["default"], allowed_hosts=["API.openai.com"], expires_at="2030-01-01T00:00:00Z")
    path = f"{SECRETS}/openai_api_key"
    shown = tenant.get(path).get_json()
    assert shown["allowed_namespaces"] == [tenant.scope.namespace_id]
    assert (shown["allowed_hosts"], shown["expires_at"]) == (["api.openai.com"], "2030-01-01T00:00:00.000000Z")
    changed = tenant.call("PATCH", path, {"disabled": True, "expires_at": None}).get_json()
    assert (changed["disabled"], changed["expires_at"], changed["allowed_hosts"]) == (True, None, ["api.openai.com"])
    cleared = tenant.call("PATCH", path, {"allowed_hosts": [], "disabled": False}).get_json()
    assert (cleared["allowed_hosts"], cleared["disabled"]) == ([], False)


def test_who_may_do_what(new_tenant: Callable[..., Tenant]) -> None:
    for permission, statuses in {
        Permission.READ: (403, 200, 403, 403, 403),
        Permission.DELETE: (403, 200, 403, 403, 403),
        Permission.ADMIN: (200, 200, 200, 200, 200),
    }.items():
        tenant = new_tenant(permission)
        path = f"{SECRETS}/k"
        calls = (
            tenant.post(SECRETS, {"secret_name": "k", "secret_value": VALUE}),
            tenant.get(SECRETS),
            tenant.call("PUT", path, {"secret_value": VALUE}),
            tenant.get(f"{path}/access"),
            tenant.call("DELETE", path),
        )
        assert tuple(call.status_code for call in calls) == statuses


def test_another_organizations_secret_is_not_there(new_tenant: Callable[..., Tenant]) -> None:
    owner, stranger = new_tenant(), new_tenant()
    create(owner)
    path = f"{SECRETS}/openai_api_key"
    calls = [
        stranger.get(path),
        stranger.get(f"{path}/access"),
        stranger.call("PUT", path, {"secret_value": VALUE}),
        stranger.call("PATCH", path, {"disabled": True}),
        stranger.post(f"{path}/rollback", {"version": 1}),
        stranger.call("DELETE", path),
    ]
    assert [call.status_code for call in calls] == [404] * len(calls)
    assert stranger.get(SECRETS).get_json()["count"] == 0
    assert resolve(owner) == VALUE


def test_a_key_bound_to_one_secret_sees_and_names_no_other(new_tenant: Callable[..., Tenant]) -> None:
    scopes = (
        Scope(ResourceType.SECRET, "mine"),
        Scope(ResourceType.RETRIEVER, "*", frozenset({Operation.CREATE_RETRIEVER})),
        Scope(ResourceType.COLLECTION, "*", frozenset({Operation.READ_DATA})),
    )
    tenant = new_tenant(Permission.ADMIN, scopes=scopes)
    for name in ("mine", "other"):
        secret_id = f"sec_{name}_{tenant.scope.internal_id}"
        tenant.services.secrets.create(tenant.scope, secret_id, name, VALUE, SecretLimits())
    listed = tenant.get(SECRETS).get_json()
    assert (listed["secrets"], listed["count"], listed["pagination"]["total"]) == (["mine"], 1, 1)
    assert tenant.get(f"{SECRETS}/other").status_code == 403
    assert retriever(tenant, stage_with("{{secrets.other}}")).status_code == 403
    assert retriever(tenant, stage_with("{{secrets.mine}}")).status_code == 200


def test_a_scope_on_a_namespace_does_not_reach_the_organizations_secrets(tenant: Tenant) -> None:
    create(tenant)
    everything_in_it = Scope(ResourceType.NAMESPACE, tenant.scope.namespace_id)
    one_secret = Scope(ResourceType.SECRET, "openai_api_key", frozenset({Operation.READ_DATA}))
    for number, (scopes, status) in enumerate([((everything_in_it,), 403), ((everything_in_it, one_secret), 200)]):
        text = new_key(tenant.services, tenant.scope, Permission.WRITE, scopes=scopes).text
        answer = tenant.post(
            "/v1/retrievers",
            {"retriever_name": f"scoped {number}", "stages": [LLM_STAGE]},
            Authorization=f"Bearer {text}",
        )
        assert answer.status_code == status


def stage_with(reference: str) -> dict[str, Any]:
    parameters: Any = LLM_STAGE["parameters"]
    return {**LLM_STAGE, "parameters": {**parameters, "api_key": reference}}


# Who uses a secret -----------------------------------------------------------------------------------


def test_a_secret_says_who_uses_it_and_its_deletion_warns(tenant: Tenant) -> None:
    create(tenant)
    made = retriever(tenant, dict(LLM_STAGE)).get_json()
    assert not _about_secrets(made)
    tenant.call("PATCH", "/v1/organizations", {"default_llm_credentials": {"openai": "openai_api_key"}})
    path = f"{SECRETS}/openai_api_key"
    assert tenant.get(path).get_json()["used_by"] == {
        "retrievers": {tenant.scope.namespace_id: [made["retriever_id"]]},
        "default_llm_credentials": ["openai"],
    }
    deleted = tenant.call("DELETE", path).get_json()
    assert "1 retriever and the default credentials for openai" in deleted["warnings"][0]


def test_a_retriever_that_names_an_absent_secret_is_warned(tenant: Tenant) -> None:
    made = retriever(tenant, dict(LLM_STAGE)).get_json()
    assert len(_about_secrets(made)) == 1


def _about_secrets(made: dict[str, Any]) -> list[str]:
    """Of the warnings, those that name the secret: others speak of the model that the stage names."""
    return [warning for warning in made.get("warnings", ()) if "openai_api_key" in warning]


@pytest.mark.parametrize(
    ("parameters", "location"),
    [
        ({"prompt": "say {{secrets.openai_api_key}}"}, ["stages", 0, "parameters", "prompt"]),
        ({"api_key": "Bearer {{secrets.openai_api_key}}"}, ["stages", 0, "parameters", "api_key"]),
        ({"output_field": "${vault:openai_api_key}"}, ["stages", 0, "parameters", "output_field"]),
    ],
)
def test_a_misplaced_reference_is_refused_at_save(
    tenant: Tenant, parameters: dict[str, Any], location: list[Any]
) -> None:
    own: Any = LLM_STAGE["parameters"]
    answer = retriever(tenant, {**LLM_STAGE, "parameters": {**own, **parameters}})
    assert answer.status_code == 422
    problems = answer.get_json()["error"]["details"]["validation_errors"]
    assert [problem["location"] for problem in problems if problem["type"] == "secret_place"] == [location]


def test_collections_and_webhooks_take_no_references(tenant: Tenant) -> None:
    collection = {
        "collection_name": "docs",
        "source": {"type": "bucket", "bucket_ids": ["b"]},
        "feature_extractor": {
            "feature_extractor_name": "text_extractor",
            "version": "v1",
            "parameters": {"api_key": "{{secrets.k}}"},
        },
    }
    webhook = {
        "webhook_name": "hook",
        "url": "https://example.com/hook",
        "event_types": ["resource.executed"],
        "headers": {"Authorization": "{{secrets.k}}"},
    }
    for path, body in (("/v1/collections", collection), ("/v1/organizations/webhooks", webhook)):
        answer = tenant.post(path, body)
        assert answer.status_code == 422
        problems = answer.get_json()["error"]["details"]["validation_errors"]
        assert [problem["type"] for problem in problems] == ["secret_place"]


def test_access_shows_callers_outcomes_and_what_is_unusual(tenant: Tenant) -> None:
    create(tenant)
    resolve(tenant)
    tenant.call("PATCH", f"{SECRETS}/openai_api_key", {"disabled": True})
    with pytest.raises(Exception, match="is disabled"):
        resolve(tenant)
    tenant.services.secret_use.write()
    shown = tenant.get(f"{SECRETS}/openai_api_key/access").get_json()
    assert shown["callers"] == {"key_1": 2}
    assert shown["outcomes"] == {"used": 1, "secret_disabled": 1}
    assert shown["unusual"] == [{"kind": "denied", "what": "secret_disabled", "count": 1}]
    assert tenant.get(f"{SECRETS}/openai_api_key").get_json()["last_used_at"] is not None


def test_a_deleted_organization_gets_no_answer_any_more(new_tenant: Callable[..., Tenant]) -> None:
    tenant, other = new_tenant(), new_tenant()
    for each in (tenant, other):
        create(each)
    assert tenant.services.removal.remove(tenant.scope.organization) == 1
    assert [tenant.get(path).status_code for path in (SECRETS, "/v1/me", "/v1/retrievers")] == [401, 401, 401]
    assert tenant.services.database["secrets"].count_documents({"internal_id": tenant.scope.internal_id}) == 0
    with pytest.raises(ConflictError, match="destroyed"):
        tenant.services.secrets.create(tenant.scope, "sec_again", "again", VALUE, SecretLimits())
    # an operator may find it, and begin again what was stopped; a neighbour notices nothing
    assert tenant.services.organizations.find(tenant.organization_id).deleted_at is not None
    assert tenant.services.removal.remove(tenant.scope.organization) == 1
    assert resolve(other) == VALUE


def test_an_organization_that_never_had_a_secret_cannot_get_one_after_its_deletion(tenant: Tenant) -> None:
    tenant.services.removal.remove(tenant.scope.organization)
    with pytest.raises(ConflictError, match="destroyed"):
        tenant.services.secrets.create(tenant.scope, "sec_first", "first", VALUE, SecretLimits())
