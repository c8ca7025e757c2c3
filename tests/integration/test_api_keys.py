"""API keys over HTTP: what one may give to another, how they are replaced and end, and where they may be used."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from pymongo import monitoring

from api.app import build_app
from core.bootstrap import Services, build_services
from core.clock import now
from core.errors import ConflictError
from core.storage import mongo
from core.tenancy.api_key import KeyGrant
from core.tenancy.keys import parse_key
from core.tenancy.permissions import Operation, Permission, ResourceType, Scope
from core.tenancy.tenant import Environment
from core.tenancy.user import Role, User
from tests.integration.conftest import Tenant
from tests.tenants import fresh_address, new_key

PROXY = "10.0.0.7"


@pytest.fixture(scope="module")
def special_settings() -> dict[str, Any]:
    return {"trusted_proxies": "10.0.0.0/8"}


@pytest.fixture
def user(tenant: Tenant) -> User:
    """Somebody whose keys are made and ended."""
    return tenant.services.users.create(tenant.scope, "ci@example.com", "CI", Role.ADMIN)


def _keys(user: User) -> str:
    return f"/v1/organizations/users/{user.email}/api-keys"


def _as(tenant: Tenant, text: str) -> Tenant:
    """The same organization, called with another key."""
    headers = {**tenant.headers, "Authorization": f"Bearer {text}"}
    return Tenant(tenant.client, tenant.services, tenant.scope, tenant.organization_id, text, headers)


def _maker(tenant: Tenant, **grant: Any) -> Tenant:
    """The organization, called with an admin key of this grant."""
    return _as(tenant, new_key(tenant.services, tenant.scope, Permission.ADMIN, "maker", **grant).text)


def _status(tenant: Tenant, text: str, source: str | None = None, **headers: str) -> int:
    sent = {"Authorization": f"Bearer {text}", **headers}
    environment = {"REMOTE_ADDR": source or fresh_address()}
    return tenant.client.get("/v1/me", headers=sent, environ_base=environment).status_code


# Making -----------------------------------------------------------------------------------------------


def test_a_key_is_shown_once_and_never_again(tenant: Tenant, user: User) -> None:
    made = tenant.created(_keys(user), {"name": "ci", "description": "for builds"})
    text = made["key"]
    assert parse_key(text)
    assert (made["permissions"], made["user_email"]) == (["read", "write", "delete"], user.email)
    assert made["key_hint"] == text[-4:]
    assert _status(tenant, text) == 200
    shown = tenant.get(_keys(user))
    assert text not in shown.get_data(as_text=True)
    (listed,) = shown.get_json()["results"]
    assert "key" not in listed
    assert not {"internal_id", "key_hash", "user_id", "verifier", "pepper_id"} & (listed.keys() | made.keys())
    assert tenant.post(_keys(user), {"name": "ci"}).status_code == 409


def test_what_is_left_out_is_as_with_the_key_that_makes_it(tenant: Tenant, user: User) -> None:
    ends = now() + timedelta(days=1)
    scopes = (Scope(ResourceType.API_KEY, "*"), Scope(ResourceType.BUCKET, "a*", frozenset({Operation.READ_DATA})))
    maker = _maker(
        tenant,
        scopes=scopes,
        allowed_origins=("https://a.example.com",),
        allowed_cidrs=("127.0.0.0/8",),
        requests_per_minute=100,
        expires_at=ends,
    )
    maker.created(_keys(user), {"name": "heir"})
    heir = tenant.services.keys.get(tenant.scope, user, "heir").grant
    assert heir == KeyGrant(
        (Permission.READ, Permission.WRITE, Permission.DELETE),
        scopes,
        None,
        ("https://a.example.com",),
        ("127.0.0.0/8",),
        100,
        ends,
    )


NARROW: dict[str, Any] = {
    "scopes": (Scope(ResourceType.API_KEY, "*"), Scope(ResourceType.BUCKET, "b*")),
    "allowed_origins": ("https://*.example.com",),
    "allowed_cidrs": ("127.0.0.0/8",),
    "requests_per_minute": 100,
}


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("scopes", []),
        ("scopes", [{"resource_type": "bucket", "resource_id": "*"}]),
        ("scopes", [{"resource_type": "bucket", "resource_id": "a*"}]),
        ("scopes", [{"resource_type": "collection", "resource_id": "b1"}]),
        ("allowed_origins", []),
        ("allowed_origins", ["*"]),
        ("allowed_origins", ["https://example.com.evil.org"]),
        ("allowed_origins", ["http://a.example.com"]),
        ("allowed_cidrs", []),
        ("allowed_cidrs", ["0.0.0.0/0"]),
        ("allowed_cidrs", ["127.0.0.0/7"]),
        ("allowed_cidrs", ["::1/128"]),
        ("rate_limit_override", 101),
    ],
)
def test_no_key_gives_more_than_it_has(tenant: Tenant, user: User, field: str, asked: Any) -> None:
    maker = _maker(tenant, **NARROW)
    refused = maker.post(_keys(user), {"name": "more", field: asked})
    assert (refused.status_code, refused.get_json()["error"]["details"]) == (403, {"field": field})
    # nor to a key that it changes
    tenant.services.keys.issue(tenant.scope, user, "narrow", KeyGrant((Permission.READ,), **NARROW))
    path = f"{_keys(user)}/narrow"
    assert maker.call("PATCH", path, {field: asked}).status_code == 403
    nothing: list[str] | None = [] if field == "scopes" else None
    assert maker.call("PATCH", path, {field: nothing}).status_code == 403
    assert tenant.services.keys.get(tenant.scope, user, "narrow").grant == KeyGrant((Permission.READ,), **NARROW)


def test_a_scope_with_operations_gives_no_other_operation(tenant: Tenant, user: User) -> None:
    reads = Scope(ResourceType.BUCKET, "*", frozenset({Operation.READ_DATA}))
    maker = _maker(tenant, scopes=(Scope(ResourceType.API_KEY, "*"), reads))
    wanted = {"resource_type": "bucket", "resource_id": "one"}
    for operations in (None, [], ["write_data"], ["read_data", "write_data"]):
        body = {"name": "x", "scopes": [{**wanted, "operations": operations}]}
        assert maker.post(_keys(user), body).status_code == 403, operations
    assert (
        maker.post(_keys(user), {"name": "x", "scopes": [{**wanted, "operations": ["read_data"]}]}).status_code == 200
    )


def test_no_key_outlives_or_leaves_the_environment_of_its_maker(tenant: Tenant, user: User) -> None:
    ends = now() + timedelta(days=1)
    mortal = _maker(tenant, expires_at=ends)
    late = {"name": "late", "expires_at": (ends + timedelta(seconds=1)).isoformat()}
    assert mortal.post(_keys(user), late).get_json()["error"]["details"] == {"field": "expires_at"}
    bound = _maker(tenant, environment=Environment.DEV)
    headers = {"Authorization": bound.headers["Authorization"]}
    for environment, status in (("prod", 403), ("dev", 200), (None, 200)):
        body = {"name": f"of {environment}", "environment": environment}
        assert tenant.client.post(_keys(user), json=body, headers=headers).status_code == status
    made = tenant.services.keys.get(tenant.scope, user, "of None")
    assert made.grant.environment is Environment.DEV


@pytest.mark.parametrize(("role", "highest"), [(Role.MEMBER, "delete"), (Role.VIEWER, "read")])
def test_the_users_role_caps_the_key(tenant: Tenant, role: Role, highest: str) -> None:
    user = tenant.services.users.create(tenant.scope, "capped@example.com", "C", role)
    assert tenant.post(_keys(user), {"name": "a", "permissions": ["admin"]}).status_code == 422
    made = tenant.created(_keys(user), {"name": "b", "permissions": [highest]})
    assert made["permissions"] == [highest]
    assert tenant.call("PATCH", f"{_keys(user)}/b", {"permissions": ["admin"]}).status_code == 422


def test_the_plan_caps_a_keys_own_limit(new_tenant: Callable[..., Tenant]) -> None:
    tenant = new_tenant(plan="free")
    user = tenant.services.users.create(tenant.scope, "ci@example.com", "CI", Role.ADMIN)
    assert tenant.post(_keys(user), {"name": "a", "rate_limit_override": 61}).status_code == 422
    assert tenant.post(_keys(user), {"name": "a", "rate_limit_override": 60}).status_code == 200
    assert tenant.call("PATCH", f"{_keys(user)}/a", {"rate_limit_override": 61}).status_code == 422


# Rotating and ending ----------------------------------------------------------------------------------


def _let_grace_end(tenant: Tenant, key_id: str) -> None:
    """As if the time had passed: the database's clock decides, and cannot be set here."""
    keys = tenant.services.handles.organization(tenant.scope)["api_keys"]
    assert keys.update_one({"_id": key_id}, {"$set": {"grace_until": now() - timedelta(seconds=1)}})


def test_a_rotated_keys_old_text_works_until_its_grace_ends(tenant: Tenant, user: User) -> None:
    old = tenant.created(_keys(user), {"name": "ci"})
    new = tenant.created(f"{_keys(user)}/ci/rotate", {"grace_seconds": 3600})
    assert [_status(tenant, each["key"]) for each in (old, new)] == [200, 200]
    _let_grace_end(tenant, old["key_id"])
    assert [_status(tenant, each["key"]) for each in (old, new)] == [401, 200]
    last = tenant.created(f"{_keys(user)}/ci/rotate", {})
    assert [_status(tenant, each["key"]) for each in (new, last)] == [401, 200]


def test_grace_never_goes_beyond_the_keys_own_end_or_seven_days(tenant: Tenant, user: User) -> None:
    ends = now() + timedelta(hours=1)
    old = tenant.created(_keys(user), {"name": "ci", "expires_at": ends.isoformat()})
    assert tenant.post(f"{_keys(user)}/ci/rotate", {"grace_seconds": 7 * 86400 + 1}).status_code == 422
    new = tenant.created(f"{_keys(user)}/ci/rotate", {"grace_seconds": 7 * 86400})
    graced = tenant.services.keys.find(tenant.scope, old["key_id"])
    assert graced
    assert graced.grace_until == ends
    assert tenant.services.keys.get(tenant.scope, user, "ci").grant.expires_at == ends
    _let_grace_end(tenant, old["key_id"])
    assert [_status(tenant, each["key"]) for each in (old, new)] == [401, 200]


@pytest.mark.parametrize("end", ["DELETE", "PATCH"])
def test_revoking_a_key_ends_every_text_that_it_ever_had(tenant: Tenant, user: User, end: str) -> None:
    texts = [tenant.created(_keys(user), {"name": "ci"})["key"]]
    texts += [tenant.created(f"{_keys(user)}/ci/rotate", {"grace_seconds": 3600})["key"] for _ in range(2)]
    assert tenant.call("PATCH", f"{_keys(user)}/ci", {"name": "build"}).status_code == 200
    texts.append(tenant.created(f"{_keys(user)}/build/rotate", {"grace_seconds": 3600})["key"])
    bystander = tenant.created(_keys(user), {"name": "ci"})["key"]
    assert [_status(tenant, text) for text in texts] == [200] * 4
    body = {"status": "revoked"} if end == "PATCH" else None
    assert tenant.call(end, f"{_keys(user)}/build", body).status_code == 200
    assert [_status(tenant, text) for text in texts] == [401] * 4
    assert _status(tenant, bystander) == 200
    assert tenant.call("DELETE", f"{_keys(user)}/build").status_code == 404


def test_a_change_holds_for_the_text_in_grace_too(tenant: Tenant, user: User) -> None:
    old = tenant.created(_keys(user), {"name": "ci"})["key"]
    tenant.created(f"{_keys(user)}/ci/rotate", {"grace_seconds": 3600})
    assert tenant.call("PATCH", f"{_keys(user)}/ci", {"permissions": ["read"]}).status_code == 200
    assert _as(tenant, old).post("/v1/buckets", {"bucket_name": "b", "bucket_schema": {}}).status_code == 403


def test_a_key_that_was_changed_while_somebody_looked_is_neither_rotated_nor_overwritten(
    tenant: Tenant, user: User
) -> None:
    keys = tenant.services.keys
    keys.issue(tenant.scope, user, "ci", KeyGrant((Permission.WRITE,)))
    seen = keys.get(tenant.scope, user, "ci")
    tenant.call("PATCH", f"{_keys(user)}/ci", {"permissions": ["read"]})
    text = parse_key(tenant.key)
    assert text
    with pytest.raises(ConflictError):
        keys.rotate(tenant.scope, seen, text, now(), None)
    with pytest.raises(ConflictError):
        keys.update(tenant.scope, seen, KeyGrant((Permission.WRITE,)), name="ci", description=None)
    assert keys.get(tenant.scope, user, "ci").grant.permission is Permission.READ


def test_a_weaker_admin_rotates_and_changes_no_stronger_key(tenant: Tenant, user: User) -> None:
    weaker = _maker(tenant, scopes=(Scope(ResourceType.API_KEY, "*"), Scope(ResourceType.BUCKET, "*")))
    strong = tenant.created(_keys(user), {"name": "strong", "permissions": ["admin"]})["key"]
    for call in (
        weaker.post(f"{_keys(user)}/strong/rotate"),
        weaker.call("PATCH", f"{_keys(user)}/strong", {"permissions": ["read"]}),
        weaker.call("PATCH", f"{_keys(user)}/strong", {"status": "revoked"}),
    ):
        assert call.status_code == 403
    assert _status(tenant, strong) == 200


def test_an_unused_key_expires_and_one_in_use_does_not(tenant: Tenant, user: User) -> None:
    slept, used = (tenant.created(_keys(user), {"name": name}) for name in ("slept", "used"))
    keys = tenant.services.handles.organization(tenant.scope)["api_keys"]
    long_ago = now() - timedelta(days=tenant.services.settings.key_unused_days, seconds=1)
    for key in (slept, used):
        keys.update_one({"_id": key["key_id"]}, {"$set": {"created_at": long_ago}})
    keys.update_one({"_id": used["key_id"]}, {"$set": {"last_used_at": now()}})
    assert [_status(tenant, key["key"]) for key in (slept, used)] == [401, 200]
    statuses = {key["name"]: key["status"] for key in tenant.get(_keys(user)).get_json()["results"]}
    assert statuses == {"slept": "expired", "used": "active"}


# Using ------------------------------------------------------------------------------------------------


class _Writes(monitoring.CommandListener):
    """Notes what every client made after it was registered writes into."""

    def __init__(self) -> None:
        self.collections: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name in {"insert", "update", "delete", "findAndModify"}:
            self.collections.append(event.command[event.command_name])

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Noted when started."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Noted when started."""


@pytest.fixture
def rotated_pepper(services: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Services, _Writes]]:
    """A second process, with a newer pepper, whose writes are noted."""
    writes = _Writes()
    monkeypatch.setitem(mongo._OPTIONS, "event_listeners", [writes])
    (old,) = services.settings.key_peppers
    newest = SecretStr("k2:" + "B" * 43)
    second = build_services(services.settings.model_copy(update={"key_peppers": (newest, old)}))
    yield second, writes
    second.close()


def test_use_is_recorded_without_a_write_for_each_request_and_moves_a_key_to_the_newest_pepper(
    tenant: Tenant, user: User, rotated_pepper: tuple[Services, _Writes], capsys: pytest.CaptureFixture[str]
) -> None:
    second, writes = rotated_pepper
    made = tenant.created(_keys(user), {"name": "ci"})
    stored = tenant.services.handles.organization(tenant.scope)["api_keys"]

    def pepper() -> object:
        found = stored.find_one({"_id": made["key_id"]})
        return found and found["pepper_id"]

    client = build_app(second).test_client()
    headers = {"Authorization": f"Bearer {made['key']}"}
    assert pepper() == "k1"
    assert client.get("/v1/me", headers=headers).status_code == 200
    assert pepper() == "k2"
    # the first process has not the new pepper yet, and so does not know the key any more
    assert _status(tenant, made["key"]) == 401
    writes.collections.clear()
    assert {client.get("/v1/me", headers=headers).status_code for _ in range(100)} == {200}
    with capsys.disabled():
        print(f"\nMongoDB writes over 100 requests: {len(writes.collections)}")
    assert len(writes.collections) <= 1
    second.key_use.write()
    found = second.keys.find(tenant.scope, made["key_id"])
    assert found
    assert found.last_used_at
    assert now() - found.last_used_at < timedelta(minutes=1)


def test_a_key_is_bound_to_addresses_whoever_claims_to_forward(tenant: Tenant) -> None:
    text = new_key(
        tenant.services, tenant.scope, Permission.READ, allowed_cidrs=("203.0.113.0/24", "2001:db8::/32")
    ).text
    for source, forwarded, status in (
        ("203.0.113.9", "", 200),
        ("198.51.100.1", "", 403),
        ("2001:db8::1", "", 200),
        ("::ffff:203.0.113.9", "", 200),
        # a trusted proxy is believed, and only about whom it heard itself
        (PROXY, "203.0.113.9", 200),
        (PROXY, "198.51.100.1", 403),
        (PROXY, "203.0.113.9, 198.51.100.1", 403),
        (PROXY, "198.51.100.1, 203.0.113.9", 200),
        (PROXY, "203.0.113.9, 10.0.0.8", 200),
        (PROXY, "", 403),
        (PROXY, "nonsense", 403),
        # anybody else is not
        ("198.51.100.1", "203.0.113.9", 403),
    ):
        headers = {"X-Forwarded-For": forwarded} if forwarded else {}
        assert _status(tenant, text, source, **headers) == status, (source, forwarded)


def test_a_key_cannot_shut_itself_out_by_its_addresses(tenant: Tenant, user: User) -> None:
    own = _as(tenant, tenant.created(_keys(user), {"name": "own", "permissions": ["admin"]})["key"])
    path, elsewhere = f"{_keys(user)}/own", {"allowed_cidrs": ["203.0.113.0/24"]}
    refused = own.call("PATCH", path, elsewhere)
    assert refused.status_code == 409
    assert "must cover 127.0.0.1" in refused.get_json()["error"]["message"]
    assert own.call("PATCH", path, {"allowed_cidrs": ["203.0.113.0/24", "127.0.0.0/8"]}).status_code == 200
    # nor can a text that it had before
    newer = own.created(f"{path}/rotate", {"grace_seconds": 60})
    assert own.call("PATCH", path, elsewhere).status_code == 409
    assert tenant.call("PATCH", path, elsewhere).status_code == 200
    assert _as(tenant, newer["key"]).get("/v1/me").status_code == 403


def test_whoever_uses_a_key_from_where_it_does_not_work_has_to_wait_and_its_holder_does_not(
    tenant: Tenant, services: Services
) -> None:
    text = new_key(services, tenant.scope, Permission.READ, allowed_cidrs=("203.0.113.0/24",)).text
    thief, burst = "198.51.100.77", services.settings.auth_failures_source_burst
    statuses = [_status(tenant, text, thief) for _ in range(burst + 5)]
    assert statuses[:burst] == [403] * burst
    assert statuses[-1] == 429
    assert _status(tenant, text, "203.0.113.9") == 200


def test_a_key_is_bound_to_browser_origins(tenant: Tenant) -> None:
    origins = ("https://app.example.com", "https://*.example.org")
    text = new_key(tenant.services, tenant.scope, Permission.READ, allowed_origins=origins).text
    for origin, status in (
        ("https://app.example.com", 200),
        ("https://a.b.example.org", 200),
        ("https://example.org", 403),
        ("http://app.example.com", 403),
        ("https://app.example.com.evil.com", 403),
        ("https://evilexample.org", 403),
        ("null", 403),
        # what no browser sends and some parsers choke on
        ("https://[", 403),
        ("https://a]b.example.org", 403),
    ):
        assert _status(tenant, text, Origin=origin) == status, origin
    assert _status(tenant, text) == 200


# Idempotency ------------------------------------------------------------------------------------------


def _everything_kept(tenant: Tenant) -> str:
    return repr(list(tenant.services.handles.organization(tenant.scope)["idempotency"].find({})))


@pytest.mark.parametrize("action", ["create", "rotate"])
def test_a_repeated_request_gets_the_key_without_its_text_which_is_kept_nowhere(
    tenant: Tenant, user: User, action: str
) -> None:
    tenant.created(_keys(user), {"name": "ci"})
    path, body = (_keys(user), {"name": "new"}) if action == "create" else (f"{_keys(user)}/ci/rotate", {})
    first = tenant.created(path, body, Idempotency_Key="k-1")
    again = tenant.created(path, body, Idempotency_Key="k-1")
    assert _status(tenant, first["key"]) == 200
    assert again == {**first, "key": None, "already_issued": True}
    assert first["key"] not in _everything_kept(tenant)
    assert tenant.get(_keys(user)).get_json()["total"] == 2
    assert tenant.post(path, {**body, "name": "x"}, Idempotency_Key="k-1").status_code == 422


@pytest.mark.parametrize("action", ["create", "rotate"])
def test_after_a_crash_the_key_stands_and_its_text_went_to_nobody(
    tenant: Tenant, user: User, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant.created(_keys(user), {"name": "ci"})
    path, body = (_keys(user), {"name": "new"}) if action == "create" else (f"{_keys(user)}/ci/rotate", {})
    store = tenant.services.keys

    class Died(BaseException):
        """The process is gone: nothing that handles errors sees it."""

    def dies(*_: Any, **__: Any) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(tenant.services.recorder, "after", dies)
        with pytest.raises(Died):
            tenant.post(path, body, Idempotency_Key="k-1")
    name = "new" if action == "create" else "ci"
    standing = store.get(tenant.scope, user, name)
    records = tenant.services.handles.organization(tenant.scope)["idempotency"]
    records.update_many({}, {"$set": {"lease_until": now() - timedelta(seconds=1)}})
    again = tenant.created(path, body, Idempotency_Key="k-1")
    assert (again["key_id"], again["key"], again["already_issued"]) == (standing.key_id, None, True)
    assert len(store.list(tenant.scope, user, include_revoked=True)) == 2
    # it can be replaced like any other
    assert _status(tenant, tenant.created(f"{_keys(user)}/{name}/rotate", {})["key"]) == 200


# Guessing ---------------------------------------------------------------------------------------------


def test_whoever_guesses_keys_has_to_wait_and_nobody_else_does(tenant: Tenant, services: Services) -> None:
    wrong = tenant.key[:-1] + ("A" if tenant.key[-1] != "A" else "B")
    guesser, burst = "198.51.100.66", services.settings.auth_failures_source_burst
    assert [_status(tenant, wrong, guesser) for _ in range(burst)] == [401] * burst
    headers = {"Authorization": f"Bearer {tenant.key}"}
    refused = tenant.client.get("/v1/me", headers=headers, environ_base={"REMOTE_ADDR": guesser})
    assert refused.status_code == 429
    assert refused.get_json()["error"]["type"] == "TooManyRequestsError"
    assert 1 <= int(refused.headers["Retry-After"]) <= 6
    assert _status(tenant, tenant.key, "198.51.100.67") == 200
    # behind a proxy it is the client who waits
    assert _status(tenant, tenant.key, PROXY, **{"X-Forwarded-For": guesser}) == 429
    assert _status(tenant, tenant.key, PROXY, **{"X-Forwarded-For": "198.51.100.68"}) == 200
