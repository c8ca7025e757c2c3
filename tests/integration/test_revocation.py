"""Two API processes: what one of them has been told holds at the other from the next request on."""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from core.tenancy.api_key import KeyGrant
from core.tenancy.permissions import Permission
from core.tenancy.tenant import NamespaceState
from core.tenancy.user import Role
from tests.api_process import Account, Site, site

REPETITIONS = 100
LOAD_THREADS = 4
PACE_SECONDS = 0.01


@pytest.fixture(scope="module")
def two(mongo_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two processes that hear out any number of wrong keys: each repetition sends one to each."""
    many = 1_000_000
    data = Path(tmp_path_factory.mktemp("two"))
    failures = {
        "auth_failures_per_source_per_minute": many,
        "auth_failures_source_burst": many,
    }
    with site(mongo_url, redis_url, data, 2, **failures) as both:
        yield both


@contextmanager
def _load(two: Site, account: Account) -> Iterator[list[int]]:
    """Requests at both processes from threads of their own; the statuses that they got."""
    stop, statuses = threading.Event(), list[int]()

    def ask(url: str) -> None:
        with httpx.Client(base_url=url, headers=account.headers) as client:
            while not stop.wait(PACE_SECONDS):
                statuses.append(client.get("/v1/me").status_code)

    urls = itertools.islice(itertools.cycle(process.url for process in two.processes), LOAD_THREADS)
    threads = [threading.Thread(target=ask, args=(url,)) for url in urls]
    for thread in threads:
        thread.start()
    yield statuses
    stop.set()
    for thread in threads:
        thread.join()


def test_the_first_request_after_a_revocation_is_refused_at_either_process(
    two: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    account, keys = two.account(), two.services.keys
    user = two.services.users.create(account.scope, "ci@example.com", "CI", Role.ADMIN)
    path = f"/v1/organizations/users/{user.email}/api-keys"
    clients = [httpx.Client(base_url=process.url, headers=account.headers) for process in two.processes]
    refused = 0
    with _load(two, account) as statuses:
        for number in range(REPETITIONS):
            text = keys.issue(account.scope, user, f"key {number}", KeyGrant((Permission.READ,))).text
            headers = {"Authorization": f"Bearer {text}"}
            assert [client.get("/v1/me", headers=headers).status_code for client in clients] == [200, 200]
            # each process revokes every other time, and is asked first every other time
            revoker, first = clients[number % 2], clients[number // 2 % 2]
            second = clients[1 - clients.index(first)]
            assert revoker.delete(f"{path}/key {number}").status_code == 200
            after = [client.get("/v1/me", headers=headers).status_code for client in (first, second)]
            refused += after == [401, 401]
    for client in clients:
        client.close()
    with capsys.disabled():
        print(f"\nrefused {refused} of {REPETITIONS} at both processes, under {len(statuses)} other requests")
    assert refused == REPETITIONS
    assert set(statuses) == {200}


def _namespace(two: Site, account: Account) -> Callable[[], None]:
    """Makes the namespace a tombstone, as the job that empties it does."""

    def bury() -> None:
        organization = two.services.handles.organization(account.scope)
        tombstone = {"$set": {"state": NamespaceState.DELETING.value}}
        assert organization["namespaces"].update_one({"_id": account.namespace_id}, tombstone)
        two.services.tenants.changed(account.scope)

    return bury


def test_what_a_tenant_is_changes_at_both_processes_at_once(two: Site) -> None:
    account, services = two.account("free"), two.services
    organization = services.handles.organization(account.scope)
    clients = [httpx.Client(base_url=process.url, headers=account.headers) for process in two.processes]

    def seen(path: str = "/v1/me") -> list[int]:
        return [client.get(path).status_code for client in clients]

    def names() -> list[str]:
        return [client.get("/v1/me").json()["organization_name"] for client in clients]

    def plans() -> list[str]:
        return [client.get("/v1/me").json()["account_type"] for client in clients]

    assert plans() == ["free", "free"]
    assert organization["organizations"].update_one({"_id": account.scope.internal_id}, {"$set": {"plan": "pro"}})
    services.tenants.changed(account.scope)
    assert plans() == ["pro", "pro"]
    for number in range(10):
        name = f"Renamed {number}"
        assert clients[number % 2].patch("/v1/organizations", json={"organization_name": name}).status_code == 200
        assert names() == [name, name]
    assert seen() == [200, 200]
    _namespace(two, account)()
    assert seen() == [404, 404]
    assert seen("/v1/buckets") == [404, 404]
    for client in clients:
        client.close()
