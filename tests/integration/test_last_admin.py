"""The last full admin key of an organization: nobody loses it, alone or several at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest

from core.clock import now
from core.errors import ConflictError
from core.tenancy.permissions import Permission
from core.tenancy.user import User
from tests.integration.conftest import Tenant
from tests.tenants import fresh_address, new_key

ROUNDS = 50


def keys_of(user: User) -> str:
    """Where a user's keys are."""
    return f"/v1/organizations/users/{user.email}/api-keys"


def status(tenant: Tenant, text: str) -> int:
    """What a request with this key is answered."""
    environment, headers = {"REMOTE_ADDR": fresh_address()}, {"Authorization": f"Bearer {text}"}
    return tenant.client.get("/v1/me", headers=headers, environ_base=environment).status_code


def test_the_last_full_admin_key_stays_and_can_be_rotated(tenant: Tenant) -> None:
    (admin,) = tenant.services.users.list(tenant.scope)
    path = f"{keys_of(admin)}/test"
    soon = (now() + timedelta(days=1)).isoformat()
    scope = {"resource_type": "bucket", "resource_id": "*"}
    for method, body in (
        ("DELETE", None),
        ("PATCH", {"status": "revoked"}),
        ("PATCH", {"status": "expired"}),
        ("PATCH", {"permissions": ["delete"]}),
        ("PATCH", {"scopes": [scope]}),
        ("PATCH", {"expires_at": soon}),
        ("PATCH", {"expires_at": "2020-01-01T00:00:00Z"}),
    ):
        # a scoped admin and one that has ended do not count
        refused = tenant.call(method, path, body)
        assert (refused.status_code, refused.get_json()["error"]["type"]) == (409, "ConflictError"), (method, body)
    assert tenant.call("PATCH", path, {"description": "ours"}).status_code == 200
    text = tenant.created(f"{path}/rotate", {})["key"]
    assert (status(tenant, tenant.key), status(tenant, text)) == (401, 200)
    assert tenant.call("DELETE", path, Authorization=f"Bearer {text}").status_code == 409


def test_a_full_admin_key_that_expires_does_not_replace_the_last_one_that_does_not(tenant: Tenant) -> None:
    (admin,) = tenant.services.users.list(tenant.scope)
    keys, soon = keys_of(admin), (now() + timedelta(minutes=1)).isoformat()
    tenant.created(keys, {"name": "expiring", "permissions": ["admin"], "expires_at": soon})
    for method, body in (("DELETE", None), ("PATCH", {"permissions": ["read"]}), ("PATCH", {"expires_at": soon})):
        assert tenant.call(method, f"{keys}/test", body).status_code == 409, body
    assert tenant.call("DELETE", f"{keys}/expiring").status_code == 200
    tenant.created(keys, {"name": "lasting", "permissions": ["admin"]})
    assert tenant.call("DELETE", f"{keys}/test").status_code == 200


def test_of_two_last_admin_keys_exactly_one_survives_whoever_revokes_at_once(
    new_tenant: Callable[..., Tenant], capsys: pytest.CaptureFixture[str]
) -> None:
    threads, survived = 8, []
    with ThreadPoolExecutor(threads) as pool:
        for number in range(ROUNDS):
            tenant = new_tenant(credits=0)
            services, scope = tenant.services, tenant.scope
            second = new_key(services, scope, Permission.ADMIN, "test")
            users = services.users.list(scope)
            start = Barrier(threads)

            def revoke(turn: int, tenant: Tenant = tenant, users: list[User] = users, start: Barrier = start) -> str:
                start.wait()
                try:
                    tenant.services.keys.revoke(tenant.scope, users[turn % 2], "test")
                except ConflictError:
                    return "refused"
                return "done"

            outcomes = list(pool.map(revoke, range(threads)))
            alive = [status(tenant, text) for text in (tenant.key, second.text)].count(200)
            assert "refused" in outcomes, number
            survived.append(alive)
    with capsys.disabled():
        print(f"\ntwo last admin keys, {threads} threads: one survived in {survived.count(1)} of {ROUNDS}")
    assert survived == [1] * ROUNDS
