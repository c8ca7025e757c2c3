"""Users over HTTP: what they are, what their roles and states do to their keys, and who can never be lost."""

from collections.abc import Callable

import pytest

from core.bootstrap import Services
from core.tenancy.api_key import KeyGrant
from core.tenancy.keys import PresentedKey
from core.tenancy.permissions import Permission
from core.tenancy.user import Role, User
from tests.integration.conftest import Tenant
from tests.tenants import fresh_address

USERS = "/v1/organizations/users"


def _colleague(tenant: Tenant, permission: Permission = Permission.READ, role: Role = Role.ADMIN) -> User:
    """A second user, with a key called `own`."""
    user = tenant.services.users.create(tenant.scope, "colleague@example.com", "Colleague", role)
    tenant.services.keys.issue(tenant.scope, user, "own", KeyGrant((permission,)))
    return user


def _works(tenant: Tenant, key: PresentedKey | str) -> bool:
    text = key if isinstance(key, str) else key.text
    source = {"REMOTE_ADDR": fresh_address()}
    status = tenant.client.get("/v1/me", headers={"Authorization": f"Bearer {text}"}, environ_base=source).status_code
    assert status in {200, 401}
    return status == 200


def test_a_user_is_made_found_changed_listed_and_removed(tenant: Tenant) -> None:
    body = {"email": "Ada@Example.com", "user_name": "Ada", "metadata": {"team": "a"}, "avatar_url": "https://a/x.png"}
    made = tenant.created(USERS, body)
    assert (made["email"], made["role"], made["status"]) == ("ada@example.com", "member", "active")
    assert tenant.get(f"{USERS}/ADA@example.com").get_json() == made
    changed = tenant.call("PATCH", f"{USERS}/ada@example.com", {"user_name": "A", "role": "viewer"}).get_json()
    assert (changed["user_name"], changed["role"], changed["metadata"]) == ("A", "viewer", {"team": "a"})
    emails = [user["email"] for user in tenant.get(USERS).get_json()["results"]]
    assert emails[0] == "ada@example.com"
    assert len(emails) == 2
    assert tenant.call("DELETE", f"{USERS}/ada@example.com").get_json()["success"] is True
    assert tenant.get(f"{USERS}/ada@example.com").status_code == 404
    assert tenant.call("DELETE", f"{USERS}/ada@example.com").status_code == 404


def test_an_email_is_taken_once_in_an_organization_and_free_in_another(new_tenant: Callable[..., Tenant]) -> None:
    one, other = new_tenant(), new_tenant()
    body = {"email": "twin@example.com", "user_name": "T"}
    one.created(USERS, body)
    assert one.post(USERS, {**body, "email": "TWIN@example.com"}).status_code == 409
    assert other.post(USERS, body).status_code == 200


@pytest.mark.parametrize(
    "body",
    [{}, {"email": "x", "user_name": "X"}, {"email": "a/b@example.com", "user_name": "X"},
     {"email": "a@example.com", "user_name": "X", "role": "owner"},
     {"email": "a@example.com", "user_name": "X", "status": "gone"}],
)  # fmt: skip
def test_a_body_that_makes_no_user_is_refused_by_field(tenant: Tenant, body: dict[str, str]) -> None:
    response = tenant.post(USERS, body)
    assert response.status_code == 422
    assert response.get_json()["error"]["details"]["validation_errors"]


def test_a_suspended_users_keys_stop_at_once_and_come_back(tenant: Tenant) -> None:
    user = _colleague(tenant)
    key = tenant.services.keys.issue(tenant.scope, user, "more", KeyGrant((Permission.READ,)))
    path = f"{USERS}/{user.email}"
    assert _works(tenant, key)
    for status, works in (("suspended", False), ("active", True), ("pending", False)):
        assert tenant.call("PATCH", path, {"status": status}).status_code == 200
        assert _works(tenant, key) is works


@pytest.mark.parametrize("status", ["suspended", "pending"])
def test_no_key_that_is_made_or_rotated_for_a_user_who_is_not_active_works(tenant: Tenant, status: str) -> None:
    user = _colleague(tenant)
    assert tenant.call("PATCH", f"{USERS}/{user.email}", {"status": status}).status_code == 200
    keys = f"{USERS}/{user.email}/api-keys"
    made = tenant.created(keys, {"name": "new", "permissions": ["read"]})["key"]
    rotated = tenant.created(f"{keys}/own/rotate", {})["key"]
    assert not _works(tenant, made)
    assert not _works(tenant, rotated)
    assert tenant.call("PATCH", f"{USERS}/{user.email}", {"status": "active"}).status_code == 200
    assert _works(tenant, made)
    assert _works(tenant, rotated)


def test_a_lower_role_takes_from_every_key_what_is_above_it(tenant: Tenant) -> None:
    user = _colleague(tenant, Permission.ADMIN)
    keys = f"{USERS}/{user.email}/api-keys"
    rotated = tenant.created(f"{keys}/own/rotate", {"grace_seconds": 60})["key"]
    for role, permissions in (("member", ["delete"]), ("viewer", ["read"])):
        assert tenant.call("PATCH", f"{USERS}/{user.email}", {"role": role}).status_code == 200
        (shown,) = [key for key in tenant.get(keys).get_json()["results"] if key["grace_until"] is None]
        assert shown["permissions"] == permissions
    refused = tenant.client.patch(
        "/v1/organizations", json={}, headers={"Authorization": f"Bearer {rotated}"}
    ).status_code
    assert refused == 403
    # a higher role gives nothing back
    tenant.call("PATCH", f"{USERS}/{user.email}", {"role": "admin"})
    assert [key["permissions"] for key in tenant.get(keys).get_json()["results"]] == [["read"], ["read"]]


def test_removing_a_user_ends_every_key_and_a_namesake_gets_none_of_them(tenant: Tenant) -> None:
    user = _colleague(tenant)
    key = tenant.services.keys.issue(tenant.scope, user, "more", KeyGrant((Permission.READ,)))
    assert tenant.call("DELETE", f"{USERS}/{user.email}").status_code == 200
    assert not _works(tenant, key)
    tenant.created(USERS, {"email": user.email, "user_name": "Namesake"})
    assert tenant.get(f"{USERS}/{user.email}/api-keys?include_revoked=true").get_json()["total"] == 0
    assert not _works(tenant, key)


def test_the_last_full_admins_user_cannot_be_removed_suspended_or_demoted(tenant: Tenant, services: Services) -> None:
    (admin,) = services.users.list(tenant.scope)
    path = f"{USERS}/{admin.email}"
    for method, body in (
        ("DELETE", None),
        ("PATCH", {"status": "suspended"}),
        ("PATCH", {"status": "pending"}),
        ("PATCH", {"role": "member"}),
    ):
        refused = tenant.call(method, path, body)
        assert (refused.status_code, refused.get_json()["error"]["type"]) == (409, "ConflictError"), (method, body)
    shown = tenant.get(path).get_json()
    assert (shown["role"], shown["status"]) == ("admin", "active")
    # with another full admin they can
    _colleague(tenant, Permission.ADMIN)
    assert tenant.call("PATCH", path, {"role": "member"}).status_code == 200


def test_what_is_sent_twice_under_one_idempotency_key_makes_one_user(tenant: Tenant) -> None:
    body = {"email": "once@example.com", "user_name": "Once"}
    first, again = (tenant.post(USERS, body, Idempotency_Key="u-1") for _ in range(2))
    assert first.data == again.data
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(tenant.get(USERS).get_json()["results"]) == 2
